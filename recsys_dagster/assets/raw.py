"""The sources as they are: nothing is judged here, so every reject can be looked up.

The only assets made for each catalog apart: what they depend on is in its YAML file.
"""

from functools import partial
from typing import Any

import dagster as dg
import pyarrow as pa

from recsys_dagster.assets.common import (
    IO_MANAGER,
    OWNERS,
    TABLE,
    pool_of,
    spec_metadata,
    unchanged,
)
from recsys_dagster.assets.metadata import STAGE, preview
from recsys_dagster.assets.sources import source_key
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.catalog.source import SourceSettings
from recsys_dagster.resources.sources import SourceRead, numbered, read_source
from recsys_dagster.resources.warehouse import (
    DATA_VERSION,
    Warehouse,
    let_go,
    to_pandas,
    with_comment,
)
from recsys_dagster.steps.prepare.columns import find_column, own_columns

NO_SOURCE = SourceRead("no source", 0, lambda: numbered(pa.table({})))
PREVIEW_ROWS = 8
# Only columns whose meaning is known are shown of these: the others might name a person.
SHOWN_OF_INTERACTIONS = ("item_id", "weight", "timestamp", "position", "event")


class ReadConfig(dg.Config):
    """How to read a source."""

    everything: bool = False
    """Read all rows again, also those that did not change."""


def raw_assets(catalog: Catalog) -> list[dg.AssetsDefinition]:
    """The assets raw_interactions, raw_items and raw_users of a catalog."""
    return [
        _raw_asset(
            catalog,
            "raw_interactions",
            catalog.interactions.source,
            "Who did what with which item, as the source has it, every row numbered.",
        ),
        _raw_asset(
            catalog,
            "raw_items",
            catalog.items.source,
            "The items as the source has them, every row numbered.",
        ),
        _raw_asset(
            catalog,
            "raw_users",
            catalog.users.source,
            "The users' profiles as the source has them; no row where the catalog names no source.",
        ),
    ]


def _raw_asset(
    catalog: Catalog, table: str, source: SourceSettings | None, description: str
) -> dg.AssetsDefinition:
    upstream = source_key(catalog, table.removeprefix("raw_"))
    define: Any = partial(
        dg.asset,
        name=table,
        key_prefix=catalog.name,
        group_name=catalog.name,
        description=description,
        kinds=TABLE,
        owners=OWNERS,
        dagster_type=dg.Any,
        io_manager_key=IO_MANAGER,
        tags={STAGE: "raw"},
        metadata=spec_metadata(catalog, table, _read),
        pool=pool_of(catalog.name),
    )

    if source is not None and source.is_asset_value:

        @define(ins={"value": dg.AssetIn(upstream, input_manager_key=source.io_manager)})
        def raw_from_asset(  # noqa: ANN202, Dagster reads annotations of what is returned
            context: dg.AssetExecutionContext,
            config: ReadConfig,
            recsys_warehouse: Warehouse,
            value: Any,
        ):
            return _read(context, config, recsys_warehouse, catalog, table, source, value)

        return raw_from_asset

    @define(deps=[upstream] if upstream else [])
    def raw(  # noqa: ANN202
        context: dg.AssetExecutionContext, config: ReadConfig, recsys_warehouse: Warehouse
    ):
        return _read(context, config, recsys_warehouse, catalog, table, source, None)

    return raw


def _read(
    context: dg.AssetExecutionContext,
    config: ReadConfig,
    recsys_warehouse: Warehouse,
    catalog: Catalog,
    table: str,
    source: SourceSettings | None,
    asset_value: Any,
) -> dg.Output[pa.Table] | dg.MaterializeResult:
    known = recsys_warehouse.comment(catalog.name, table)
    if source is None:
        described, found = "none: users are those of the interactions", NO_SOURCE
    else:
        described = source.described
        landing = catalog.live_folder if table == "raw_interactions" else None
        previous = None
        if known and not config.everything:
            previous = recsys_warehouse.stored(catalog.name, table)
        with let_go():
            found = read_source(source, catalog.folder, previous, asset_value, landing)
    if known.get(DATA_VERSION) == found.fingerprint and not config.everything:
        # What was touched, or written again with the same content, need not be looked into again.
        if known != known | found.memory:
            recsys_warehouse.remember(catalog.name, table, known | found.memory)
        context.log.info(f"{described}: the content is as it was")
        return unchanged(context, context.asset_key, found.fingerprint)
    rows = found.rows
    context.log.info(f"{described}: {rows.num_rows:,} rows, {found.rows_read:,} read now")
    metadata = {
        "source": described,
        "rows_read": found.rows_read,
        "unreadable_rows": rows.num_rows - rows["source_error"].null_count,
        "unchanged": False,
    }
    if found.remarks:
        metadata["remarks"] = "\n".join(found.remarks)
    shown = _shown(table, rows, catalog)
    if shown:
        metadata["preview"] = preview(to_pandas(rows.select(shown).slice(0, PREVIEW_ROWS)))
    context.set_data_version(context.asset_key, dg.DataVersion(found.fingerprint))
    return dg.Output(with_comment(rows, {DATA_VERSION: found.fingerprint}), metadata=metadata)


def _shown(table: str, rows: pa.Table, catalog: Catalog) -> list[str]:
    if table == "raw_users":
        return []
    names = own_columns(rows.column_names)
    if table == "raw_items":
        return names
    known = [
        find_column(wanted, names, catalog.interactions.columns, table)
        for wanted in SHOWN_OF_INTERACTIONS
    ]
    return list(dict.fromkeys(name for name in known if name))
