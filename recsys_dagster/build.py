"""The only assembler: catalogs and resources in, Dagster definitions out."""

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

import dagster as dg

from recsys_dagster.assets.checks import CHECKS
from recsys_dagster.assets.common import IO_MANAGER
from recsys_dagster.assets.embeddings import embeddings_assets
from recsys_dagster.assets.evaluation import evaluation_assets
from recsys_dagster.assets.faulty import faulty_specs
from recsys_dagster.assets.held_back import held_back_assets
from recsys_dagster.assets.interactions import interactions_assets
from recsys_dagster.assets.items import items_assets
from recsys_dagster.assets.model import model_assets
from recsys_dagster.assets.published import published_assets
from recsys_dagster.assets.raw import raw_assets
from recsys_dagster.assets.recommendations import recommendations_assets
from recsys_dagster.assets.similarity import similarity_assets
from recsys_dagster.assets.sources import source_specs
from recsys_dagster.assets.texts import texts_assets
from recsys_dagster.assets.tuning import tuning_spec
from recsys_dagster.assets.users import users_assets
from recsys_dagster.automation.alerts import alert_sensor
from recsys_dagster.automation.conditions import check_condition, condition_of, condition_sensor
from recsys_dagster.automation.executor import catalog_executor
from recsys_dagster.automation.faulty import faulty_sensor
from recsys_dagster.automation.jobs import catalog_jobs
from recsys_dagster.automation.recovery import recovery_sensor
from recsys_dagster.automation.retention import clean_up, clean_up_schedule
from recsys_dagster.automation.schedules import refresh_schedule
from recsys_dagster.automation.sensors import watch_sensor
from recsys_dagster.catalog.files import Catalogs, catalogs_folder
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.home import locks_folder, models_folder, snapshots_address, warehouse_folder
from recsys_dagster.resources.compute import ComputeResource
from recsys_dagster.resources.encoder import TextEncoder
from recsys_dagster.resources.model_store import ModelStore
from recsys_dagster.resources.run_locks import encoder_lock
from recsys_dagster.resources.snapshot_store import SnapshotStore
from recsys_dagster.resources.warehouse import Warehouse, WarehouseIOManager
from recsys_dagster.versions import code_version

WAREHOUSE_RETRIES = 3
"""How often a step that found the warehouse held by another process is tried again."""
Found = TypeVar("Found")
LOG = logging.getLogger(__name__)

STAGES: tuple[Callable[[Catalog], list[dg.AssetsDefinition]], ...] = (
    raw_assets,
    interactions_assets,
    items_assets,
    users_assets,
    texts_assets,
    embeddings_assets,
    similarity_assets,
    model_assets,
    recommendations_assets,
    published_assets,
    held_back_assets,
    evaluation_assets,
)
"""What makes the assets of a catalog, in flow order."""


def build_defs(
    catalogs: Catalogs | None = None,
    resources: Mapping[str, Any] | None = None,
    loggers: Mapping[str, dg.LoggerDefinition] | None = None,
    *,
    in_process: bool = True,
) -> dg.Definitions:
    """Assets, checks, jobs and resources for every catalog.

    Args:
        catalogs: what to build for; None reads the folder of catalog files.
        resources: replace the default ones of the same names: recsys_warehouse,
            recsys_io_manager, recsys_compute, recsys_encoder, recsys_models, recsys_snapshots;
            and add those that catalogs name as a source's io_manager. Tables are written to the
            warehouse that is given, too.
        loggers: replace Dagster's loggers.
        in_process: execute what is materialised by hand in one process a run, too; False where
            the project has an executor of its own, of which Dagster takes one. Jobs of catalogs
            have it anyway, and runs of other assets are executed as they would be without it.

    A faulty file does not stop the others: it is an external asset of the group `faulty_catalogs`,
    an error in the log, and a sensor that fails.

    Raises:
        UserError: there is no catalog file, or every one is faulty.
    """
    if catalogs is None:
        catalogs = Catalogs.read(catalogs_folder())
    catalogs.require_some()
    for each in catalogs.faulty:
        LOG.error("The catalog file is left out, the others are loaded:\n%s", each.fault)
    given = dict(resources or {})
    warehouse = given.get("recsys_warehouse") or Warehouse(
        folder=str(warehouse_folder()), retries=WAREHOUSE_RETRIES
    )
    executor = catalog_executor(locks_folder())
    jobs = {name: catalog_jobs(catalog, executor) for name, catalog in catalogs.items()}
    refreshes = [own[0] for own in jobs.values()]
    defaults: dict[str, Any] = {
        "recsys_catalogs": catalogs,
        "recsys_warehouse": warehouse,
        IO_MANAGER: WarehouseIOManager(warehouse=warehouse),
        "recsys_compute": ComputeResource.of_environment(),
        "recsys_encoder": TextEncoder(lock=str(encoder_lock(locks_folder()))),
        "recsys_models": ModelStore(folder=str(models_folder())),
        "recsys_snapshots": SnapshotStore(folder=snapshots_address()),
    }
    return dg.Definitions(
        assets=[
            *(asset for catalog in catalogs.values() for asset in _assets(catalog)),
            *faulty_specs(catalogs.faulty),
        ],
        asset_checks=[
            check.of(catalog, check_condition(catalog))
            for catalog in catalogs.values()
            for check in CHECKS
        ],
        jobs=[*(job for own in jobs.values() for job in own), clean_up],
        schedules=_present(
            [*(refresh_schedule(catalog) for catalog in catalogs.values()), clean_up_schedule]
        ),
        sensors=_present(
            [
                *(watch_sensor(catalog) for catalog in catalogs.values()),
                recovery_sensor(catalogs, locks_folder(), refreshes),
                faulty_sensor(catalogs.faulty, refreshes),
                condition_sensor(catalogs),
                alert_sensor(catalogs),
            ]
        ),
        resources=defaults | given,
        loggers=loggers,
        executor=executor if in_process else None,
    )


def _present(found: Iterable[Found | None]) -> list[Found]:
    return [one for one in found if one is not None]


def _assets(catalog: Catalog) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """The assets of a catalog: each knows the version of what makes it, the last its freshness."""

    def versioned(spec: dg.AssetSpec) -> dg.AssetSpec:
        table = spec.key.path[-1]
        hours = catalog.refresh.fresh_within_hours
        policy = dg.FreshnessPolicy.time_window(timedelta(hours=hours)) if hours else None
        return spec.replace_attributes(
            code_version=code_version(table, catalog),
            freshness_policy=policy if table == "published" else None,
            automation_condition=condition_of(catalog, table),
        )

    return [
        *source_specs(catalog),
        *(asset.map_asset_specs(versioned) for stage in STAGES for asset in stage(catalog)),
        tuning_spec(catalog),
    ]
