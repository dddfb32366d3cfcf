"""Raw interactions → one row a (user, item), and every rejected row with its reason."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import pandas as pd

from recsys_dagster.catalog import InteractionsSettings, parse_condition
from recsys_dagster.errors import UserError, did_you_mean
from recsys_dagster.schemas import INTERACTIONS
from recsys_dagster.steps.columns import (
    as_found,
    as_ids,
    find_column,
    own_columns,
    require_column,
)

COMPARISONS: dict[str, Callable[[pd.Series, float], pd.Series]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
CLOCK_SKEW = pd.Timedelta(days=1)
"""Timestamps this far ahead are a matter of clocks and zones, not of bad data."""
ROUNDING = 1e-9
"""Share of a sum that is nothing: 0.1 + 0.2 - 0.3 leaves a little."""
FIRST_UNIX_TIME = 1e8
"""March 1973 in seconds: columns of smaller numbers are years, days or an order."""
MOST_WEIGHT = 1e15
"""Sums of such weights leave the range in which float32 tells neighbouring numbers apart."""


@dataclass(frozen=True)
class ParsedInteractions:
    """Accepted pairs and rejected rows: raw = accepted + merged + rejected.

    Attributes:
        accepted: table `interactions`, sorted by user and item.
        rejected: table `rejected_interactions`.
        merged: accepted rows that went into another one.
    """

    accepted: pd.DataFrame
    rejected: pd.DataFrame
    merged: int


def parse_interactions(
    raw: pd.DataFrame, settings: InteractionsSettings, now: pd.Timestamp
) -> ParsedInteractions:
    """Type, validate and merge raw interactions.

    Args:
        raw: the source's columns behind those of `schemas.SOURCE`.
        settings: what the columns mean.
        now: naive UTC; later timestamps are rejected.

    Raises:
        UserError: a needed column is missing.
    """
    names = own_columns(raw.columns)
    found = _found_columns(raw, names, settings)
    missing = pd.Series(pd.NA, index=raw.index)
    rows = pd.DataFrame(
        {
            "user_id": as_ids(found["user_id"]),
            "item_id": as_ids(found["item_id"]),
            "timestamp": parse_timestamps(
                found.get("timestamp", missing), settings.timestamp_format
            ),
            "position": _numbers(found.get("position", missing)),
            "event": as_ids(found.get("event", missing)),
            "weight": _numbers(found["weight"]) if "weight" in found else 1.0,
        }
    )
    if settings.events is not None:
        rows["weight"] *= rows["event"].map(settings.events).astype("float64").fillna(1.0)
    rows["positive"] = _positive(raw, names, rows["weight"], settings)
    reason, by_setting = _reasons(rows, found, raw["source_error"], settings, now)
    rejected = pd.DataFrame(
        {
            "source_file": as_found(raw["source_file"]),
            "source_row": raw["source_row"],
            "reason": reason,
            "by_setting": by_setting,
        }
        | {
            name: as_found(found.get(name, missing))
            for name in ("user_id", "item_id", "weight", "timestamp", "event")
        }
    )[reason.notna()]
    kept = rows[reason.isna()]
    merged = merge_repeats(kept, settings.repeats)
    if settings.weight_scale == "log":
        merged["weight"] = np.log1p(merged["weight"])
    accepted = leave_out_rare(merged, settings.minimum_per_user, settings.minimum_per_item)
    return ParsedInteractions(
        accepted, rejected.reset_index(drop=True), merged=len(kept) - len(accepted)
    )


def _numbers(values: pd.Series) -> pd.Series:
    return pd.to_numeric(values, errors="coerce").astype("float64")


def _found_columns(
    raw: pd.DataFrame, names: list[str], settings: InteractionsSettings
) -> dict[str, pd.Series]:
    """The source's columns by our names, those that it has."""
    find = partial(find_column, available=names, mapping=settings.columns, table="raw_interactions")
    require = partial(
        require_column, available=names, mapping=settings.columns, table="raw_interactions"
    )
    columns = {
        "user_id": require("user_id"),
        "item_id": require("item_id"),
        "event": require("event") if settings.events is not None else find("event"),
        "weight": find("weight"),
        "timestamp": find("timestamp"),
        "position": find("position"),
    }
    return {ours: raw[column] for ours, column in columns.items() if column is not None}


def _positive(
    raw: pd.DataFrame, names: list[str], weight: pd.Series, settings: InteractionsSettings
) -> pd.Series:
    if settings.positive is None:
        return pd.Series(True, index=raw.index)
    column, comparison, number = parse_condition(settings.positive)
    if column in names:
        values = pd.to_numeric(raw[column], errors="coerce")
    elif column == "weight":
        values = weight
    else:
        raise UserError(
            f"raw_interactions: positive: {settings.positive!r} asks for the column {column!r}, "
            f"which is not in the source.{did_you_mean(column, names)}"
        )
    # A null satisfies no condition, as in SQL; NaN would satisfy "!=".
    return (COMPARISONS[comparison](values, number).fillna(False) & values.notna()).astype(bool)


