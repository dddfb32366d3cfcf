"""Which runs are whose: found by the assets that a run makes, whoever started it."""

from collections.abc import Sequence
from datetime import datetime

import dagster as dg
from dagster._core.storage.tags import POOL_TAG_PREFIX

from recsys_dagster.assets.common import POOL_PREFIX, pool_of

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def catalogs_of(run: dg.DagsterRun) -> list[str]:
    """The catalogs that a run makes something of, sorted.

    Every asset, check and search of a catalog is in the catalog's pool, and a run knows the pools
    of its steps from the moment that it is asked for.
    """
    pools = (run.run_op_concurrency.all_pools or ()) if run.run_op_concurrency else ()
    return sorted(pool.removeprefix(POOL_PREFIX) for pool in pools if pool.startswith(POOL_PREFIX))


def runs_of(
    instance: dg.DagsterInstance,
    catalog: str,
    statuses: Sequence[dg.DagsterRunStatus] = (),
    created_before: datetime | None = None,
    limit: int | None = None,
) -> Sequence[dg.DagsterRun]:
    """Runs that make something of a catalog, the newest first.

    Args:
        instance: where runs are known.
        catalog: whose.
        statuses: which ones; all where none is named.
        created_before: only older ones.
        limit: how many at most.
    """
    filters = dg.RunsFilter(
        tags={f"{POOL_TAG_PREFIX}{pool_of(catalog)}": "true"},
        statuses=list(statuses),
        created_before=created_before,
    )
    return instance.get_runs(filters, limit=limit)
