"""Accepted interactions, one row a (user, item), and the rejected rows with reasons."""

from collections.abc import Iterator

import dagster as dg
import pandas as pd

from recsys_dagster.assets.common import JUDGED_AGAIN, table_assets, utc_now
from recsys_dagster.assets.metadata import (
    bars,
    column_lineage,
    distribution,
    histogram,
    preview,
    rejected_because,
)
from recsys_dagster.assets.progress import Narrator
from recsys_dagster.catalog.settings import Catalog, InteractionsSettings, parse_condition
from recsys_dagster.resources.warehouse import StoredTable
from recsys_dagster.steps.prepare.columns import find_column, own_columns
from recsys_dagster.steps.prepare.interactions import columns_read, parse_interactions

TABLES = {
    "interactions": "Valid interactions, repeats merged: one row a (user, item) with its "
    "weight, first and last time and count.\n\n"
    "`rows of raw_interactions = interactions + merged + rejected_interactions`\n\n"
    "Every pair counts as seen; models learn from the `positive` ones, which "
    "`interactions: positive` and the minimums of the YAML decide.",
    "rejected_interactions": "Rows of the source that were not accepted, each with its reason.",
}


def interactions_assets(catalog: Catalog) -> list[dg.AssetsDefinition]:
    """The assets interactions and rejected_interactions of a catalog."""
    return [table_assets(catalog, parse_raw_interactions, tables=TABLES, stage="interactions")]


def parse_raw_interactions(
    context: dg.AssetExecutionContext,
    catalog: Catalog,
    raw_interactions: StoredTable,
) -> Iterator[dg.Output[pd.DataFrame]]:
    """Type, validate and merge the raw interactions."""
    settings = catalog.interactions
    raw = raw_interactions.frame(columns_read(raw_interactions.schema().names, settings))
    with Narrator(context.log) as narrator:
        narrator.doing(f"typing and merging raw interactions: {len(raw):,} rows")
        parsed = parse_interactions(raw, settings, utc_now())
    accepted, rejected = parsed.accepted, parsed.rejected
    again = parsed.judged_again
    judged_again = {} if again is None else {JUDGED_AGAIN: _time(again)}
    per_user = accepted["user_id"].value_counts()
    yield dg.Output(
        accepted,
        "interactions",
        metadata={
            "raw_rows": len(raw),
            "merged_rows": parsed.merged,
            "rejected_rows": len(rejected),
            **rejected_because(rejected),
            "users": len(per_user),
            "items": accepted["item_id"].nunique(),
            **({"remarks": "\n".join(parsed.remarks)} if parsed.remarks else {}),
            "left_out_pairs": int(accepted["left_out"].sum()),
            "positive_share": float(accepted["positive"].mean()) if len(accepted) else 0.0,
            "items_a_user": distribution(per_user, log=True),
            "preview": preview(accepted),
            "plot": histogram(
                per_user, "How much users interact", "items a user", "users", log=True
            ),
            **column_lineage(catalog.name, _origins(raw, settings)),
        },
    )
    yield dg.Output(
        rejected,
        "rejected_interactions",
        metadata={
            **rejected_because(rejected),
            **judged_again,
            "preview": preview(rejected.drop(columns="user_id")),
            "plot": bars(
                rejected["reason"].value_counts().to_dict(), "Why rows were rejected", "rows"
            ),
        },
    )


def _time(naive_utc: pd.Timestamp) -> dg.MetadataValue:
    return dg.MetadataValue.timestamp(naive_utc.tz_localize("UTC").timestamp())


def _origins(raw: pd.DataFrame, settings: InteractionsSettings) -> dict[str, list[str]]:
    """The source's columns that each column of the table is made of."""
    names = own_columns(raw.columns)

    def origin(ours: str) -> list[str]:
        column = find_column(ours, names, settings.columns, "raw_interactions")
        return [f"raw_interactions.{column}"] if column else []

    weight = origin("weight") + (origin("event") if settings.events is not None else [])
    positive = weight if settings.positive else []
    if settings.positive and parse_condition(settings.positive)[0] in names:
        positive = [f"raw_interactions.{parse_condition(settings.positive)[0]}"]
    return {
        "user_id": origin("user_id"),
        "item_id": origin("item_id"),
        "weight": weight,
        "positive": positive,
        "first_timestamp": origin("timestamp"),
        "last_timestamp": origin("timestamp"),
        "last_position": origin("position"),
    }
