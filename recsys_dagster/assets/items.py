"""Accepted items, one row an item, and the rejected rows with reasons."""

from collections.abc import Iterator, Mapping

import dagster as dg
import pandas as pd

from recsys_dagster.assets.common import table_assets
from recsys_dagster.catalogs import Catalogs
from recsys_dagster.metadata import STAGE, bars, column_lineage, preview, rejected_because
from recsys_dagster.resources.run_context import catalog_of
from recsys_dagster.steps.columns import find_column, own_columns
from recsys_dagster.steps.items import parse_items


@table_assets(
    {
        "items": "The catalogue: one row an item with its title and the source's columns. "
        "Of several rows with one id the last counts.\n\n"
        "`rows of raw_items = items + merged + rejected_items`",
        "rejected_items": "Rows of the source that were not accepted, each with its reason.",
    },
    tags={STAGE: "items"},
)
def parse_raw_items(
    context: dg.AssetExecutionContext,
    recsys_catalogs: dg.ResourceParam[Catalogs],
    raw_items: pd.DataFrame,
) -> Iterator[dg.Output[pd.DataFrame]]:
    """Validate the raw items and keep one row each."""
    catalog = catalog_of(context, recsys_catalogs)
    columns = catalog.items.columns
    parsed = parse_items(raw_items, columns=columns)
    filled = {
        str(name): float(parsed.accepted[name].notna().sum()) for name in parsed.accepted.columns
    }
    yield dg.Output(
        parsed.accepted,
        "items",
        metadata={
            "raw_rows": len(raw_items),
            "merged_rows": parsed.merged,
            "rejected_rows": len(parsed.rejected),
            **rejected_because(parsed.rejected),
            "preview": preview(parsed.accepted),
            "plot": bars(filled, "What is known of items", "items with a value"),
            **column_lineage(catalog.name, _origins(raw_items, parsed.accepted, columns)),
        },
    )
    yield dg.Output(
        parsed.rejected,
        "rejected_items",
        metadata={
            **rejected_because(parsed.rejected),
            "preview": preview(parsed.rejected),
            "plot": bars(
                parsed.rejected["reason"].value_counts().to_dict(),
                "Why rows were rejected",
                "rows",
            ),
        },
    )


def _origins(
    raw: pd.DataFrame, accepted: pd.DataFrame, columns: Mapping[str, str]
) -> dict[str, list[str]]:
    """The source's columns that each column of the table is made of."""
    names = own_columns(raw.columns)
    found = {
        ours: find_column(ours, names, columns, "raw_items")
        for ours in ("item_id", "title", "category", "available", "created_at")
    }
    kept = {str(name): str(name) for name in accepted.columns if name not in found}
    origins = {ours: [f"raw_items.{column}"] for ours, column in (found | kept).items() if column}
    # The id stands in for a title that is missing.
    return origins | {"title": [*origins.get("title", []), *origins["item_id"]]}
