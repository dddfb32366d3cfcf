"""Interactions: unique, mostly accepted, some positive, not far fewer than those published."""

import dagster as dg

from recsys_dagster.assets.checks.common import (
    CatalogsParam,
    Checked,
    accepted_share,
    keys_unique,
    not_fallen,
    said_by,
    table_check,
)
from recsys_dagster.resources.snapshot_store import SnapshotStore
from recsys_dagster.resources.warehouse import Warehouse
from recsys_dagster.steps.prepare.soundness import needs_positives, some_positive


@table_check("interactions")
def interactions_keys_unique(
    context: dg.AssetCheckExecutionContext,
    recsys_catalogs: CatalogsParam,
    recsys_warehouse: Warehouse,
) -> dg.AssetCheckResult:
    """There are interactions, one row a (user, item)."""
    return keys_unique(Checked.of(context, recsys_catalogs, recsys_warehouse), "interactions")


@table_check("interactions")
def interactions_accepted_share(
    context: dg.AssetCheckExecutionContext,
    recsys_catalogs: CatalogsParam,
    recsys_warehouse: Warehouse,
) -> dg.AssetCheckResult:
    """Most rows of the source are accepted: otherwise a column was misread."""
    return accepted_share(Checked.of(context, recsys_catalogs, recsys_warehouse), "interactions")


@table_check("interactions")
def interactions_some_positive(
    context: dg.AssetCheckExecutionContext,
    recsys_catalogs: CatalogsParam,
    recsys_warehouse: Warehouse,
) -> dg.AssetCheckResult:
    """Somebody likes something: otherwise nothing is learned, and every score is 0."""
    checked = Checked.of(context, recsys_catalogs, recsys_warehouse)
    pairs, positive = checked.numbers(
        "select count(*), count(*) filter (positive) from interactions"
    )
    return said_by(some_positive(pairs, positive, needs_positives(checked.catalog)))


@table_check("interactions")
def interactions_not_fallen(
    context: dg.AssetCheckExecutionContext,
    recsys_catalogs: CatalogsParam,
    recsys_warehouse: Warehouse,
    recsys_snapshots: SnapshotStore,
) -> dg.AssetCheckResult:
    """Interactions and their users are not far fewer than those of the published snapshot:
    otherwise the source was read while it was being written, or a part of it is missing.
    """
    checked = Checked.of(context, recsys_catalogs, recsys_warehouse)
    pairs, users = checked.numbers("select count(*), count(distinct user_id) from interactions")
    return not_fallen(checked, recsys_snapshots, {"interactions": pairs, "users": users})
