"""Dates, texts and Unix times → timestamps, each value by itself.

What a value means never depends on the others of its column: a refresh that reads a few rows more
must not move the times of those that it had.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pandas as pd
from pandas.api.typing import NaTType

from recsys_dagster.steps.prepare.ids import as_ids

FIRST_UNIX_TIME = 1e8
"""March 1973 in seconds: smaller numbers are years, days or an order."""
UNIX_UNITS: dict[str, tuple[float, float]] = {
    "seconds": (1e11, 1e6),
    "milliseconds": (1e14, 1e3),
    "microseconds": (1e17, 1.0),
    "nanoseconds": (1e20, 1e-3),
}
"""Unit → the number from which it is the next one, and how many microseconds it has. In each the
limit is the year 5138."""
ZERO_DATE = r"0000-00-00\b.*"
"""What MySQL has where there is no date."""
WRITTEN_DATES = {"minutes": (1, 1e12), "seconds": (100, 1e14)}
"""Dates written as one number, 202401311305 or 20240131130559: what follows the minutes, and the
number that all of them are below. As Unix times they would be of 1976 or of centuries to come."""
FIRST_WRITTEN_YEAR, LAST_WRITTEN_YEAR = 1990, 2100
DATES = (dt.date, np.datetime64, pd.Period)
NUMBERS = (int, float, Decimal, np.integer, np.floating)
MICROSECONDS = "datetime64[us]"


@dataclass(frozen=True)
class Times:
    """A column of times as it was understood.

    Attributes:
        timestamps: naive UTC; null where there is none, or none that can be read.
        units: how many values are Unix times of each unit.
    """

    timestamps: pd.Series
    units: Mapping[str, int]


def says_time(values: pd.Series) -> pd.Series:
    """Whether each value says a time, read or not: no null, no blank, no date of zeros."""
    texts = as_ids(values)
    return texts.notna() & ~texts.str.fullmatch(ZERO_DATE).fillna(False).astype(bool)


def parse_timestamps(values: pd.Series, timestamp_format: str | None = None) -> pd.Series:
    """Dates, texts or Unix times as naive UTC timestamps; unreadable ones become null.

    Args:
        values: one column; dates, texts and Unix times may be mixed in it.
        timestamp_format: of the texts, as in `datetime.strptime`; ISO 8601 where left out.
    """
    return read_times(values, timestamp_format).timestamps


def read_times(values: pd.Series, timestamp_format: str | None = None) -> Times:
    """As `parse_timestamps`, with the units of the Unix times.

    The unit of a Unix time is read off its own size: in seconds, 1e11 is the year 5138. Where a
    format is given, numbers are texts too: 20240131 may be "%Y%m%d". White space around a text
    says nothing.
    """
    dates, texts, numbers = _by_kind(values)
    # pandas takes "now" and "today" for times, in any format: those of the reading.
    texts = texts.where(texts.str.contains(r"\d").fillna(False))
    if timestamp_format is not None:
        texts = texts.fillna(as_ids(numbers)).str.strip()
        read = pd.to_datetime(texts, utc=True, errors="coerce", format=timestamp_format.strip())
        return Times(dates.fillna(_naive(read)), {})
    numbers = numbers.fillna(pd.to_numeric(texts, errors="coerce").astype("float64"))
    # One time finer than microseconds would narrow the years that the whole column can have.
    dated = texts.where(numbers.isna()).str.strip()
    dated = dated.str.replace(r"(\.\d{6})\d+", r"\1", regex=True)
    dated = dated.str.replace(r"\s?(?:UTC|GMT)$", "Z", regex=True)
    read = _naive(pd.to_datetime(dated, utc=True, errors="coerce", format="ISO8601"))
    unix, units = _unix_times(numbers)
    return Times(dates.fillna(read).fillna(unix), units)


def _by_kind(values: pd.Series) -> tuple[pd.Series, pd.Series, pd.Series]:
    """The values that are dates, as timestamps; those that are texts; those that are numbers."""
    kinds = pd.api.types
    dates = pd.Series(pd.NaT, index=values.index, dtype=MICROSECONDS)
    texts = pd.Series(None, index=values.index, dtype="str")
    numbers = pd.Series(np.nan, index=values.index, dtype="float64")
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.cat.categories.dtype)
    if kinds.is_datetime64_any_dtype(values):
        dates = _naive(values)
    elif isinstance(values.dtype, pd.PeriodDtype):
        dates = _naive(values.dt.to_timestamp())
    elif kinds.is_numeric_dtype(values) and not kinds.is_bool_dtype(values):
        numbers = values.astype("float64")
    elif isinstance(values.dtype, pd.StringDtype):
        texts = values.astype("str")
    elif kinds.is_object_dtype(values):
        present = values[values.notna()]
        is_date = present.map(lambda value: isinstance(value, DATES)).astype(bool)
        is_text = present.map(lambda value: isinstance(value, str)).astype(bool)
        is_number = present.map(
            lambda value: isinstance(value, NUMBERS) and not isinstance(value, bool)
        ).astype(bool)
        dates = dates.fillna(_moments(present[is_date]))
        texts = texts.fillna(present[is_text].astype("str"))
        numbers = numbers.fillna(present[is_number].map(float).astype("float64"))
    return dates, texts, numbers


def _moments(values: pd.Series) -> pd.Series:
    # Many rows have few different days.
    codes, different = pd.factorize(values)
    moments = pd.Series([_moment(value) for value in different], dtype=MICROSECONDS)
    return moments.reindex(codes).set_axis(values.index)


def _moment(value: dt.date | np.datetime64 | pd.Period) -> pd.Timestamp | NaTType:
    """A date of Python, NumPy or pandas, one by one: together, the finest narrows the years."""
    try:
        moment = value.start_time if isinstance(value, pd.Period) else pd.Timestamp(value)
        if moment.tzinfo is not None:
            moment = moment.tz_convert("UTC").tz_localize(None)
        return moment.as_unit("us")
    except (ValueError, OverflowError):
        return pd.NaT


def _naive(times: pd.Series) -> pd.Series:
    in_utc = times.dt.tz_convert("UTC").dt.tz_localize(None) if times.dt.tz is not None else times
    return in_utc.astype(MICROSECONDS)


def _unix_times(numbers: pd.Series) -> tuple[pd.Series, dict[str, int]]:
    """Numbers as timestamps, and how many there are of each unit. Zero is 1970, of no unit."""
    size = numbers.abs().fillna(-1.0)
    last = max(limit for limit, _ in UNIX_UNITS.values())
    is_unix = (size >= FIRST_UNIX_TIME) & (size < last) & ~_is_written_date(numbers)
    microseconds = pd.Series(0.0, index=numbers.index)
    units, least = {}, FIRST_UNIX_TIME
    for unit, (limit, factor) in UNIX_UNITS.items():
        of_unit = is_unix & (size >= least) & (size < limit)
        microseconds = microseconds.mask(of_unit, numbers * factor)
        if count := int(of_unit.sum()):
            units[unit] = count
        least = limit
    times = pd.to_datetime(microseconds.round().astype("int64"), unit="us")
    return times.astype(MICROSECONDS).where(is_unix | (numbers == 0)), units


def _is_written_date(numbers: pd.Series) -> pd.Series:
    found = pd.Series(False, index=numbers.index)
    for after_minutes, limit in WRITTEN_DATES.values():
        fits = numbers.between(limit / 10, limit, inclusive="left") & (numbers % 1 == 0)
        digits = (numbers.where(fits, 0.0) // after_minutes).astype("int64")
        found |= (
            fits
            & (digits // 10**8).between(FIRST_WRITTEN_YEAR, LAST_WRITTEN_YEAR)
            & (digits // 10**6 % 100).between(1, 12)
            & (digits // 10**4 % 100).between(1, 31)
            & (digits // 100 % 100 < 24)
            & (digits % 100 < 60)
        )
    return found
