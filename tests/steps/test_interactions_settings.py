"""What a catalog may say of interactions: events, returns, scales, minimums, positions, times."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_dagster.catalog.settings import InteractionsSettings
from recsys_dagster.errors import UserError
from recsys_dagster.schemas import SOURCE_NAMES
from recsys_dagster.steps.prepare.interactions import (
    columns_read,
    leave_out_rare,
    parse_interactions,
)
from recsys_dagster.steps.prepare.times import parse_timestamps

NOW = pd.Timestamp("2024-06-01")


def raw_of(rows, *names, errors=None):
    table = pd.DataFrame(rows, columns=list(names))
    source = pd.DataFrame({"source_row": range(1, len(rows) + 1)}).assign(
        source_file="i.csv",
        source_error=pd.Series(errors, index=table.index, dtype="str"),
    )
    return pd.concat([source[list(SOURCE_NAMES)], table], axis="columns")


def parse(raw, **settings):
    """What comes of the columns that are read, as in a run."""
    asked = InteractionsSettings(source="i.csv", **settings)
    return parse_interactions(raw[columns_read(raw.columns, asked)], asked, NOW)


def pairs_of(parsed, *columns):
    accepted = parsed.accepted
    keys = accepted["user_id"] + accepted["item_id"]
    values = accepted[list(columns)].itertuples(index=False, name=None)
    return dict(
        zip(keys, (value[0] if len(columns) == 1 else value for value in values), strict=True)
    )


# Events


def test_an_event_weighs_what_the_catalog_says():
    raw = raw_of(
        [("u", "a", "view"), ("u", "b", "purchase"), ("u", "c", "view"), ("u", "c", "view")],
        "user_id",
        "item_id",
        "event",
    )
    parsed = parse(raw, events={"view": 1, "purchase": 5})
    assert pairs_of(parsed, "weight") == {"ua": 1, "ub": 5, "uc": 2}


def test_an_event_multiplies_the_weight_column():
    raw = raw_of(
        [("u", "a", "buy", "3"), ("u", "b", "view", "3")], "user_id", "item_id", "event", "weight"
    )
    assert pairs_of(parse(raw, events={"buy": 5, "view": 0.5}), "weight") == {"ua": 15, "ub": 1.5}


def test_an_event_that_is_not_listed_is_left_out_by_the_setting_and_is_no_fault():
    raw = raw_of(
        [("u", "a", "view"), ("u", "b", "scroll"), ("", "c", "scroll"), ("u", "d", None)],
        "user_id",
        "item_id",
        "event",
    )
    rejected = parse(raw, events={"view": 1}).rejected
    assert rejected[["source_row", "reason", "by_setting"]].to_numpy().tolist() == [
        [2, "the event is not listed under events in the catalog", True],
        [3, "user_id is missing or blank", False],
        [4, "event is missing", False],
    ]
    assert rejected["event"].tolist()[0] == "scroll"


def test_an_event_is_found_in_any_case_and_with_spaces_around_it():
    rows = [("u", "a", "VIEW"), ("u", "b", " view "), ("u", "c", "Purchase")]
    raw = raw_of(rows, "user_id", "item_id", "event")
    parsed = parse(raw, events={"view": 1, "purchase": 5})
    assert pairs_of(parsed, "weight") == {"ua": 1, "ub": 1, "uc": 5}


def test_events_that_differ_by_case_in_the_catalog_are_told_apart():
    rows = [("u", "a", "VIEW"), ("u", "b", "view"), ("u", "c", "View")]
    raw = raw_of(rows, "user_id", "item_id", "event")
    parsed = parse(raw, events={"view": 1, "VIEW": 5})
    assert pairs_of(parsed, "weight") == {"ua": 5, "ub": 1}
    assert parsed.rejected["by_setting"].tolist() == [True]


def test_an_event_of_weight_zero_is_seen():
    raw = raw_of([("u", "a", "view")], "user_id", "item_id", "event")
    assert pairs_of(parse(raw, events={"view": 0}), "weight") == {"ua": 0}


def test_the_column_of_events_is_mapped_or_known():
    for column, mapping in (("event_type", {}), ("action", {"event": "action"})):
        raw = raw_of([("u", "a", "view")], "user_id", "item_id", column)
        assert len(parse(raw, events={"view": 1}, columns=mapping).accepted) == 1


def test_events_without_a_column_of_them():
    raw = raw_of([("u", "a")], "user_id", "item_id")
    with pytest.raises(UserError, match="raw_interactions: no column is known as event"):
        parse(raw, events={"view": 1})


def test_without_events_in_the_catalog_a_column_of_them_says_nothing():
    raw = raw_of([("u", "a", "view"), ("u", "b", None)], "user_id", "item_id", "event")
    parsed = parse(raw)
    assert pairs_of(parsed, "weight") == {"ua": 1, "ub": 1}
    assert parsed.rejected.empty


# Returns


def test_a_return_takes_back_what_was_bought():
    raw = raw_of([("u", "a", 5), ("u", "a", -2)], "user_id", "item_id", "weight")
    assert pairs_of(parse(raw, returns=True), "weight", "positive") == {"ua": (3, True)}


@pytest.mark.parametrize("quantities", [[5, -5], [5, -7], [-1], [-1, 1], [0.1, 0.2, -0.3]])
def test_a_pair_with_nothing_left_is_seen_and_not_positive(quantities):
    raw = raw_of([("u", "a", quantity) for quantity in quantities], "user_id", "item_id", "weight")
    assert pairs_of(parse(raw, returns=True), "weight", "positive") == {
        "ua": (pytest.approx(0, abs=1e-12), False)
    }


def test_returns_count_whenever_they_come_and_only_against_their_own_pair():
    raw = raw_of(
        [("u", "a", -2, "2024-01-01"), ("u", "a", 5, "2024-01-02"), ("u", "b", 4, "2024-01-03")],
        "user_id",
        "item_id",
        "weight",
        "timestamp",
    )
    assert pairs_of(parse(raw, returns=True), "weight") == {"ua": 3, "ub": 4}


def test_a_condition_judges_what_was_bought_and_the_return_is_taken_off():
    raw = raw_of(
        [("u", "a", 5), ("u", "a", 1), ("u", "a", -2), ("u", "b", 1)],
        "user_id",
        "item_id",
        "weight",
    )
    parsed = parse(raw, returns=True, positive="weight >= 4")
    assert pairs_of(parsed, "weight", "positive") == {"ua": (3, True), "ub": (1, False)}


def test_without_returns_a_negative_weight_is_rejected():
    raw = raw_of([("u", "a", 5), ("u", "a", -2)], "user_id", "item_id", "weight")
    parsed = parse(raw)
    assert pairs_of(parsed, "weight") == {"ua": 5}
    assert parsed.rejected["reason"].tolist() == ["weight is negative (see returns in the catalog)"]


# Weights


def test_a_log_scale_is_taken_of_the_merged_weight():
    raw = raw_of([("u", "a", 60), ("u", "a", 39), ("u", "b", 0)], "user_id", "item_id", "weight")
    parsed = parse(raw, weight_scale="log")
    assert pairs_of(parsed, "weight") == pytest.approx({"ua": np.log(100), "ub": 0})


@pytest.mark.parametrize(
    ("weight", "reason"),
    [
        (float("nan"), "weight is missing"),
        ("nan", "weight is not a number"),
        (float("inf"), "weight is not finite"),
        ("-inf", "weight is not finite"),
        ("1e400", "weight is not finite"),
        (1e15, "weight is 1e+15 or more"),
        ("1e300", "weight is 1e+15 or more"),
        ("1,5", 'weight is not a number; decimal: "," under interactions would read them'),
    ],
)
def test_a_weight_that_is_no_ordinary_number_is_rejected(weight, reason):
    raw = raw_of([("u", "a", 1), ("u", "b", weight)], "user_id", "item_id", "weight")
    parsed = parse(raw)
    assert pairs_of(parsed, "weight") == {"ua": 1}
    assert parsed.rejected["reason"].tolist() == [reason]


def test_events_cannot_make_a_weight_infinite():
    raw = raw_of([("u", "a", 1e14, "buy")], "user_id", "item_id", "weight", "event")
    parsed = parse(raw, events={"buy": 1e12})
    assert parsed.accepted.empty
    assert len(parsed.rejected) == 1


def test_a_row_that_could_not_be_read_is_rejected_with_what_the_reader_said():
    raw = raw_of([("u", "a"), (None, None)], "user_id", "item_id", errors=[None, "cut short"])
    parsed = parse(raw)
    assert pairs_of(parsed, "weight") == {"ua": 1}
    assert parsed.rejected[["source_row", "reason"]].to_numpy().tolist() == [[2, "cut short"]]


# Minimums


def test_rare_users_and_items_are_left_out_until_both_minimums_hold():
    # c has two users, one of whom has one item only; without him c is rare, and so v is.
    liked = ["ua", "ub", "va", "vc", "wa", "wb", "xc"]
    raw = raw_of([tuple(pair) for pair in liked], "user_id", "item_id")
    parsed = parse(raw, minimum_per_user=2, minimum_per_item=2)
    assert pairs_of(parsed, "left_out") == {
        pair: pair in ("va", "vc", "xc") for pair in sorted(liked)
    }
    # Still there: they count as seen.
    assert pairs_of(parsed, "positive") == {
        pair: pair not in ("va", "vc", "xc") for pair in sorted(liked)
    }
    assert parsed.rejected.empty


def test_only_likes_count_towards_a_minimum_and_dislikes_are_not_left_out():
    raw = raw_of([("u", "a", 5), ("u", "b", 1), ("v", "a", 5)], "user_id", "item_id", "rating")
    parsed = parse(raw, positive="rating >= 4", minimum_per_user=2)
    assert pairs_of(parsed, "left_out") == {"ua": True, "ub": False, "va": True}
    assert not parsed.accepted["positive"].any()


def test_minimums_of_one_leave_nothing_out():
    parsed = parse(raw_of([("u", "a")], "user_id", "item_id"))
    assert pairs_of(parsed, "positive", "left_out") == {"ua": (True, False)}


@given(
    st.sets(st.tuples(st.sampled_from("uvwxyz"), st.sampled_from("abcde"))),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_what_is_left_satisfies_both_and_nothing_more_could_stay(pairs, per_user, per_item):
    table = pd.DataFrame(sorted(pairs), columns=["user_id", "item_id"]).astype("str")
    marked = leave_out_rare(table.assign(positive=True), per_user, per_item)
    left = marked[marked["positive"]]
    assert (left["user_id"].value_counts() >= per_user).all()
    assert (left["item_id"].value_counts() >= per_item).all()
    assert (marked["positive"] != marked["left_out"]).all()
    # The largest such set: what is taken out one by one, in any order, ends the same.
    kept = set(pairs)
    while rare := {
        (user, item)
        for user, item in kept
        if sum(other == user for other, _ in kept) < per_user
        or sum(other == item for _, other in kept) < per_item
    }:
        kept.remove(min(rare))
    assert set(left[["user_id", "item_id"]].itertuples(index=False, name=None)) == kept


# Positions


def test_the_last_position_decides_repeats_where_there_is_no_time():
    raw = raw_of(
        [("u", "a", 3, "2"), ("u", "a", 5, "10"), ("u", "a", 4, "9")],
        "user_id",
        "item_id",
        "weight",
        "position",
    )
    parsed = parse(raw, repeats="last")
    assert pairs_of(parsed, "weight", "last_position") == {"ua": (5, 10)}


def test_time_comes_before_position():
    raw = raw_of(
        [("u", "a", 3, 9, "2024-01-01"), ("u", "a", 5, 1, "2024-01-02")],
        "user_id",
        "item_id",
        "weight",
        "position",
        "timestamp",
    )
    assert pairs_of(parse(raw, repeats="last"), "weight", "last_position") == {"ua": (5, 9)}


def test_a_position_that_is_no_number_is_rejected_and_a_missing_one_is_not():
    raw = raw_of([("u", "a", "x"), ("u", "b", None), ("u", "c", "inf")], "user_id", "item_id", "n")
    parsed = parse(raw, columns={"position": "n"})
    assert list(pairs_of(parsed, "weight")) == ["ub"]
    assert parsed.rejected["reason"].tolist() == ["position is not a number"] * 2


# Times


def test_times_in_a_format_of_the_catalogs_own():
    raw = raw_of(
        [("u", "a", "31/01/2024 13:05"), ("u", "b", "2024-01-31"), ("u", "c", None)],
        "user_id",
        "item_id",
        "timestamp",
    )
    parsed = parse(raw, timestamp_format="%d/%m/%Y %H:%M")
    assert pairs_of(parsed, "last_timestamp")["ua"] == pd.Timestamp("2024-01-31T13:05")
    assert parsed.rejected["reason"].tolist() == [
        "timestamp is not a date or a Unix time; without timestamp_format they would be read"
    ]
    assert list(pairs_of(parsed, "weight")) == ["ua", "uc"]


def test_times_in_such_a_format_with_white_space_around_them():
    raw = raw_of([("u", "a", "31/01/2024 ")], "user_id", "item_id", "timestamp")
    parsed = parse(raw, timestamp_format="%d/%m/%Y")
    assert parsed.rejected.empty
    assert pairs_of(parsed, "last_timestamp")["ua"] == pd.Timestamp("2024-01-31")


def test_a_format_with_a_zone_becomes_utc():
    parsed = parse_timestamps(pd.Series(["01.02.2024 02:00 +0200"]), "%d.%m.%Y %H:%M %z")
    assert parsed.tolist() == [pd.Timestamp("2024-02-01")]


@pytest.mark.parametrize("unit", [1, 10**3, 10**6, 10**9])
@pytest.mark.parametrize("kind", [int, str, float])
def test_dates_and_unix_times_in_one_column(unit, kind):
    moment = pd.Timestamp("2023-11-14T22:13:20")
    values = [kind(1_700_000_000 * unit), "2023-11-14T22:13:20Z", None, "2023-11-14 22:13:20"]
    parsed = parse_timestamps(pd.Series(values, dtype=object))
    assert parsed.tolist() == [moment, moment, pd.NaT, moment]
    assert parsed.dtype == "datetime64[us]"


# Accounting

cells = {
    "user_id": st.sampled_from(["u", "v", "", None]),
    "item_id": st.sampled_from(["a", "b", None]),
    "event": st.sampled_from(["view", "buy", "scroll", "", None]),
    "weight": st.sampled_from([1, 5, -2, 0, "x", None, float("inf"), 1e16]),
    "timestamp": st.sampled_from(["2024-01-01", 1_700_000_000, "x", None, "2025-01-01"]),
    "position": st.sampled_from([1, "2", "x", None]),
}


@settings(max_examples=50)
@given(
    st.lists(st.fixed_dictionaries(cells), min_size=1, max_size=12),
    st.sampled_from([None, {"view": 1.0, "buy": 5.0}]),
    st.booleans(),
    st.sampled_from(["linear", "log"]),
    st.integers(1, 3),
)
def test_every_row_is_accepted_merged_or_rejected(rows, events, returns, scale, minimum):
    raw = raw_of([tuple(row.values()) for row in rows], *cells)
    parsed = parse(
        raw.astype(dict.fromkeys(cells, object)),
        events=events,
        returns=returns,
        weight_scale=scale,
        minimum_per_user=minimum,
        minimum_per_item=minimum,
    )
    accepted, rejected = parsed.accepted, parsed.rejected
    assert len(raw) == len(accepted) + parsed.merged + len(rejected)
    assert accepted["interaction_count"].sum() == len(raw) - len(rejected)
    assert not accepted.duplicated(["user_id", "item_id"]).any()
    assert np.isfinite(accepted["weight"]).all()
    assert (accepted["weight"] >= 0).all()
    assert not (accepted["positive"] & accepted["left_out"]).any()
    assert rejected["by_setting"].sum() == 0 or events is not None
    assert rejected["reason"].notna().all()


def test_a_date_of_zeros_says_nothing():
    raw = raw_of([("u", "a", "0000-00-00 00:00:00")], "user_id", "item_id", "timestamp")
    parsed = parse(raw)
    assert parsed.rejected.empty
    assert pd.isna(pairs_of(parsed, "last_timestamp")["ua"])
