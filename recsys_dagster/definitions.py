"""The only assembler: catalogs and resources in, Dagster definitions out."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from recsys_dagster.assets import (
    checks,
    embeddings,
    interactions,
    items,
    published,
    recommendations,
    similarity,
    texts,
    users,
)
from recsys_dagster.assets.common import IO_MANAGER
from recsys_dagster.assets.raw import raw_assets
from recsys_dagster.catalog import Catalog
from recsys_dagster.catalogs import Catalogs, catalogs_folder
from recsys_dagster.home import snapshots_folder, warehouse_folder
from recsys_dagster.resources.encoder import TextEncoder
from recsys_dagster.resources.snapshot_store import SnapshotStore
from recsys_dagster.resources.warehouse import Warehouse, WarehouseIOManager
from recsys_dagster.versions import code_version

ASSET_MODULES = [
    interactions,
    items,
    users,
    texts,
    embeddings,
    similarity,
    recommendations,
    published,
]


def refresh_job_name(catalog: str) -> str:
    """The job that materialises a whole catalog."""
    return f"refresh_{catalog}"


def build_defs(
    catalogs: Catalogs | None = None,
    resources: Mapping[str, Any] | None = None,
    loggers: Mapping[str, dg.LoggerDefinition] | None = None,
) -> dg.Definitions:
    """Assets, checks, jobs and resources for every catalog.

    Args:
        catalogs: what to build for; None reads the folder of catalog files.
        resources: replace the default ones of the same names: warehouse, recsys_io_manager,
            encoder, snapshots; and those that catalogs name as a source's io_manager.
        loggers: replace Dagster's loggers.

    Raises:
        UserError: a catalog file is faulty.
    """
    if catalogs is None:
        catalogs = Catalogs.read(catalogs_folder())
    warehouse = Warehouse(folder=str(warehouse_folder()))
    defaults: dict[str, Any] = {
        "catalogs": catalogs,
        "warehouse": warehouse,
        IO_MANAGER: WarehouseIOManager(warehouse=warehouse),
        "encoder": TextEncoder(),
        "snapshots": SnapshotStore(folder=str(snapshots_folder())),
    }
    return dg.Definitions(
        assets=[asset for catalog in catalogs.values() for asset in _assets(catalog)],
        asset_checks=[
            check
            for name in catalogs
            for check in dg.load_asset_checks_from_modules([checks], asset_key_prefix=name)
        ],
        jobs=[
            dg.define_asset_job(
                refresh_job_name(name),
                dg.AssetSelection.groups(name),
                description=f"Everything from the sources of {name} to its published snapshot.",
            )
            for name in catalogs
        ],
        resources=defaults | dict(resources or {}),
        loggers=loggers,
        # One process a run: a stage takes seconds, starting a process with torch takes ten.
        executor=dg.in_process_executor,
    )


def _assets(catalog: Catalog) -> list[dg.AssetsDefinition]:
    """The assets of a catalog, each with the version of the code and settings that make it."""

    def versioned(spec: dg.AssetSpec) -> dg.AssetSpec:
        return spec.replace_attributes(code_version=code_version(spec.key.path[-1], catalog))

    loaded = dg.load_assets_from_modules(
        ASSET_MODULES, key_prefix=catalog.name, group_name=catalog.name
    )
    return [
        asset.map_asset_specs(versioned)
        for asset in [*raw_assets(catalog), *loaded]
        if isinstance(asset, dg.AssetsDefinition)
    ]


defs = build_defs()
