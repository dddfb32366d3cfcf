"""The sources as they are: nothing is judged here, so every reject can be looked up."""

import dagster as dg
import pyarrow as pa

from recsys_dagster.assets.common import OWNERS, TABLE
from recsys_dagster.catalog import Catalogs
from recsys_dagster.metadata import preview
from recsys_dagster.resources.run_context import catalog_of
from recsys_dagster.resources.sources import read_source
from recsys_dagster.resources.warehouse import to_pandas
from recsys_dagster.steps.columns import find_column

PREVIEW_ROWS = 8


@dg.asset(kinds=TABLE, owners=OWNERS)
def raw_interactions(
    context: dg.AssetExecutionContext, catalogs: dg.ResourceParam[Catalogs]
) -> dg.Output[pa.Table]:
    """Who did what with which item, as the source has it, every row numbered."""
    catalog = catalog_of(context, catalogs)
    settings = catalog.interactions
    data = read_source(settings.source, catalog.folder)
    # Only columns whose meaning is known are shown: the others might name a person.
    known = [
        find_column(wanted, data.column_names, settings.columns, "raw_interactions")
        for wanted in ("item_id", "weight", "timestamp")
    ]
    shown = data.select([name for name in known if name]).slice(0, PREVIEW_ROWS)
    return dg.Output(
        data, metadata={"source": settings.source, "preview": preview(to_pandas(shown))}
    )


@dg.asset(kinds=TABLE, owners=OWNERS)
def raw_items(
    context: dg.AssetExecutionContext, catalogs: dg.ResourceParam[Catalogs]
) -> dg.Output[pa.Table]:
    """The items as the source has them, every row numbered."""
    catalog = catalog_of(context, catalogs)
    data = read_source(catalog.items.source, catalog.folder)
    return dg.Output(
        data,
        metadata={
            "source": catalog.items.source,
            "preview": preview(to_pandas(data.slice(0, PREVIEW_ROWS))),
        },
    )


@dg.asset(kinds=TABLE, owners=OWNERS)
def raw_users(
    context: dg.AssetExecutionContext, catalogs: dg.ResourceParam[Catalogs]
) -> dg.Output[pa.Table]:
    """The users' profiles as the source has them; no row where the catalog names no source."""
    catalog = catalog_of(context, catalogs)
    source = catalog.users.source
    if source is None:
        data = pa.table({"source_row": pa.array([], pa.int64())})
        return dg.Output(data, metadata={"source": "none: users are those of the interactions"})
    return dg.Output(read_source(source, catalog.folder), metadata={"source": source})
