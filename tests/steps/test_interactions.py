"""Raw interactions: typed, validated, merged; no row is lost without a word."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_dagster.catalog.settings import InteractionsSettings
from recsys_dagster.errors import UserError
from recsys_dagster.schemas import INTERACTIONS, REJECTED_INTERACTIONS, SOURCE_NAMES
from recsys_dagster.steps.prepare.interactions import (
    columns_read,
    merge_repeats,
    parse_interactions,
)
from recsys_dagster.steps.prepare.times import parse_timestamps

NOW = pd.Timestamp("2024-06-01")


def raw_of(**columns):
    length = len(next(iter(columns.values())))
    source = pd.DataFrame({"source_row": np.arange(1, length + 1)}).assign(
        source_file="i.csv", source_error=pd.Series(None, index=range(length), dtype="str")
    )
    return pd.concat([source[list(SOURCE_NAMES)], pd.DataFrame(columns)], axis="columns")


def parse(raw, **settings):
    """What comes of the columns that are read, as in a run."""
    asked = InteractionsSettings(source="i.csv", **settings)
    return parse_interactions(raw[columns_read(raw.columns, asked)], asked, NOW)


def day(number):
    return f"2024-01-{number:02}"


# Whatever comes in

ids = st.sampled_from(["u1", "u2", " u1 ", "", "  ", None, "ü", "0"])
weights = st.one_of(
    st.none(),
    st.integers(-2, 5),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from(["3", "x", "", "nan", "inf", "-1", True]),
)
timestamps = st.one_of(
    st.none(),
    st.sampled_from(
        [
            "2024-01-01",
            "2024-01-02T03:04:05+02:00",
            "2025-01-01",
            "0001-01-01",
            "9999-12-31",
            "not a date",
            "",
            1_700_000_000,
            1e300,
            -1e18,
            float("inf"),
            dt.date(2024, 1, 1),
            dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
            pd.Timestamp("2024-01-01"),
        ]
    ),
)
raw_rows = st.lists(st.tuples(ids, ids, weights, timestamps), max_size=12)


def frame_of(rows):
    user, item, weight, timestamp = (list(column) for column in zip(*rows, strict=True))
    return raw_of(
        user_id=pd.Series(user, dtype=object),
        item_id=pd.Series(item, dtype=object),
        weight=pd.Series(weight, dtype=object),
        timestamp=pd.Series(timestamp, dtype=object),
    )


@given(raw_rows.filter(bool), st.sampled_from(["sum", "last", "max"]))
def test_every_row_is_accepted_merged_or_rejected(rows, repeats):
    raw = frame_of(rows)
    parsed = parse(raw, repeats=repeats, positive="weight >= 3")
    accepted, rejected = parsed.accepted, parsed.rejected
    assert len(raw) == len(accepted) + parsed.merged + len(rejected)
    assert accepted["interaction_count"].sum() == len(raw) - len(rejected)
    assert not accepted.duplicated(["user_id", "item_id"]).any()
    assert accepted[["user_id", "item_id", "weight", "positive"]].notna().all(axis=None)
    assert (accepted["weight"] >= 0).all()
    assert rejected["reason"].notna().all()
    assert not rejected["by_setting"].any()
    assert rejected["source_row"].is_unique
    assert list(accepted.columns) == INTERACTIONS.column_names
    assert list(rejected.columns) == REJECTED_INTERACTIONS.column_names
    pd.testing.assert_frame_equal(
        accepted, accepted.sort_values(["user_id", "item_id"]).reset_index(drop=True)
    )


@given(raw_rows.filter(bool), st.randoms(use_true_random=False), st.sampled_from(["sum", "max"]))
def test_the_order_of_rows_does_not_matter(rows, random, repeats):
    shuffled = random.sample(rows, len(rows))
    one, other = (parse(frame_of(some), repeats=repeats) for some in (rows, shuffled))
    pd.testing.assert_frame_equal(one.accepted, other.accepted, rtol=1e-12)
    assert sorted(one.rejected["reason"]) == sorted(other.rejected["reason"])


@pytest.mark.parametrize("repeats", ["sum", "last", "max"])
def test_no_rows_at_all(repeats):
    raw = raw_of(user_id=[], item_id=[], weight=[], timestamp=[])
    parsed = parse(raw, repeats=repeats, positive="weight > 1")
    assert parsed.merged == len(parsed.accepted) == len(parsed.rejected) == 0
    assert list(parsed.accepted.columns) == INTERACTIONS.column_names


def test_all_rows_rejected():
    parsed = parse(raw_of(user_id=[None, " "], item_id=["a", "b"]))
    assert len(parsed.accepted) == 0
    assert len(parsed.rejected) == 2


# Reasons


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"user_id": None}, "user_id is missing or blank"),
        ({"user_id": " \t"}, "user_id is missing or blank"),
        ({"item_id": ""}, "item_id is missing or blank"),
        ({"weight": None}, "weight is missing"),
        ({"weight": "many"}, "weight is not a number"),
        ({"weight": float("inf")}, "weight is not finite"),
        ({"weight": -0.5}, "weight is negative (see returns in the catalog)"),
        ({"timestamp": "yesterday"}, "timestamp is not a date or a Unix time"),
        ({"timestamp": "2024-07-01"}, "timestamp is in the future"),
        ({"timestamp": "now"}, "timestamp is not a date or a Unix time"),
        ({"timestamp": 1e300}, "timestamp is not a date or a Unix time"),
        *(
            ({"timestamp": early}, "timestamp is before 1971, which stands for an unknown time")
            for early in ("0001-01-01", "1900-01-01", "1970-12-31", 0, "0", -5e8, dt.date(1, 1, 1))
        ),
        ({"user_id": "NULL"}, "user_id is a word for a missing value, such as NULL"),
        ({"item_id": r"\N"}, "item_id is a word for a missing value, such as NULL"),
        ({"user_id": "", "weight": -1}, "user_id is missing or blank"),
    ],
)
def test_a_rejected_row_keeps_what_was_found_and_the_first_reason(change, reason):
    good = {"user_id": "u", "item_id": "i", "weight": 1, "timestamp": "2024-01-01"}
    rows = pd.DataFrame([good, good | change]).astype(object)
    parsed = parse(raw_of(**rows))
    assert len(parsed.accepted) == 1
    row = parsed.rejected.iloc[0]
    assert (row["source_file"], row["source_row"]) == ("i.csv", 2)
    assert row["reason"] == reason
    assert not row["by_setting"]
    for name, value in (good | change).items():
        assert (pd.isna(row[name]) and value is None) or row[name] == str(value)


def test_the_first_of_the_rows_in_the_future_says_when_to_judge_again():
    days = ["2024-05-01", "2024-07-09", "2024-07-01"]
    ids = ["a", "b", "c"]
    parsed = parse(raw_of(user_id=ids, item_id=ids, timestamp=days))
    assert parsed.judged_again == pd.Timestamp("2024-06-30")
    assert parse(raw_of(user_id=ids, item_id=ids)).judged_again is None


@pytest.mark.parametrize("late", ["2024-06-01T20:00:00", "2024-06-02"])
def test_a_clock_that_is_a_day_ahead_is_no_fault(late):
    assert len(parse(raw_of(user_id=["u"], item_id=["i"], timestamp=[late])).accepted) == 1


def test_weight_zero_and_missing_timestamps_are_fine():
    parsed = parse(raw_of(user_id=["u"], item_id=["i"], weight=[0], timestamp=[None]))
    assert parsed.accepted["weight"].tolist() == [0.0]
    assert parsed.accepted["last_timestamp"].isna().all()


def test_without_a_weight_column_every_row_weighs_one():
    parsed = parse(raw_of(user_id=["u", "u"], item_id=["i", "i"]))
    assert parsed.accepted["weight"].tolist() == [2.0]
    assert parsed.merged == 1


def test_a_time_that_is_blank_or_written_as_missing_is_missing():
    raw = raw_of(user_id=["u"] * 3, item_id=list("abc"), timestamp=[r"\N", " ", "NULL"])
    parsed = parse(raw)
    assert parsed.rejected.empty
    assert parsed.accepted["last_timestamp"].isna().all()


def test_the_line_to_write_is_a_part_of_the_reason():
    raw = raw_of(
        user_id=["u"] * 3,
        item_id=list("abc"),
        weight=["1,5", "2,5", "3"],
        timestamp=[day(1), day(1), "31.01.2024"],
    )
    assert parse(raw).rejected["reason"].tolist() == [
        'weight is not a number; decimal: "," under interactions would read them',
        'weight is not a number; decimal: "," under interactions would read them',
        'timestamp is not a date or a Unix time; timestamp_format: "%d.%m.%Y" would read them',
    ]


def test_a_decimal_sign_is_of_weight_position_and_what_a_condition_reads():
    raw = raw_of(
        user_id=["u", "u"],
        item_id=list("ab"),
        weight=["1.234,5", "2"],
        position=["1.000", "0,5"],
        stars=["4,5", "3,5"],
    )
    parsed = parse(raw, decimal=",", positive="stars >= 4")
    assert parsed.rejected.empty
    assert parsed.accepted["weight"].tolist() == [1234.5, 2]
    assert parsed.accepted["last_position"].tolist() == [1000, 0.5]
    assert parsed.accepted["positive"].tolist() == [True, False]


def test_truths_as_text_are_what_they_are_as_truths():
    for liked in (["true", "FALSE"], [True, False]):
        raw = raw_of(user_id=["u", "u"], item_id=list("ab"), liked=liked)
        assert parse(raw, positive="liked == 1").accepted["positive"].tolist() == [True, False]


# Ids and columns


def test_ids_are_trimmed_text_and_whole_floats_lose_their_point():
    parsed = parse(raw_of(userId=[1.0, 1.0, np.nan], movieId=[10, 10, 11]))
    assert parsed.accepted[["user_id", "item_id"]].to_numpy().tolist() == [["1", "10"]]
    parsed = parse(raw_of(user=[" 7", "7 "], item=["a", "a"]))
    assert parsed.accepted["interaction_count"].tolist() == [2]


def test_ids_beyond_64_bits_do_not_stop_the_run():
    parsed = parse(raw_of(user_id=[1e300, 1.0, np.inf, 2.5], item_id=["a"] * 4))
    assert set(parsed.accepted["user_id"]) == {"1", "inf", "2.5"}
    assert parsed.rejected["user_id"].tolist() == ["1e+300"]


def test_an_explicit_column_wins_over_known_names():
    raw = raw_of(user_id=["u"], item_id=["i"], rating=[2], stars=[5])
    assert parse(raw).accepted["weight"].tolist() == [2]
    assert parse(raw, columns={"weight": "stars"}).accepted["weight"].tolist() == [5]


@pytest.mark.parametrize(
    ("columns", "mapping", "message"),
    [
        ({"user_id": ["u"]}, {}, "no column is known as item_id. Found: 'user_id'"),
        ({"user": ["u"], "item": ["i"]}, {"weight": "itm"}, "Did you mean 'item'"),
        ({"user": ["u"], "User": ["u"], "item": ["i"]}, {}, "'user' or 'User'"),
    ],
)
def test_columns_that_cannot_be_found(columns, mapping, message):
    with pytest.raises(UserError, match=message):
        parse(raw_of(**columns), columns=mapping)


# What counts as positive


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (None, [True, True, True]),
        ("rating >= 4", [False, True, True]),
        ("rating > 4", [False, False, True]),
        ("weight == 4", [False, True, False]),
        ("rating != 4", [True, False, True]),
        ("clicked == 1", [True, False, False]),
        ("clicked != 1", [False, True, False]),
    ],
)
def test_a_condition_says_what_is_positive_and_null_satisfies_none(condition, expected):
    raw = raw_of(user_id=["u"] * 3, item_id=list("abc"), rating=[3, 4, 5], clicked=[1, 0, None])
    assert parse(raw, positive=condition).accepted["positive"].tolist() == expected


def test_a_condition_on_an_unknown_column():
    with pytest.raises(UserError, match="Did you mean 'rating'"):
        parse(raw_of(user_id=["u"], item_id=["i"], rating=[3]), positive="ratin >= 4")


@pytest.mark.parametrize(("repeats", "weight"), [("sum", 9), ("last", 4), ("max", 5)])
def test_a_repeated_pair_weighs_what_its_positive_rows_say(repeats, weight):
    raw = raw_of(
        user_id=["u"] * 4,
        item_id=["i"] * 4,
        rating=[4, 5, 1, 2],
        timestamp=[day(3), day(2), day(4), day(1)],
    )
    (row,) = parse(raw, positive="rating >= 4", repeats=repeats).accepted.to_dict("records")
    assert row["weight"] == weight
    assert row["positive"]
    assert row["interaction_count"] == 4
    assert row["first_timestamp"] == pd.Timestamp(day(1))
    assert row["last_timestamp"] == pd.Timestamp(day(4))


@pytest.mark.parametrize(("repeats", "weight"), [("sum", 6), ("last", 1), ("max", 3)])
def test_a_pair_without_positive_rows_weighs_what_all_say(repeats, weight):
    raw = raw_of(user_id=["u"] * 3, item_id=["i"] * 3, rating=[3, 2, 1])
    accepted = parse(raw, positive="rating >= 4", repeats=repeats).accepted
    assert accepted["weight"].tolist() == [weight]
    assert accepted["positive"].tolist() == [False]


def test_last_takes_rows_without_a_time_first_and_ties_in_source_order():
    rows = pd.DataFrame(
        {
            "user_id": "u",
            "item_id": list("aaabb"),
            "weight": [1.0, 2.0, 3.0, 4.0, 5.0],
            "positive": True,
            "timestamp": pd.to_datetime([day(2), day(1), None, day(1), day(1)]),
            "position": np.nan,
        }
    )
    assert merge_repeats(rows, "last")["weight"].tolist() == [1.0, 5.0]


# Timestamps


@pytest.mark.parametrize("factor", [1, 10**3, 10**6, 10**9])
@pytest.mark.parametrize("kind", [int, str, float])
def test_unix_times_of_every_unit(factor, kind):
    seconds = [1_700_000_000, 1_600_000_000, 0]
    values = pd.Series([kind(second * factor) for second in seconds])
    parsed = parse_timestamps(values)
    assert parsed.tolist() == [pd.Timestamp(second, unit="s") for second in seconds]
    assert parsed.dtype == "datetime64[us]"


@pytest.mark.parametrize(
    "values",
    [
        ["2024-01-01T02:00:00+02:00"],
        ["2024-01-01"],
        ["2024-01-01T00:00:00Z"],
        [dt.date(2024, 1, 1)],
        [dt.datetime(2024, 1, 1, tzinfo=dt.UTC)],
        pd.to_datetime(["2024-01-01"]),
        pd.to_datetime(["2024-01-01T05:00:00+05:00"]),
        pd.Series([pd.Timestamp("2024-01-01"), "2024-01-01"], dtype=object),
    ],
    ids=str,
)
def test_dates_become_naive_utc(values):
    parsed = parse_timestamps(pd.Series(values))
    assert set(parsed) == {pd.Timestamp("2024-01-01")}
    assert parsed.dt.tz is None


def test_unreadable_times_become_null():
    assert parse_timestamps(pd.Series(["soon", None, ""])).isna().all()
    assert parse_timestamps(pd.Series([1e300, np.inf, np.nan])).isna().all()
    assert parse_timestamps(pd.Series([pd.NA, pd.NA])).isna().all()


@pytest.mark.parametrize("ours", ["user_id", "item_id"])
def test_ids_that_are_floats_too_large_to_be_exact_are_rejected(ours):
    other = {"user_id": "item_id", "item_id": "user_id"}[ours]
    parsed = parse(raw_of(**{ours: [1234567890123456789.0, 12.0], other: ["a", "b"]}))
    assert parsed.accepted[ours].tolist() == ["12"]
    (reason,) = parsed.rejected["reason"]
    assert reason.startswith(f"{ours} is a number too large to be exact: keep ids as text")