def _reasons(
    rows: pd.DataFrame,
    found: Mapping[str, pd.Series],
    source_error: pd.Series,
    settings: InteractionsSettings,
    now: pd.Timestamp,
) -> tuple[pd.Series, pd.Series]:
    """Why each row is rejected, null where it is not; and whether a setting says so."""
    reason = as_found(source_error)
    faults: dict[str, pd.Series] = {
        "user_id is missing or blank": rows["user_id"].isna(),
        "item_id is missing or blank": rows["item_id"].isna(),
    }
    if "weight" in found:
        faults["weight is missing"] = found["weight"].isna()
        faults["weight is not a number"] = rows["weight"].isna()
        faults["weight is not finite"] = ~np.isfinite(rows["weight"])
        faults[f"weight is {MOST_WEIGHT:g} or more"] = rows["weight"].abs() >= MOST_WEIGHT
        if not settings.returns:
            faults["weight is negative (see returns in the catalog)"] = rows["weight"] < 0
    if "timestamp" in found:
        faults["timestamp is not a date or a Unix time"] = (
            found["timestamp"].notna() & rows["timestamp"].isna()
        )
        faults["timestamp is in the future"] = rows["timestamp"] > now + CLOCK_SKEW
    if "position" in found:
        faults["position is not a number"] = found["position"].notna() & ~np.isfinite(
            rows["position"]
        )
    if settings.events is not None:
        faults["event is missing"] = rows["event"].isna()
    for text, fault in faults.items():
        reason = reason.mask(reason.isna() & fault, text)
    by_setting = pd.Series(False, index=rows.index)
    if settings.events is not None:
        by_setting = reason.isna() & ~rows["event"].isin(list(settings.events))
        reason = reason.mask(by_setting, "the event is not listed under events in the catalog")
    return reason, by_setting


def parse_timestamps(values: pd.Series, timestamp_format: str | None = None) -> pd.Series:
    """Dates, texts or Unix times as naive UTC timestamps; unreadable ones become null.

    The unit of Unix times (s, ms, µs or ns) is read off the median's magnitude: in seconds,
    1e11 is the year 5138. A column of small numbers has no Unix times in it.

    Args:
        values: one column; dates as texts and Unix times may be mixed in it.
        timestamp_format: of the texts, as in `datetime.strptime`; ISO 8601 where left out.
    """
    if pd.api.types.is_datetime64_any_dtype(values):
        parsed = pd.to_datetime(values, utc=True)
    elif timestamp_format is not None:
        parsed = pd.to_datetime(
            values.astype("str"), utc=True, errors="coerce", format=timestamp_format
        )
    else:
        numbers = pd.to_numeric(values, errors="coerce").astype("float64")
        is_text = values.notna() & numbers.isna()
        parsed = pd.to_datetime(
            values.astype(object).where(is_text), utc=True, errors="coerce", format="ISO8601"
        ).astype("datetime64[us, UTC]")
        numbers = numbers.where(np.isfinite(numbers))
        if numbers.abs().median() >= FIRST_UNIX_TIME:
            unit = _unit_of(float(numbers.abs().median()))
            unix = pd.to_datetime(numbers, unit=unit, utc=True, errors="coerce")
            parsed = parsed.fillna(unix.astype("datetime64[us, UTC]"))
    return parsed.dt.tz_localize(None).astype("datetime64[us]")


def _unit_of(magnitude: float) -> Literal["s", "ms", "us", "ns"]:
    limits: tuple[tuple[Literal["s", "ms", "us"], float], ...] = (
        ("s", 1e11),
        ("ms", 1e14),
        ("us", 1e17),
    )
    return next((unit for unit, limit in limits if magnitude < limit), "ns")


def merge_repeats(rows: pd.DataFrame, repeats: str) -> pd.DataFrame:
    """One row a (user, item), sorted by both; the columns of the table `interactions`.

    "last" is the last by timestamp, then by position, rows without one first, then by order in
    the source. A pair with a positive row is positive, and its weight comes from its positive rows
    alone. Negative weights are returns: they are taken off, and a pair with nothing left is not
    positive and weighs 0.
    """
    ordered = rows.sort_values(["timestamp", "position"], kind="stable", na_position="first")
    keys = ["user_id", "item_id"]
    pairs = ordered.assign(is_liked=ordered["positive"] & (ordered["weight"] >= 0)).groupby(
        keys, sort=True
    )
    merged = pairs.agg(
        positive=("is_liked", "any"),
        first_timestamp=("timestamp", "min"),
        last_timestamp=("timestamp", "max"),
        last_position=("position", "max"),
        interaction_count=("weight", "size"),
    )
    is_return = ordered["weight"] < 0
    counted = ordered["positive"] | ~pairs["is_liked"].transform("any")
    weight = ordered[counted & ~is_return].groupby(keys, sort=True)["weight"].agg(repeats)
    returned = ordered[is_return].groupby(keys, sort=True)["weight"].sum()
    has_returns = merged.index.isin(returned.index)
    bought = weight.reindex(merged.index).fillna(0.0)
    left = bought + returned.reindex(merged.index).fillna(0.0)
    left = left.mask(left < bought * ROUNDING, 0.0)
    merged["weight"] = left
    merged["positive"] &= ~has_returns | (left > 0)
    return merged.reset_index().assign(left_out=False)[INTERACTIONS.column_names]


def leave_out_rare(
    pairs: pd.DataFrame, minimum_per_user: int, minimum_per_item: int
) -> pd.DataFrame:
    """Mark pairs that models must not learn from, until what is left satisfies both minimums.

    Such a pair is left_out and not positive: it still counts as seen.
    """
    liked = pairs[pairs["positive"]]
    while True:
        per_user = liked["user_id"].map(liked["user_id"].value_counts())
        per_item = liked["item_id"].map(liked["item_id"].value_counts())
        enough = (per_user >= minimum_per_user) & (per_item >= minimum_per_item)
        if enough.all():
            break
        liked = liked[enough]
    left_out = pairs["positive"] & ~pairs.index.isin(liked.index)
    return pairs.assign(left_out=left_out, positive=pairs["positive"] & ~left_out)
