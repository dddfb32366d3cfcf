"""Everybody who is served, and what each of them did."""

import dagster as dg
import pandas as pd
import pyarrow as pa

from recsys_dagster.assets.common import table_assets
from recsys_dagster.assets.metadata import column_lineage, distribution, histogram
from recsys_dagster.assets.progress import Narrator
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.schemas import HISTORIES
from recsys_dagster.steps.prepare.histories import histories_table
from recsys_dagster.steps.prepare.users import collect_users


def users_assets(catalog: Catalog) -> list[dg.AssetsDefinition]:
    """The assets users and histories of a catalog."""
    return [
        table_assets(catalog, users, stage="users"),
        table_assets(catalog, histories, stage="users"),
    ]


def users(
    context: dg.AssetExecutionContext,
    catalog: Catalog,
    interactions: pd.DataFrame,
    raw_users: pd.DataFrame,
) -> dg.Output[pd.DataFrame]:
    """One row a user: how much they did and when, and their profile where there is one."""
    table = collect_users(interactions, raw_users, columns=catalog.users.columns)
    return dg.Output(
        table,
        metadata={
            "users_without_positives": int((table["positive_count"] == 0).sum()),
            "positives_a_user": distribution(table["positive_count"], log=True),
            "plot": histogram(
                table["positive_count"],
                "What there is to learn from",
                "positive items a user",
                "users",
                log=True,
            ),
        },
    )


def histories(
    context: dg.AssetExecutionContext,
    catalog: Catalog,
    interactions: pd.DataFrame,
    users: pd.DataFrame,
) -> dg.Output[pa.Table]:
    """What models learn from and are asked about: one row a user with all of their items, the
    oldest first, and how much each counts.

    `weights` halve for every half-life before the user's own last interaction; `recencies` are
    `1 / (1 + the user's later positives)`. Users without an interaction have empty lists.
    """
    settings = catalog.users
    with Narrator(context.log) as narrator:
        narrator.doing(f"putting histories together: {len(interactions):,} interactions")
        table = histories_table(
            interactions,
            users["user_id"],
            settings.half_life_days,
            settings.half_life_positions,
        )
    lengths = table["item_ids"].combine_chunks().value_lengths().to_pandas()
    pairs = ["interactions.user_id", "interactions.item_id"]
    aged = [*pairs, "interactions.last_timestamp", "interactions.last_position"]
    origins = dict.fromkeys(HISTORIES.column_names, pairs) | {
        "user_id": ["users.user_id"],
        "positives": [*pairs, "interactions.positive"],
        "left_out": [*pairs, "interactions.left_out"],
        "weights": [*aged, "interactions.weight"],
        "recencies": [*aged, "interactions.positive"],
        "first_timestamps": [*pairs, "interactions.first_timestamp"],
        "last_timestamps": [*pairs, "interactions.last_timestamp"],
    }
    return dg.Output(
        table,
        metadata={
            "interactions": int(lengths.sum()),
            "users_without_interactions": int((lengths == 0).sum()),
            "items_a_user": distribution(lengths, log=True),
            **column_lineage(catalog.name, origins),
        },
    )
