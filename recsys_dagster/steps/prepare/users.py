"""Interactions and the optional table of users → one row a user."""

from collections.abc import Mapping

import pandas as pd

from recsys_dagster.steps.prepare.columns import own_columns, require_column, without_taken
from recsys_dagster.steps.prepare.ids import are_inexact, as_ids, refuse_no_ids


def collect_users(
    interactions: pd.DataFrame, raw_users: pd.DataFrame, *, columns: Mapping[str, str]
) -> pd.DataFrame:
    """Everybody who interacted or has a profile: the table `users`, sorted by user_id.

    Args:
        interactions: table `interactions`.
        raw_users: the source's columns behind those of `schemas.SOURCE`, or no row and no other
            column. Of several rows with one user_id the last counts; rows without one, and those
            that could not be read, are left out.
        columns: explicit source name of user_id.

    Raises:
        UserError: raw_users has columns, and none is known as user_id, or its values cannot
            be ids.
    """
    users = interactions.groupby("user_id", sort=True).agg(
        item_count=("item_id", "size"),
        positive_count=("positive", "sum"),
        first_timestamp=("first_timestamp", "min"),
        last_timestamp=("last_timestamp", "max"),
    )
    names = own_columns(raw_users.columns)
    if names:
        user_column = require_column("user_id", names, columns, "raw_users")
        refuse_no_ids(raw_users[user_column], "user_id", "raw_users")
        profiles = raw_users.assign(user_id=as_ids(raw_users[user_column]))
        is_known = profiles["user_id"].notna() & ~are_inexact(raw_users[user_column])
        profiles = profiles[is_known].drop_duplicates("user_id", keep="last")
        others = without_taken(names, [user_column, "user_id", *users.columns])
        users = users.join(profiles.set_index("user_id")[others], how="outer")
    users = users.sort_index().reset_index(names="user_id")
    counts = {
        name: users[name].fillna(0).astype("int64") for name in ("item_count", "positive_count")
    }
    return users.assign(user_id=users["user_id"].astype("str"), **counts)
