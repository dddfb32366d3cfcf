"""What interactions say besides who and what: when, how much, in which way."""

import re
from collections.abc import Iterable

import pandas as pd

from recsys_dagster.onboarding.proposal.names import (
    AGAINST_EVENTS,
    EVENT_NAMES,
    POSITION_NAMES,
    RATING_NAMES,
    TIME_NAMES,
    TIME_OF_OTHER_THINGS,
    WEIGHT_NAMES,
    has_word,
    is_about,
    known_column,
    letters,
    must_be_named,
    place_in,
    words,
)
from recsys_dagster.onboarding.proposal.rendering import Choice
from recsys_dagster.onboarding.proposal.tables import MAX_RATINGS, Column, Table, listed
from recsys_dagster.steps.prepare.shares import percent
from recsys_dagster.steps.prepare.time_formats import (
    READABLE,
    is_plausible,
    look_dated,
    shares_read,
)
from recsys_dagster.steps.prepare.times import parse_timestamps

SWAPPED = "nothing in it says whether day or month is first"
MIN_EVENTS, MAX_EVENTS = 2, 20
LIKED_FROM = {1.0: 1, 5.0: 4, 10.0: 7}
"""The least rating that is a like, by the top of the scale."""
THOUSANDS = r"\d{1,3}\.\d{3}"
MONEY_OR_NUMBER = "value"
"""A name of weights that sales have for money: a quantity or a rating goes before it."""
WIDE = 100
"""A largest weight so many times the median is of another order, a wholesaler's say."""


def find_time(table: Table, keys: Iterable[Column]) -> tuple[list[Choice], list[Choice]]:
    """When, or in which order: entries of `columns`, and settings."""
    readable = {
        column.name: format_
        for column in table.columns
        if column not in keys and (format_ := time_format(column)) is not None
    }
    known = known_column("timestamp", table.names)
    if not readable:
        return _position(table, known, keys)
    name = known if known in readable else min(readable, key=_time_rank)
    others = [other for other in readable if other != name]
    columns = []
    if must_be_named("timestamp", name, table.names):
        columns.append(Choice("timestamp", name, _rather_than(others), is_guess=bool(others)))
    elif others:
        why = f"timestamp is `{name}`, {_rather_than(others)}."
        columns.append(Choice("", why=why, is_guess=known != name))
    if not readable[name]:
        return columns, []
    return columns, [
        Choice(
            "timestamp_format",
            readable[name],
            why := _format_why(table.column(name), readable[name]),
            is_guess=SWAPPED in why,
        )
    ]


def time_format(column: Column) -> str | None:
    """How a column of times is read: "" where no format is needed; None for other columns."""
    if column.is_time and is_plausible(parse_timestamps(column.sample)):
        return ""
    if pd.api.types.is_datetime64_any_dtype(column.values):
        return None
    texts = column.sample.astype("str")
    is_number = not column.numbers.empty
    if (is_number and not column.is_named_like_a_time) or not look_dated(texts):
        return None
    shares = shares_read(texts)
    best = max(shares, key=lambda format_: shares[format_], default="")
    return best if shares.get(best, 0.0) >= READABLE else None


def _time_rank(name: str) -> tuple[bool, int]:
    place = place_in(name, TIME_NAMES)
    return has_word(name, TIME_OF_OTHER_THINGS), len(TIME_NAMES) if place is None else place


def _format_why(column: Column, format_: str) -> str:
    swapped = re.sub("%[dm]", lambda part: {"%d": "%m", "%m": "%d"}[part.group()], format_)
    shares = shares_read(column.sample.astype("str"))
    text = f"Reads {percent(shares[format_])} of a sample"
    if swapped not in shares:
        return f"{text}."
    if shares[swapped] == shares[format_]:
        return f'{text}, but so does "{swapped}": {SWAPPED}.'
    return f'{text}; "{swapped}" {percent(shares[swapped])}.'


def _rather_than(others: list[str]) -> str:
    return f"rather than {listed(others)}" if others else ""


def _position(
    table: Table, known_time: str | None, keys: Iterable[Column]
) -> tuple[list[Choice], list[Choice]]:
    why = "No column of times that can be read"
    known = known_column("position", table.names)
    if known is not None:
        return [Choice("", why=f"{why}: the order within a user is `{known}`.")], []
    ranked = [
        (place, column.name)
        for column in table.columns
        if (place := place_in(column.name, POSITION_NAMES)) is not None
        and not column.numbers.empty
        and column.filled >= READABLE
    ]
    if ranked:
        return [Choice("position", min(ranked)[1], f"{why}; this is the order within a user.")], []
    unread = [column for column in table.columns if column not in keys and _may_be_time(column)]
    if not unread:
        return [Choice("", why=f"{why}.")], []
    column = next((column for column in unread if column.name == known_time), unread[0])
    lost = "rows with something in it will be rejected" if column.name == known_time else "left out"
    why = (
        f"`{column.name}` looks like a time and cannot be read, as in "
        f"{column.present.astype('str').iloc[0]!r}: {lost}. Say how it is written by "
        "timestamp_format, or make times of it by a query"
    )
    return [Choice("", why=f"{why}.", is_guess=True)], []


def _may_be_time(column: Column) -> bool:
    if column.distinct < 2 or has_word(column.name, TIME_OF_OTHER_THINGS):
        return False
    looks = column.numbers.empty and look_dated(column.sample.astype("str"))
    return looks or column.name == known_column("timestamp", [column.name])


