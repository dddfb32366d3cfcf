"""Raw interactions → one row a (user, item), and every rejected row with its reason."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from recsys_dagster.catalog import parse_condition
from recsys_dagster.errors import UserError, did_you_mean
from recsys_dagster.steps.columns import as_found, as_ids, find_column, require_column

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
    raw: pd.DataFrame,
    *,
    columns: Mapping[str, str],
    positive: str | None,
    repeats: str,
    now: pd.Timestamp,
) -> ParsedInteractions:
    """Type, validate and merge raw interactions.

    Args:
        raw: the source's columns and `source_row`.
        columns: explicit source names of user_id, item_id, weight, timestamp.
        positive: condition on a source column for what models learn from; None: every row.
        repeats: "sum", "last" or "max" of the weights of a repeated pair. A pair with a positive
            row is positive, and its weight comes from its positive rows alone.
        now: naive UTC; later timestamps are rejected.

    Raises:
        UserError: a needed column is missing.
    """
    table = "raw_interactions"
    names = [name for name in raw.columns if name != "source_row"]
    user_column = require_column("user_id", names, columns, table)
    item_column = require_column("item_id", names, columns, table)
    weight_column = find_column("weight", names, columns, table)
    timestamp_column = find_column("timestamp", names, columns, table)

    missing = pd.Series(pd.NA, index=raw.index)
    found = {
        "user_id": raw[user_column],
        "item_id": raw[item_column],
        "weight": raw[weight_column] if weight_column else missing,
        "timestamp": raw[timestamp_column] if timestamp_column else missing,
    }
    weight = (
        pd.to_numeric(found["weight"], errors="coerce").astype("float64")
        if weight_column
        else pd.Series(1.0, index=raw.index)
    )
    rows = pd.DataFrame(
        {
            "user_id": as_ids(found["user_id"]),
            "item_id": as_ids(found["item_id"]),
            "weight": weight,
            "timestamp": parse_timestamps(found["timestamp"]),
            "positive": _positive(raw, names, weight, weight_column, positive),
        }
    )
    reason = _reasons(rows, found["weight"], found["timestamp"], bool(weight_column), now)
    rejected = pd.DataFrame(
        {"source_row": raw["source_row"], "reason": reason}
        | {name: as_found(values) for name, values in found.items()}
    )[reason.notna()]
    kept = rows[reason.isna()]
    accepted = merge_repeats(kept, repeats)
    return ParsedInteractions(
        accepted, rejected.reset_index(drop=True), merged=len(kept) - len(accepted)
    )


def _positive(
    raw: pd.DataFrame,
    names: list[str],
    weight: pd.Series,
    weight_column: str | None,
    condition: str | None,
) -> pd.Series:
    if condition is None:
        return pd.Series(True, index=raw.index)
    column, comparison, number = parse_condition(condition)
    if column == "weight" and column not in names:
        values = weight
    elif column in names:
        values = weight if column == weight_column else pd.to_numeric(raw[column], errors="coerce")
    else:
        raise UserError(
            f"raw_interactions: positive: {condition!r} asks for the column {column!r}, which is "
            f"not in the source.{did_you_mean(column, names)}"
        )
    # A null satisfies no condition, as in SQL; NaN would satisfy "!=".
    return (COMPARISONS[comparison](values, number).fillna(False) & values.notna()).astype(bool)


def _reasons(
    rows: pd.DataFrame,
    found_weight: pd.Series,
    found_timestamp: pd.Series,
    has_weight: bool,
    now: pd.Timestamp,
) -> pd.Series:
    faults: dict[str, pd.Series] = {
        "user_id is missing or blank": rows["user_id"].isna(),
        "item_id is missing or blank": rows["item_id"].isna(),
    }
    if has_weight:
        faults["weight is missing"] = found_weight.isna()
        faults["weight is not a number"] = rows["weight"].isna()
        faults["weight is not finite"] = ~np.isfinite(rows["weight"])
        faults["weight is negative"] = rows["weight"] < 0
    faults["timestamp is not a date or a Unix time"] = (
        found_timestamp.notna() & rows["timestamp"].isna()
    )
    faults["timestamp is in the future"] = rows["timestamp"] > now + CLOCK_SKEW
    reason = pd.Series(pd.NA, index=rows.index, dtype="str")
    for text, fault in faults.items():
        reason = reason.mask(reason.isna() & fault, text)
    return reason


def parse_timestamps(values: pd.Series) -> pd.Series:
    """Dates, ISO 8601 texts or Unix times as naive UTC timestamps; unreadable ones become null.

    The unit of Unix times (s, ms, µs or ns) is read off the median's magnitude: in seconds,
    1e11 is the year 5138.
    """
    if pd.api.types.is_datetime64_any_dtype(values):
        parsed = pd.to_datetime(values, utc=True)
    else:
        numbers = pd.to_numeric(values, errors="coerce").astype("float64")
        is_text = numbers.isna()
        numbers = numbers.where(np.isfinite(numbers))
        if numbers.notna().any():
            magnitude = float(numbers.abs().median())
            unit = next(
                (
                    unit
                    for unit, limit in (("s", 1e11), ("ms", 1e14), ("us", 1e17))
                    if magnitude < limit
                ),
                "ns",
            )
            parsed = pd.to_datetime(numbers, unit=unit, utc=True, errors="coerce")
        else:
            parsed = pd.to_datetime(
                values.astype(object).where(is_text), utc=True, errors="coerce", format="ISO8601"
            )
    return parsed.dt.tz_localize(None).astype("datetime64[us]")


def merge_repeats(rows: pd.DataFrame, repeats: str) -> pd.DataFrame:
    """One row a (user, item), sorted by both; the columns of the table `interactions`.

    "last" is the last by timestamp, rows without one first, then by order in the source.
    """
    ordered = rows.sort_values("timestamp", kind="stable", na_position="first")
    pairs = ordered.groupby(["user_id", "item_id"], sort=True)
    merged = pairs.agg(
        positive=("positive", "any"),
        first_timestamp=("timestamp", "min"),
        last_timestamp=("timestamp", "max"),
        interaction_count=("weight", "size"),
    )
    has_positive = pairs["positive"].transform("any")
    counted = ordered[ordered["positive"] | ~has_positive]
    merged["weight"] = counted.groupby(["user_id", "item_id"], sort=True)["weight"].agg(repeats)
    return merged.reset_index()[
        [
            "user_id",
            "item_id",
            "weight",
            "positive",
            "first_timestamp",
            "last_timestamp",
            "interaction_count",
        ]
    ]
