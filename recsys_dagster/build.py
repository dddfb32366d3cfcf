"""The only assembler: catalogs and resources in, Dagster definitions out."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

import dagster as dg

from recsys_dagster.assets import (
    checks,
    embeddings,
    evaluation,
    held_back,
    interactions,
    items,
    published,
    recommendations,
    similarity,
    texts,
    tuning,
    users,
)
from recsys_dagster.assets.common import IO_MANAGER
from recsys_dagster.assets.raw import raw_assets
from recsys_dagster.automation.alerts import alert_sensor
from recsys_dagster.automation.jobs import catalog_jobs
from recsys_dagster.automation.retention import clean_up, clean_up_schedule
from recsys_dagster.automation.schedules import refresh_schedule
from recsys_dagster.automation.sensors import watch_sensor
from recsys_dagster.catalog import Catalog
from recsys_dagster.catalogs import Catalogs, catalogs_folder
from recsys_dagster.home import snapshots_folder, warehouse_folder
from recsys_dagster.resources.encoder import TextEncoder
from recsys_dagster.resources.snapshot_store import SnapshotStore
from recsys_dagster.resources.warehouse import Warehouse, WarehouseIOManager
from recsys_dagster.versions import code_version

WAREHOUSE_RETRIES = 3
"""How often a step that found the warehouse held by another process is tried again."""
Found = TypeVar("Found")

ASSET_MODULES = [
    interactions,
    items,
    users,
    texts,
    embeddings,
    similarity,
    held_back,
    tuning,
    recommendations,
    published,
    evaluation,
]


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
            recsys_io_manager, recsys_encoder, recsys_snapshots; and add those that catalogs name
            as a source's io_manager.
        loggers: replace Dagster's loggers.
        in_process: one process a run, also for what is materialised by hand: a stage takes
            seconds, starting a process with torch takes ten. It holds for the whole code location
            that the definitions are merged into; False leaves the executor to that project.

    Raises:
        UserError: a catalog file is faulty.
    """
    if catalogs is None:
        catalogs = Catalogs.read(catalogs_folder())
    warehouse = Warehouse(folder=str(warehouse_folder()), retries=WAREHOUSE_RETRIES)
    defaults: dict[str, Any] = {
        "recsys_catalogs": catalogs,
        "recsys_warehouse": warehouse,
        IO_MANAGER: WarehouseIOManager(warehouse=warehouse),
        "recsys_encoder": TextEncoder(),
        "recsys_snapshots": SnapshotStore(folder=str(snapshots_folder())),
    }
    return dg.Definitions(
        assets=[asset for catalog in catalogs.values() for asset in _assets(catalog)],
        asset_checks=[
            check
            for name in catalogs
            for check in dg.load_asset_checks_from_modules([checks], asset_key_prefix=name)
        ],
        jobs=[
            *(
                job
                for name, catalog in catalogs.items()
                for job in catalog_jobs(name, evaluate_on_refresh=catalog.evaluation.on_refresh)
            ),
            clean_up,
        ],
        schedules=_there(
            [*(refresh_schedule(catalog) for catalog in catalogs.values()), clean_up_schedule]
        ),
        sensors=_there(
            [*(watch_sensor(catalog) for catalog in catalogs.values()), alert_sensor(catalogs)]
        ),
        resources=defaults | dict(resources or {}),
        loggers=loggers,
        executor=dg.in_process_executor if in_process else None,
    )


def _there(found: Iterable[Found | None]) -> list[Found]:
    return [one for one in found if one is not None]


def _assets(catalog: Catalog) -> list[dg.AssetsDefinition]:
    """The assets of a catalog: each knows the version of what makes it, the last its freshness."""

    def versioned(spec: dg.AssetSpec) -> dg.AssetSpec:
        table = spec.key.path[-1]
        hours = catalog.refresh.fresh_within_hours
        policy = dg.FreshnessPolicy.time_window(timedelta(hours=hours)) if hours else None
        return spec.replace_attributes(
            code_version=code_version(table, catalog),
            freshness_policy=policy if table == "published" else None,
        )

    loaded = dg.load_assets_from_modules(
        ASSET_MODULES, key_prefix=catalog.name, group_name=catalog.name
    )
    return [
        asset.map_asset_specs(versioned)
        for asset in [*raw_assets(catalog), *loaded]
        if isinstance(asset, dg.AssetsDefinition)
    ]
