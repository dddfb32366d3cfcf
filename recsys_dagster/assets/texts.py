"""One clean text an item and, where there are profiles, a user."""

import dagster as dg
import pandas as pd

from recsys_dagster.assets.common import table_assets
from recsys_dagster.assets.metadata import column_lineage, distribution, histogram, preview
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.steps.prepare import texts as step


def texts_assets(catalog: Catalog) -> list[dg.AssetsDefinition]:
    """The assets item_texts and user_texts of a catalog."""
    return [
        table_assets(catalog, item_texts, stage="texts"),
        table_assets(catalog, user_texts, stage="texts"),
    ]


def item_texts(
    context: dg.AssetExecutionContext,
    catalog: Catalog,
    items: pd.DataFrame,
) -> dg.Output[pd.DataFrame]:
    """The text that stands for an item: markup and entities to text, Unicode NFKC, controls out,
    white space folded, composed by the catalog's template without its missing parts.

    `text` is the template of `items: text` in the YAML; where nothing is left of it, the title,
    else the id (`is_fallback`). `text_hash = SHA-256(text)`: a text is encoded once, ever.
    """
    template = catalog.items.text
    table = step.item_texts(items, template)
    used = step.Template.parse(template).found_in(items.columns).columns
    text = [f"items.{name}" for name in dict.fromkeys([*used, "title", "item_id"])]
    origins = {"item_id": ["items.item_id"], "text": text, "text_hash": text}
    return dg.Output(
        table,
        metadata=_described(table, "Length of item texts", "items")
        | column_lineage(
            catalog.name, origins | {"is_fallback": [f"items.{name}" for name in used]}
        ),
    )


def user_texts(
    context: dg.AssetExecutionContext,
    catalog: Catalog,
    users: pd.DataFrame,
) -> dg.Output[pd.DataFrame]:
    """The profile text of a user, cleaned as item texts are; none where there is no profile."""
    table = step.user_texts(users, catalog.users.text)
    # Profile texts speak of persons: their lengths may be shown, they themselves may not.
    metadata = _described(table, "Length of profile texts", "users")
    return dg.Output(table, metadata={k: v for k, v in metadata.items() if k != "preview"})


def _described(table: pd.DataFrame, title: str, counted: str) -> dict[str, dg.MetadataValue]:
    lengths = table["text"].str.len()
    metadata: dict[str, dg.MetadataValue] = {
        "distinct_texts": dg.MetadataValue.int(table["text_hash"].nunique()),
        "characters": dg.MetadataValue.text(distribution(lengths)),
        "preview": preview(table.drop(columns="text_hash")),
        "plot": histogram(lengths, title, "characters", counted),
    }
    if "is_fallback" in table:
        metadata["fallback_texts"] = dg.MetadataValue.int(int(table["is_fallback"].sum()))
    return metadata
