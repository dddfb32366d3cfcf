"""The gate's other side: what passed the checks becomes a snapshot that others read."""

from pathlib import Path

import dagster as dg
import pandas as pd
import pyarrow as pa

from recsys_dagster.assets.common import OWNERS, data_version, unchanged
from recsys_dagster.catalogs import Catalogs
from recsys_dagster.errors import UserError
from recsys_dagster.resources.run_context import catalog_of
from recsys_dagster.resources.snapshot_store import SnapshotStore
from recsys_dagster.snapshots import Snapshot, publish
from recsys_dagster.versions import code_version, digest


@dg.asset(kinds={"parquet", "file"}, owners=OWNERS)
def published(
    context: dg.AssetExecutionContext,
    catalogs: dg.ResourceParam[Catalogs],
    snapshots: SnapshotStore,
    recommendations: pa.Table,
    item_neighbours: pa.Table,
    popular_items: pa.Table,
    items: pa.Table,
) -> dg.MaterializeResult:
    """A snapshot folder of lists, neighbours, popular items and titles with a manifest of run,
    counts and checksums, written beside the current one and made current by one atomic rename.
    """
    catalog = catalog_of(context, catalogs)
    tables = {
        "recommendations": recommendations,
        "item_neighbours": item_neighbours,
        "popular_items": popular_items,
        "items": items.select(["item_id", "title", "category"]),
    }
    made_from = digest(
        code_version("published", catalog),
        *(f"{name} {data_version(table)}" for name, table in tables.items()),
    )
    folder = Path(snapshots.folder)
    if _is_current(folder, catalog.name, made_from):
        context.log.info("the current snapshot is kept: nothing in it has changed")
        return unchanged(context, context.asset_key, made_from)
    path = publish(
        folder,
        catalog.name,
        context.run.run_id,
        pd.Timestamp.now("UTC").tz_localize(None),
        tables,
        {"made_from": made_from, "settings": catalog.model_dump(mode="json")},
    )
    size = sum(file.stat().st_size for file in path.iterdir())
    return dg.MaterializeResult(
        data_version=dg.DataVersion(made_from),
        metadata={
            "unchanged": False,
            "snapshot": dg.MetadataValue.path(str(path)),
            "dagster/row_count": recommendations.num_rows,
            "size_bytes": size,
        },
    )


def _is_current(folder: Path, catalog: str, made_from: str) -> bool:
    try:
        return Snapshot.current(folder, catalog).manifest["made_from"] == made_from
    except UserError:
        return False