def find_weight(table: Table, keys: Iterable[Column]) -> tuple[list[Choice], list[Choice]]:
    """How much: entries of `columns`, and settings."""
    known = known_column("weight", table.names)
    ranked = [
        (place, column.name)
        for column in table.columns
        if column not in keys
        and letters(column.name) != MONEY_OR_NUMBER
        and (place := _weight_place(column)) is not None
        and not column.numbers.empty
        and column.filled >= READABLE
    ]
    best = min(ranked, default=(0, None))[1]
    is_money = known is not None and letters(known) == MONEY_OR_NUMBER
    name = best if known is None or (is_money and best is not None) else known
    if name is None:
        return [], []
    column = table.column(name)
    columns = []
    if must_be_named("weight", name, table.names):
        why = f"rather than `{known}`" if known is not None else ""
        columns.append(Choice("weight", name, why, is_guess=known is not None))
    if column.numbers.empty:
        return columns, [
            Choice("", why=f"`{name}` is taken as weight: rows without a number are rejected.")
        ]
    return columns, _weight_settings(column, keys)


def _weight_place(column: Column) -> int | None:
    """How well a name fits a weight; "Book-Rating" does, and so do votes below zero."""
    place = place_in(column.name, WEIGHT_NAMES)
    first, *rest = words(column.name) or [""]
    if place is None and rest and is_about(first, "item_id"):
        place = place_in("".join(rest), WEIGHT_NAMES)
    is_vote = place_in(column.name, EVENT_NAMES) is not None or "vote" in words(column.name)
    if place is None and is_vote and not column.numbers.empty and column.numbers.min() < 0:
        return len(WEIGHT_NAMES)
    return place


def _weight_settings(column: Column, keys: Iterable[Column]) -> list[Choice]:
    numbers = column.numbers
    # A line of totals has a weight, and neither a user nor an item.
    has_keys = pd.concat([key.ids.notna() for key in keys], axis=1).all(axis=1)
    kept = numbers[has_keys.reindex(numbers.index, fill_value=True)]
    missing = len(column.values) - len(numbers)
    settings = []
    if column.decimal is not None:
        example = column.present.astype("str").iloc[0]
        why = f"`{column.name}` is written as in {example}."
        settings.append(Choice("decimal", column.decimal, why))
    elif column.present.astype("str").str.fullmatch(THOUSANDS).all():
        why = (
            f"All of `{column.name}` are such as {column.present.iloc[0]}: if the point groups "
            'thousands, write decimal: ",".'
        )
        settings.append(Choice("", why=why, is_guess=True))
    if missing:
        why = f"{missing:,} rows have no number in `{column.name}` and will be rejected."
        settings.append(Choice("", why=why))
    if numbers.min() < 0:
        why = (
            f"{percent(float((numbers < 0).mean()))} of `{column.name}` are negative: they take "
            "back what came before."
        )
        settings.append(Choice("returns", True, why))
    elif numbers.nunique() > 1 and numbers.nunique() <= MAX_RATINGS:
        settings += _liked(column)
    median = float(kept.abs().median())
    if kept.max() > WIDE * median > 0:
        why = f"The largest is {kept.max():,.0f}, the median {median:g}."
        settings.append(Choice("weight_scale", "log", why))
    return settings


def _liked(column: Column) -> list[Choice]:
    top = float(column.numbers.max())
    if letters(column.name) not in RATING_NAMES and words(column.name)[-1:] != ["rating"]:
        return []
    scale = next((scale for scale in LIKED_FROM if top <= scale), None)
    if scale is None or top < LIKED_FROM[scale]:
        return []
    name = column.name if re.fullmatch(r"\w+", column.name) else "weight"
    liked = float((column.numbers >= LIKED_FROM[scale]).mean())
    why = (
        f"`{column.name}` goes from {column.numbers.min():g} to {top:g}; {percent(liked)} of the "
        "rows count as likes, the others only as seen."
    )
    is_grade = letters(column.name) == "note"
    if is_grade:
        why += " At some schools 1 is the best."
    return [Choice("positive", f"{name} >= {LIKED_FROM[scale]}", why, is_guess=is_grade)]


def find_events(table: Table, keys: Iterable[Column]) -> tuple[list[Choice], list[Choice]]:
    """In which way: entries of `columns`, and settings."""
    ranked = [
        (place, column)
        for column in table.columns
        if column not in keys
        and (place := place_in(column.name, EVENT_NAMES)) is not None
        and (column.numbers.empty or column.numbers.min() >= 0)
        and MIN_EVENTS <= column.distinct <= MAX_EVENTS
    ]
    if not ranked:
        return [], []
    column = min(ranked, key=lambda one: one[0])[1]
    columns = []
    if must_be_named("event", column.name, table.names):
        columns.append(Choice("event", column.name))
    if column.filled < 1:
        why = f"No events: rows without `{column.name}` would be rejected."
        return [], [Choice("", why=why)]
    shares = ", ".join(
        f"{event} {percent(count / table.rows)}" for event, count in column.counts.items()
    )
    why = (
        f"Of the rows: {shares}. Change the weights at will; events that are not listed are left "
        "out."
    )
    weights = {
        str(event): int(letters(str(event)) not in AGAINST_EVENTS) for event in column.counts.index
    }
    settings = [Choice("events", weights, why)]
    if not all(weights.values()) and known_column("weight", table.names) is None:
        against = listed(event for event, weight in weights.items() if not weight)
        said = f"{against} is taken to be against an item: seen, and not liked."
        settings.append(Choice("positive", "weight > 0", said, is_guess=True))
    return columns, settings
