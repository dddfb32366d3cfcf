"""Users: everybody who interacted or has a profile."""

import pandas as pd
import pytest

from recsys_dagster.errors import UserError
from recsys_dagster.schemas import SOURCE_NAMES, USERS
from recsys_dagster.steps.prepare.users import collect_users

NOBODY = pd.DataFrame(columns=list(SOURCE_NAMES))


def profiles(**columns):
    table = pd.DataFrame(columns)
    return table.assign(
        source_file="u.csv", source_row=range(1, len(table) + 1), source_error=pd.NA
    )


def test_counts_and_times_come_from_interactions(interactions_of):
    first, last = pd.Timestamp("2024-01-01"), pd.Timestamp("2024-02-01")
    users = collect_users(
        interactions_of(("u2", "a", 1.0, True, first), ("u2", "b", 1.0, False, last), ("u1", "a")),
        NOBODY,
        columns={},
    )
    assert users["user_id"].tolist() == ["u1", "u2"]
    assert users["item_count"].tolist() == [1, 2]
    assert users["positive_count"].tolist() == [1, 1]
    assert users["first_timestamp"].tolist() == [pd.NaT, first]
    assert users["last_timestamp"].tolist() == [pd.NaT, last]


def test_profiles_join_and_those_without_interactions_are_users_too(interactions_of):
    users = collect_users(
        interactions_of(("u1", "a"), ("u3", "a")),
        profiles(userId=["u2", "u1", "u1", None, " "], about=["b", "old", "new", "x", "y"]),
        columns={},
    )
    assert users["user_id"].tolist() == ["u1", "u2", "u3"]
    assert users["item_count"].tolist() == [1, 0, 1]
    assert users["item_count"].dtype == "int64"
    assert users["about"].tolist()[:2] == ["new", "b"]
    assert pd.isna(users["about"][2])
    assert "userId" not in users.columns
    assert not set(SOURCE_NAMES) & set(users.columns)


def test_whole_float_ids_meet_their_interactions(interactions_of):
    users = collect_users(
        interactions_of(("1", "a")), profiles(user_id=[1.0, None], about=["x", "y"]), columns={}
    )
    assert users[["user_id", "about"]].to_numpy().tolist() == [["1", "x"]]


def test_a_profile_cannot_replace_a_column_of_ours(interactions_of):
    users = collect_users(
        interactions_of(("u", "a")), profiles(user_id=["u"], item_count=[99]), columns={}
    )
    assert users["item_count"].tolist() == [1]


def test_nor_one_that_is_written_in_other_case(interactions_of):
    table = profiles(User_ID=["u"], Item_Count=[99], About=["x"])
    users = collect_users(interactions_of(("u", "a")), table, columns={})
    assert users.columns.to_list() == [*USERS.column_names, "About"]
    assert users["item_count"].tolist() == [1]


def test_no_interactions(interactions_of):
    users = collect_users(interactions_of(), profiles(user_id=["u"], about=["x"]), columns={})
    assert users["user_id"].tolist() == ["u"]
    assert users["item_count"].tolist() == users["positive_count"].tolist() == [0]
    assert len(collect_users(interactions_of(), NOBODY, columns={})) == 0


def test_profiles_without_a_known_id(interactions_of):
    with pytest.raises(UserError, match="raw_users: no column is known as user_id"):
        collect_users(interactions_of(), profiles(person=["u"]), columns={})


def test_a_profile_that_could_not_be_read_is_left_out(interactions_of):
    table = profiles(user_id=["u1", None], about=["x", None])
    table.loc[1, "source_error"] = "the line has more columns than the header"
    users = collect_users(interactions_of(("u2", "a")), table, columns={})
    assert users["user_id"].tolist() == ["u1", "u2"]
