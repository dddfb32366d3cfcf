"""Accepted items, one row an item, and the rejected rows with reasons."""

from collections.abc import Iterator

import dagster as dg
import pandas as pd

from recsys_dagster.assets.common import table_assets
from recsys_dagster.assets.metadata import bars, column_lineage, preview, rejected_because
from recsys_dagster.catalog.settings import Catalog, ItemsSettings
from recsys_dagster.schemas import ITEMS
from recsys_dagster.steps.prepare.columns import find_column, own_columns
from recsys_dagster.steps.prepare.items import parse_items
from recsys_dagster.steps.prepare.texts import Template, titles_from_texts

TABLES = {
    "items": "The catalogue: one row an item with its title and the source's columns; "
    "the first words of the text, else the id, stand in for a title. Of several rows with one "
    "id the last counts.\n\n"
    "`rows of raw_items = items + merged + rejected_items`",
    "rejected_items": "Rows of the source that were not accepted, each with its reason.",
}


def items_assets(catalog: Catalog) -> list[dg.AssetsDefinition]:
    """The assets items and rejected_items of a catalog."""
    return [table_assets(catalog, parse_raw_items, tables=TABLES, stage="items")]


def parse_raw_items(
    context: dg.AssetExecutionContext,
    catalog: Catalog,
    raw_items: pd.DataFrame,
) -> Iterator[dg.Output[pd.DataFrame]]:
    """Validate the raw items and keep one row each."""
    columns = catalog.items.columns
    parsed = parse_items(raw_items, columns=columns)
    items = titles_from_texts(parsed.accepted, catalog.items.text)
    filled = {str(name): float(items[name].notna().sum()) for name in items.columns}
    yield dg.Output(
        items,
        "items",
        metadata={
            "raw_rows": len(raw_items),
            "merged_rows": parsed.merged,
            "rejected_rows": len(parsed.rejected),
            **rejected_because(parsed.rejected),
            "titles_from_texts": int((items["title_source"] == "text").sum()),
            "preview": preview(items),
            "plot": bars(filled, "What is known of items", "items with a value"),
            **column_lineage(catalog.name, _origins(raw_items, items, catalog.items)),
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
    raw: pd.DataFrame, items: pd.DataFrame, settings: ItemsSettings
) -> dict[str, list[str]]:
    """The source's columns that each column of the table is made of."""
    names = own_columns(raw.columns)
    found = {
        ours: find_column(ours, names, settings.columns, "raw_items")
        for ours in ("item_id", "title", "category", "available", "created_at")
    }
    kept = {str(name): str(name) for name in items.columns if name not in ITEMS.column_names}
    origins = {ours: [f"raw_items.{column}"] for ours, column in (found | kept).items() if column}
    # The text, else the id, stands in for a title that is missing.
    title = [*origins.get("title", [])]
    for name in Template.parse(settings.text).found_in(items.columns).columns:
        title += origins.get(name, [])
    title = list(dict.fromkeys([*title, *origins["item_id"]]))
    return origins | {"title": title, "title_source": title}
