"""Raw interactions → one row a (user, item), and every rejected row with its reason."""

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from recsys_dagster.catalog.settings import InteractionsSettings, parse_condition
from recsys_dagster.errors import UserError, did_you_mean
from recsys_dagster.schemas import INTERACTIONS, SOURCE_NAMES
from recsys_dagster.steps.prepare.columns import as_found, find_column, own_columns, require_column
from recsys_dagster.steps.prepare.ids import (
    INEXACT,
    are_inexact,
    are_missing_words,
    as_ids,
    refuse_no_ids,
)
from recsys_dagster.steps.prepare.numbers import decimal_hint, parse_numbers, unread_numbers
from recsys_dagster.steps.prepare.time_formats import format_hint
from recsys_dagster.steps.prepare.times import Times, read_times, says_time

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
IN_THE_FUTURE = "timestamp is in the future"
ROUNDING = 1e-9
"""Share of a sum that is nothing: 0.1 + 0.2 - 0.3 leaves a little."""
FIRST_TIME = pd.Timestamp("1971-01-01")
"""What is earlier stands for "not known": zero, 1900-01-01, 0001-01-01."""
MAX_WEIGHT = 1e15
"""Sums of such weights leave the range in which float32 tells neighbouring numbers apart."""


@dataclass(frozen=True)
class ParsedInteractions:
    """Accepted pairs and rejected rows: raw = accepted + merged + rejected.

    Attributes:
        accepted: table `interactions`, sorted by user and item.
        rejected: table `rejected_interactions`.
        merged: accepted rows that went into another one.
        remarks: a sentence each on what was read and may not be meant so.
        judged_again: when the first of the rows is accepted that are in the future, naive UTC;
            None where no row is.
    """

    accepted: pd.DataFrame
    rejected: pd.DataFrame
    merged: int
    remarks: tuple[str, ...]
    judged_again: pd.Timestamp | None


def parse_interactions(
    raw: pd.DataFrame, settings: InteractionsSettings, now: pd.Timestamp
) -> ParsedInteractions:
    """Type, validate and merge raw interactions.

    Args:
        raw: the source's columns behind those of `schemas.SOURCE`.
        settings: what the columns mean.
        now: naive UTC; later timestamps are rejected.

    Raises:
        UserError: a needed column is missing, or one of ids has lists, structures or truths in it.
    """
    typed = type_interactions(raw, settings, now)
    accepted = merge_interactions(typed.kept, settings)
    return ParsedInteractions(
        accepted,
        typed.rejected,
        merged=len(typed.kept) - len(accepted),
        remarks=typed.remarks,
        judged_again=typed.judged_again,
    )


@dataclass(frozen=True)
class TypedInteractions:
    """Rows of a source, each typed, none merged: raw = kept + rejected.

    Attributes:
        kept: user_id, item_id, timestamp, position, event, weight, positive of the good rows.
        rejected: table `rejected_interactions`.
        remarks: as of `ParsedInteractions`.
        judged_again: as of `ParsedInteractions`.
    """

    kept: pd.DataFrame
    rejected: pd.DataFrame
    remarks: tuple[str, ...]
    judged_again: pd.Timestamp | None


def type_interactions(
    raw: pd.DataFrame, settings: InteractionsSettings, now: pd.Timestamp
) -> TypedInteractions:
    """Type and validate raw interactions, row by row; see `parse_interactions`."""
    names = own_columns(raw.columns)
    found = _found_columns(raw, names, settings)
    missing = pd.Series(pd.NA, index=raw.index)
    times = read_times(found.get("timestamp", missing), settings.timestamp_format)
    rows = pd.DataFrame(
        {
            "user_id": as_ids(found["user_id"]),
            "item_id": as_ids(found["item_id"]),
            "timestamp": times.timestamps,
            "position": parse_numbers(found.get("position", missing), settings.decimal),
            "event": _listed_events(as_ids(found.get("event", missing)), settings.events or {}),
            "weight": parse_numbers(found["weight"], settings.decimal)
            if "weight" in found
            else 1.0,
        }
    )
    if settings.events is not None:
        rows["weight"] *= rows["event"].map(settings.events).astype("float64").fillna(1.0)
    rows["positive"], unread = _positive(raw, names, rows["weight"], settings)
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
    early = rows["timestamp"][reason == IN_THE_FUTURE]
    return TypedInteractions(
        rows[reason.isna()],
        rejected.reset_index(drop=True),
        remarks=(*_mixed_units(times), *unread),
        judged_again=early.min() - CLOCK_SKEW if len(early) else None,
    )


def merge_interactions(kept: pd.DataFrame, settings: InteractionsSettings) -> pd.DataFrame:
    """The table `interactions` of typed rows.

    Args:
        kept: as of `TypedInteractions`.
        settings: how repeats merge, the scale of weights, and the minimums.
    """
    merged = merge_repeats(kept, settings.repeats)
    if settings.weight_scale == "log":
        merged["weight"] = np.log1p(merged["weight"])
    return leave_out_rare(merged, settings.minimum_per_user, settings.minimum_per_item)


def _listed_events(events: pd.Series, listed: Iterable[str]) -> pd.Series:
    """Events as the catalog writes them, where only their case differs from one that it lists."""
    by_folded: dict[str, list[str]] = {}
    for name in listed:
        by_folded.setdefault(name.casefold(), []).append(name)
    alone = {folded: names[0] for folded, names in by_folded.items() if len(names) == 1}
    return events.str.casefold().map(alone).astype("str").fillna(events)


def _mixed_units(times: Times) -> list[str]:
    if len(times.units) < 2:
        return []
    counts = ", ".join(f"{count:,} in {unit}" for unit, count in times.units.items())
    return [f"timestamp: of the Unix times {counts} are found, each read by its own size."]


