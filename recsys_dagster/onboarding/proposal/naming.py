"""Tables whose columns have no names → the same with names made from their values."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from recsys_dagster.onboarding.proposal.names import is_about
from recsys_dagster.onboarding.proposal.tables import (
    MAX_RATINGS,
    TITLE_LENGTH,
    Candidate,
    Column,
    Table,
    listed,
)

FIRST_TIME, LAST_TIME = 3e8, 4.1e9
"""Unix times in seconds, from 1979 to 2099."""
MAX_STARS = 10


def named(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Give the columns of headerless tables names by what is in them."""
    headed = [Table(one) for one in candidates if not one.is_headerless]
    rough = {id(one): _roughly_named(one) for one in candidates if one.is_headerless}
    others = [*headed, *(Table(one) for one in rough.values())]
    return [_with_keys(rough[id(one)], others) if one.is_headerless else one for one in candidates]


def _roughly_named(candidate: Candidate) -> Candidate:
    """Names for all but the keys of interactions."""
    table = Table(candidate)
    names: dict[str, str] = {}

    def give(column: Column, name: str) -> None:
        if name not in names.values():
            names[column.name] = name

    first = table.columns[0]
    is_of_things = first.is_key_like and first.uniqueness == 1.0
    for column in table.columns:
        if _is_unix_time(column):
            give(column, "timestamp")
        elif _is_rating(column) and not is_of_things:
            give(column, "rating")
    if "timestamp" not in names.values():
        for column in table.columns:
            if column.name not in names and column.is_time:
                give(column, "timestamp")
    if is_of_things:
        names = {own: name for own, name in names.items() if own != first.name}
        kind = next((kind for kind in ("item_id", "user_id") if is_about(table.name, kind)), "id")
        give(first, kind)
        texts = [column for column in table.text_columns if column is not first]
        titles = [one for one in texts if one.uniqueness > 0.5 and one.text_length <= TITLE_LENGTH]
        if titles:
            give(titles[0], "title")
        for column in texts:
            if column.name not in names and column.uniqueness <= 0.5:
                give(column, "category")
            elif column.name not in names:
                give(column, "text")
    return _renamed(candidate, names)


def _with_keys(candidate: Candidate, others: Sequence[Table]) -> Candidate:
    table = Table(candidate)
    given = {"item_id", "user_id", "id"} & set(table.names)
    if given:
        return _explained(candidate)
    keys = [
        column
        for column in table.columns
        if column.name.startswith("column") and column.is_key_like and column.uniqueness < 1.0
    ][:2]
    if len(keys) == 2:
        users = _ids(others, "user_id", table)
        items = _ids(others, "item_id", table)
        first, second = keys
        straight = _shared(first, users) + _shared(second, items)
        crossed = _shared(second, users) + _shared(first, items)
        if crossed > straight:
            first, second = second, first
        candidate = _renamed(candidate, {first.name: "user_id", second.name: "item_id"})
    return _explained(candidate)


def _ids(others: Sequence[Table], kind: Any, table: Table) -> list[Column]:
    return [
        column
        for other in others
        if other.name != table.name and is_about(other.name, kind)
        for column in other.columns
        if column.is_key_like and column.uniqueness == 1.0
    ]


def _shared(key: Column, columns: Sequence[Column]) -> float:
    return max((key.share_in(column) for column in columns), default=0.0)


def _renamed(candidate: Candidate, names: dict[str, str]) -> Candidate:
    source = dict(candidate.source) if isinstance(candidate.source, dict) else {}
    source["names"] = [names.get(name, name) for name in source["names"]]
    context = {"tables": dict.fromkeys(candidate.context["tables"], source)}
    frame = candidate.frame.rename(columns=names)
    return replace(candidate, source=source, frame=frame, context=context)


def _explained(candidate: Candidate) -> Candidate:
    given = [name for name in candidate.frame.columns if not str(name).startswith("column")]
    guess = f"{candidate.name} has no line with names: {listed(given)} are named by their values."
    return replace(candidate, guesses=(guess,))


def _is_unix_time(column: Column) -> bool:
    numbers = column.numbers
    return not numbers.empty and bool(
        (numbers % 1 == 0).all()
        and column.distinct > 1
        and numbers.between(FIRST_TIME, LAST_TIME).mean() > 0.99
    )


def _is_rating(column: Column) -> bool:
    numbers = column.numbers
    return not numbers.empty and bool(
        2 <= column.distinct <= MAX_RATINGS
        and numbers.between(0, MAX_STARS).all()
        and (numbers * 2 % 1 == 0).all()
        and column.uniqueness < 0.2
    )
