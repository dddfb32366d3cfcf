"""Times: each value by itself, whatever else is in its column."""

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_dagster.steps.prepare.times import parse_timestamps, read_times

moments = st.datetimes(dt.datetime(1975, 1, 1), dt.datetime(2100, 1, 1))
zones = st.sampled_from([dt.UTC, dt.timezone(dt.timedelta(hours=-5)), None])
values = st.one_of(
    st.none(),
    moments.map(lambda moment: moment.isoformat()),
    moments.map(lambda moment: moment.date()),
    st.builds(lambda moment, zone: moment.replace(tzinfo=zone), moments, zones),
    st.sampled_from([10.0**n for n in range(-3, 25)]).flatmap(
        lambda size: st.floats(-size, size).flatmap(lambda n: st.sampled_from([n, str(n)]))
    ),
    st.integers(-(10**22), 10**22),
    st.sampled_from(
        [
            "now",
            "today",
            "12:00:00",
            "2024-01-01T00:00:00.123456789Z",
            "2024-01-01 10:00+02",
            "9999-12-31",
            "0001-01-01",
            pd.Timestamp("2024-01-01T00:00:00.123456789"),
            pd.Period("2024-02"),
            np.datetime64("2024-01-01"),
            dt.date(9999, 12, 31),
            dt.time(12),
            dt.timedelta(days=1),
            Decimal("1700000000.5"),
            True,
            float("inf"),
            float("nan"),
            pd.NaT,
            b"2024-01-01",
        ]
    ),
)


@given(st.lists(values, min_size=1, max_size=8))
def test_a_value_means_the_same_alone_and_among_others(column):
    together = parse_timestamps(pd.Series(column, dtype=object))
    alone = [parse_timestamps(pd.Series([value], dtype=object)) for value in column]
    pd.testing.assert_series_equal(together, pd.concat(alone, ignore_index=True))


@given(st.lists(st.integers(-(10**19), 10**19).filter(lambda n: abs(n) < 2**63), min_size=1))
def test_a_number_means_the_same_whatever_type_its_column_has(numbers):
    typed = parse_timestamps(pd.Series(numbers, dtype="int64"))
    for same in (
        pd.Series(numbers, dtype="Int64"),
        pd.Series(numbers, dtype="float64"),
        pd.Series(numbers, dtype=object),
        pd.Series(map(str, numbers), dtype="str"),
    ):
        pd.testing.assert_series_equal(parse_timestamps(same), typed)


MOMENT = pd.Timestamp("2023-11-14 22:13:20")


def test_units_mixed_in_a_column_are_read_one_by_one_and_counted():
    mixed = [1_700_000_000, "1700000000000", 1_700_000_000_000, 1.7e15, "1700000000000000000"]
    times = read_times(pd.Series([*mixed, "2023-11-14T22:13:20", 0, None], dtype=object))
    assert times.timestamps[:6].tolist() == [MOMENT] * 6
    assert times.units == {
        "seconds": 1,
        "milliseconds": 2,
        "microseconds": 1,
        "nanoseconds": 1,
    }


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1_700_000_000.25, "2023-11-14 22:13:20.25"),
        ("1700000000.25", "2023-11-14 22:13:20.25"),
        (Decimal("1700000000.25"), "2023-11-14 22:13:20.25"),
        (-5e8, "1954-02-26 23:06:40"),
        (0, "1970-01-01"),
        (99_999_999, None),
        (1e20, None),
        (1e300, None),
        (float("inf"), None),
        (True, None),
        (202401311305, None),
        ("20240131130559", None),
        (202413311305, pd.Timestamp(202413311305, unit="ms")),
        ("  2024-01-31 ", "2024-01-31"),
        ("2024-01-31T00:00:00.1234567Z", "2024-01-31 00:00:00.123456"),
        ("now", None),
        ("2024", None),
        ("12:00:00", None),
        (dt.time(12), None),
        (dt.timedelta(days=1), None),
        (dt.date(9999, 12, 31), "9999-12-31"),
        (pd.Period("2024-02"), "2024-02-01"),
        ([1], None),
    ],
    ids=str,
)
def test_what_a_value_means(value, expected):
    (read,) = parse_timestamps(pd.Series([value], dtype=object))
    assert read is pd.NaT if expected is None else read == pd.Timestamp(expected)


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(pd.period_range("2024-01-01", periods=1, freq="D")),
        pd.Series(pd.to_datetime(["2024-01-01T05:00:00+05:00"])),
        pd.Series(["2024-01-01"], dtype="category"),
        pd.Series(pd.to_datetime(["2024-01-01"])).astype("datetime64[s]"),
    ],
    ids=lambda column: str(column.dtype),
)
def test_types_of_columns(column):
    assert parse_timestamps(column).tolist() == [pd.Timestamp("2024-01-01")]


@pytest.mark.parametrize("timestamp_format", ["%d/%m/%Y", " %d/%m/%Y "])
def test_white_space_around_a_time_says_nothing(timestamp_format):
    column = pd.Series(["31/01/2024 ", " 31/01/2024", "\t31/01/2024\n", "\u00a031/01/2024"])
    read = parse_timestamps(column, timestamp_format)
    assert read.tolist() == [pd.Timestamp("2024-01-31")] * 4


def test_a_format_is_of_texts_and_numbers_and_dates_stay_dates():
    assert parse_timestamps(pd.Series(["now", "today"]), "%d/%m/%Y").isna().all()
    column = ["31/01/2024", dt.date(2024, 1, 31), pd.Timestamp("2024-01-31"), "2024-01-31", 5]
    read = parse_timestamps(pd.Series(column, dtype=object), "%d/%m/%Y")
    assert read.notna().tolist() == [True, True, True, False, False]
    assert set(read.dropna()) == {pd.Timestamp("2024-01-31")}
    for numbers in ([20240131, 20240201], [20240131.0, None]):
        read = parse_timestamps(pd.Series(numbers), "%Y%m%d")
        assert read[0] == pd.Timestamp("2024-01-31")