def interaction_columns(
    names: Iterable[str], settings: InteractionsSettings
) -> dict[str, str | None]:
    """The source's columns by our names; None for what it lacks.

    Args:
        names: the source's own columns.
        settings: what they are called, where it is not a known name.

    Raises:
        UserError: a needed column is missing.
    """
    available = list(names)
    find = partial(
        find_column, available=available, mapping=settings.columns, table="raw_interactions"
    )
    require = partial(
        require_column, available=available, mapping=settings.columns, table="raw_interactions"
    )
    return {
        "user_id": require("user_id"),
        "item_id": require("item_id"),
        "event": require("event") if settings.events is not None else find("event"),
        "weight": find("weight"),
        "timestamp": find("timestamp"),
        "position": find("position"),
    }


def columns_read(names: Iterable[str], settings: InteractionsSettings) -> list[str]:
    """The columns of a raw table that `parse_interactions` looks at; others may be long texts.

    Args:
        names: all its columns.
        settings: what they mean.

    Raises:
        UserError: a needed column is missing.
    """
    own = own_columns(names)
    found = [*interaction_columns(own, settings).values(), _judged_column(own, settings)]
    return [*SOURCE_NAMES, *dict.fromkeys(column for column in found if column in own)]


def _judged_column(names: list[str], settings: InteractionsSettings) -> str | None:
    """The column that the catalog's condition is about; None where there is none.

    Raises:
        UserError: the source has no such column.
    """
    if settings.positive is None:
        return None
    column = parse_condition(settings.positive)[0]
    if column not in names and column != "weight":
        raise UserError(
            f"raw_interactions: positive: {settings.positive!r} asks for the column {column!r}, "
            f"which is not in the source.{did_you_mean(column, names)}"
        )
    return column


def _found_columns(
    raw: pd.DataFrame, names: list[str], settings: InteractionsSettings
) -> dict[str, pd.Series]:
    """The source's columns by our names, those that it has."""
    columns = interaction_columns(names, settings)
    for ours in ("user_id", "item_id"):
        refuse_no_ids(raw[columns[ours]], ours, "raw_interactions")
    return {ours: raw[column] for ours, column in columns.items() if column is not None}


def _positive(
    raw: pd.DataFrame, names: list[str], weight: pd.Series, settings: InteractionsSettings
) -> tuple[pd.Series, list[str]]:
    """What the catalog's condition says of each row, and a sentence on values that it cannot judge.

    A value that is null or no number satisfies no condition, as in SQL.
    """
    column = _judged_column(names, settings)
    if settings.positive is None:
        return pd.Series(True, index=raw.index), []
    _, comparison, number = parse_condition(settings.positive)
    unread = []
    if column in names:
        values = parse_numbers(raw[column], settings.decimal)
        strange = unread_numbers(raw[column], values)
        if len(strange):
            unread = [
                f"positive: {len(strange):,} values of {column!r} are no numbers, so that their "
                f"rows are not positive{decimal_hint(strange, settings.decimal)}."
            ]
    else:
        values = weight
    # NaN would satisfy "!=".
    return (COMPARISONS[comparison](values, number) & values.notna()).astype(bool), unread


def _reasons(
    rows: pd.DataFrame,
    found: Mapping[str, pd.Series],
    source_error: pd.Series,
    settings: InteractionsSettings,
    now: pd.Timestamp,
) -> tuple[pd.Series, pd.Series]:
    """Why each row is rejected, null where it is not; and whether a setting says so."""
    reason = as_found(source_error)
    faults: dict[str, pd.Series] = {}
    for ours in ("user_id", "item_id"):
        faults[f"{ours} is a word for a missing value, such as NULL"] = are_missing_words(
            found[ours]
        )
        faults[f"{ours} is missing or blank"] = rows[ours].isna()
        faults[f"{ours} {INEXACT}"] = are_inexact(found[ours])
    if "weight" in found:
        unread = found["weight"].notna() & rows["weight"].isna()
        hint = decimal_hint(found["weight"][unread], settings.decimal)
        faults["weight is missing"] = found["weight"].isna()
        faults[f"weight is not a number{hint}"] = unread
        faults["weight is not finite"] = ~np.isfinite(rows["weight"])
        faults[f"weight is {MAX_WEIGHT:g} or more"] = rows["weight"].abs() >= MAX_WEIGHT
        if not settings.returns:
            faults["weight is negative (see returns in the catalog)"] = rows["weight"] < 0
    if "timestamp" in found:
        unread = says_time(found["timestamp"]) & rows["timestamp"].isna()
        hint = format_hint(found["timestamp"][unread], settings.timestamp_format)
        faults[f"timestamp is not a date or a Unix time{hint}"] = unread
        faults["timestamp is before 1971, which stands for an unknown time"] = (
            rows["timestamp"] < FIRST_TIME
        )
        faults[IN_THE_FUTURE] = rows["timestamp"] > now + CLOCK_SKEW
    if "position" in found:
        unread = _says_something(found["position"]) & ~np.isfinite(rows["position"])
        hint = decimal_hint(found["position"][unread], settings.decimal)
        faults[f"position is not a number{hint}"] = unread
    if settings.events is not None:
        faults["event is missing"] = rows["event"].isna()
    for text, fault in faults.items():
        reason = reason.mask(reason.isna() & fault, text)
    by_setting = pd.Series(False, index=rows.index)
    if settings.events is not None:
        by_setting = reason.isna() & ~rows["event"].isin(list(settings.events))
        reason = reason.mask(by_setting, "the event is not listed under events in the catalog")
    return reason, by_setting


def _says_something(values: pd.Series) -> pd.Series:
    """Whether a value that need not be there is: neither null nor blank nor a word for null."""
    return as_ids(values).notna()


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
