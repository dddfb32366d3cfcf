"""Removing what nobody needs any more: old snapshots, models, runs and logs, unused vectors."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import dagster as dg

from recsys_dagster.automation.runs import UNFINISHED, runs_of
from recsys_dagster.catalog.files import Catalogs
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.errors import UserError
from recsys_dagster.home import downloads_folder
from recsys_dagster.resources.embedding_store import remove_unused
from recsys_dagster.resources.encoder import TextEncoder, load_encoder
from recsys_dagster.resources.encoder_static import StaticEncoder, remove_static_models
from recsys_dagster.resources.model_store import ModelStore
from recsys_dagster.resources.snapshot_store import SnapshotStore
from recsys_dagster.resources.warehouse import Warehouse
from recsys_dagster.snapshots.model_files import remove_models
from recsys_dagster.snapshots.remote import Folder
from recsys_dagster.snapshots.writer import models_of, remove_old
from recsys_dagster.sql import quoted
from recsys_dagster.writing import remove_older

LATEST_MODELS = timedelta(hours=1)
"""Models so new stay: the run that fitted one may be about to name it."""

LONGEST_READ = timedelta(days=1)


@dg.op
def remove_what_is_old(
    context: dg.OpExecutionContext,
    recsys_catalogs: dg.ResourceParam[Catalogs],
    recsys_warehouse: Warehouse,
    recsys_models: ModelStore,
    recsys_snapshots: SnapshotStore,
    recsys_encoder: TextEncoder,
) -> None:
    """For each catalog, as its `keep` settings say.

    What cannot be removed of one catalog, such as vectors while its encoder is not found, is told
    at the end: everything else is removed.

    Raises:
        UserError: something could not be removed.
    """
    now = datetime.now(UTC)
    faults: list[str] = []

    def remove(what: str, removed: Callable[[], int]) -> None:
        try:
            context.log.info(f"{what}: {removed():,} removed")
        except dg.RetryRequested as error:
            # A run holds the warehouse. There will be another day.
            context.log.warning(f"{what}: none removed: {error.__cause__}")
        except Exception as error:
            faults.append(f"{what}: {error}")
            context.log.exception(f"{what}: they could not be removed")

    remove("copies of objects", partial(remove_leftovers, downloads_folder(), now - LONGEST_READ))
    for name, catalog in recsys_catalogs.items():
        keep = catalog.keep
        snapshots, old = recsys_snapshots.place, now - timedelta(days=keep.encoder_days)
        remove(f"{name}: snapshots", partial(remove_old, snapshots, name, keep.snapshots))
        named = partial(models_in_use, recsys_warehouse, snapshots, name)
        models = partial(_remove_models, recsys_models, name, named, now - LATEST_MODELS)
        remove(f"{name}: models", models)
        before = now - timedelta(days=keep.run_days)
        remove(f"{name}: runs", partial(remove_runs, context.instance, name, before))
        vectors = partial(_remove_vectors, recsys_warehouse, catalog, recsys_encoder, old)
        remove(f"{name}: vectors of texts", vectors)
    catalogs = list(recsys_catalogs.values())
    days = max((catalog.keep.encoder_days for catalog in catalogs), default=0)
    before = now - timedelta(days=days)
    remove("static models", partial(_remove_static, catalogs, recsys_encoder, before))
    if faults:
        raise UserError("Not everything could be removed: " + "; ".join(faults))


def _remove_vectors(
    warehouse: Warehouse, catalog: Catalog, encoder: TextEncoder, before: datetime
) -> int:
    return remove_unused(warehouse, catalog.name, encoders_in_use(catalog, encoder), before)


def _remove_static(catalogs: list[Catalog], encoder: TextEncoder, before: datetime) -> int:
    loaded = (load_encoder(encoder, each, "document") for each in catalogs if _is_tiny(each))
    used = {own.folder for own in loaded if isinstance(own, StaticEncoder)}
    return remove_static_models(used, before)


def _is_tiny(catalog: Catalog) -> bool:
    return catalog.encoder.preset == "tiny"


def _remove_models(
    models: ModelStore, catalog: str, named: Callable[[], set[str]], before: datetime
) -> int:
    return remove_models(models.home(catalog), named(), before)


def models_in_use(warehouse: Warehouse, snapshots: Folder, catalog: str) -> set[str]:
    """The fingerprints of the models that snapshots hold, and that tables name."""
    used = models_of(snapshots, catalog)
    for table, column in (("model", "fingerprint"), ("evaluation", "model")):
        if warehouse.has(catalog, table):
            sql = f"select distinct {quoted(column)} from {quoted(table)}"
            used |= {fingerprint for (fingerprint,) in warehouse.query(catalog, sql)}
    return used


def remove_leftovers(downloads: Path, before: datetime) -> int:
    """Delete the copies of objects that a process left which was killed while it read them."""
    return remove_older(downloads.iterdir() if downloads.is_dir() else (), before.timestamp())


def encoders_in_use(catalog: Catalog, encoder: TextEncoder) -> set[str]:
    """The fingerprints of what encodes a catalog's items and users."""
    if catalog.encoder.model == "tfidf":
        return set()
    return {load_encoder(encoder, catalog, side).fingerprint for side in ("document", "query")}


def remove_runs(instance: dg.DagsterInstance, catalog: str, before: datetime) -> int:
    """Delete a catalog's finished runs with their logs, but for its last one; how many they were.

    The events of the last run are what the UI shows of the assets.
    """
    kept = {run.run_id for run in runs_of(instance, catalog, limit=1)}
    old = [
        run
        for run in runs_of(instance, catalog, created_before=before)
        if run.run_id not in kept and run.status not in UNFINISHED
    ]
    for run in old:
        instance.compute_log_manager.delete_logs(prefix=[run.run_id])
        instance.delete_run(run.run_id)
    return len(old)


@dg.job(description="Removes what is older than the `keep` settings of each catalog.")
def clean_up() -> None:
    """The job of `clean_up_schedule`."""
    remove_what_is_old()


clean_up_schedule = dg.ScheduleDefinition(
    name="clean_up_schedule",
    job=clean_up,
    cron_schedule="30 4 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
