"""Everybody who is served: users of the interactions and of the optional table of users."""

import dagster as dg
import pandas as pd

from recsys_dagster.assets.common import table_asset
from recsys_dagster.assets.metadata import STAGE, distribution, histogram
from recsys_dagster.assets.run_context import catalog_of
from recsys_dagster.catalog.files import Catalogs
from recsys_dagster.steps.prepare.users import collect_users


@table_asset(tags={STAGE: "users"})
def users(
    context: dg.AssetExecutionContext,
    recsys_catalogs: dg.ResourceParam[Catalogs],
    interactions: pd.DataFrame,
    raw_users: pd.DataFrame,
) -> dg.Output[pd.DataFrame]:
    """One row a user: how much they did and when, and their profile where there is one."""
    settings = catalog_of(context, recsys_catalogs).users
    table = collect_users(interactions, raw_users, columns=settings.columns)
    return dg.Output(
        table,
        metadata={
            "users_without_positives": int((table["positive_count"] == 0).sum()),
            "likes_a_user": distribution(table["positive_count"], log=True),
            "plot": histogram(
                table["positive_count"],
                "What there is to learn from",
                "positive items a user",
                "users",
                log=True,
            ),
        },
    )
