"""Orders in one table and their lines in another → one table of who took what."""

from collections.abc import Iterator, Sequence
from decimal import Decimal

import pandas as pd

from recsys_dagster.onboarding.proposal.names import (
    EVENT_NAMES,
    KEY_SUFFIXES,
    SPLIT_NAMES,
    WEIGHT_NAMES,
    key_rank,
    letters,
    place_in,
    singulars,
    words,
)
from recsys_dagster.onboarding.proposal.reshaping import handed_on
from recsys_dagster.onboarding.proposal.roles import named_keys
from recsys_dagster.onboarding.proposal.tables import Candidate, Column, Table
from recsys_dagster.sql import quoted
from recsys_dagster.steps.prepare.ids import as_ids
from recsys_dagster.steps.prepare.shares import percent

MIN_SHARED = 0.5
"""Of the keys of lines that orders must have."""


def joined(tables: Sequence[Table]) -> list[Table]:
    """Tables of lines with what their orders say of the user, the time and so on."""
    found = []
    for heads in tables:
        if named_keys(heads, "item_id") or not named_keys(heads, "user_id"):
            continue
        for lines in tables:
            if lines is heads or named_keys(lines, "user_id") or not named_keys(lines, "item_id"):
                continue
            link = max(_links(heads, lines), key=lambda one: one[2], default=None)
            made = _join(heads, lines, *link) if link is not None else None
            if made is not None:
                found.append(Table(made))
    return found


def _links(heads: Table, lines: Table) -> Iterator[tuple[Column, Column, float]]:
    """Pairs of columns, one row each of the first, that hold two tables together."""
    for head in heads.columns:
        if not head.is_key_like or head.uniqueness < 1.0 or key_rank(head.name, "user_id"):
            continue
        for line in lines.columns:
            if line.name in {column.name for column in named_keys(lines, "item_id")}:
                continue
            if line.is_key_like and _belong_together(heads, head, line):
                shared = line.share_in(head)
                if shared >= MIN_SHARED:
                    yield head, line, shared


def _belong_together(heads: Table, head: Column, line: Column) -> bool:
    """Whether names say so: of the same name, or `id` of orders and `order_id` of lines."""
    if letters(head.name) == letters(line.name):
        return letters(head.name) not in KEY_SUFFIXES
    about = {form for word in words(heads.name) for form in singulars(word)}
    stem = [word for word in words(line.name) if word not in KEY_SUFFIXES]
    return letters(head.name) in KEY_SUFFIXES and bool(stem) and stem[-1] in about


def _join(
    heads: Table, lines: Table, head: Column, line: Column, shared: float
) -> Candidate | None:
    taken = [
        column
        for column in heads.columns
        if column is not head and column.name not in lines.names and _says_more(column)
    ]
    own = lines.candidate.dialect
    selected = [f"lines.{quoted(name)}" for name in lines.names]
    selected += [f"heads.{quoted(column.name)}" for column in taken]
    are_integers = all(pd.api.types.is_integer_dtype(one.values) for one in (head, line))
    left_key, right_key = (
        quoted(one.name) if are_integers else _as_id(one, own) for one in (line, head)
    )
    latest = (
        ["source_file", "source_row"]
        if "tables" in heads.candidate.context
        else [quoted(column.name) for column in (*taken, head)]
    )
    order = ", ".join(f"{name} desc" for name in latest)
    # Orders that are exported again must not make more lines of one.
    sql = (
        f"select {handed_on(lines.candidate, 'lines.')}{', '.join(selected)}\n"
        f"from (select *, {left_key} as joined_by from {lines.candidate.relation}) as lines\n"
        f"left join (\n"
        f"select *, {right_key} as joined_by,\n"
        f"row_number() over (partition by {right_key} order by {order}) as times\n"
        f"from {heads.candidate.relation}\n"
        f") as heads on heads.joined_by = lines.joined_by and heads.times = 1"
    )
    source = lines.candidate.query(sql, heads.candidate)
    if source is None:
        return None
    right = heads.candidate.frame[[column.name for column in taken]].assign(
        __key=as_ids(heads.candidate.frame[head.name])
    )
    left = lines.candidate.frame.assign(__key=as_ids(lines.candidate.frame[line.name]))
    right = right[right["__key"].notna()].drop_duplicates("__key")
    frame = left.merge(right, on="__key", how="left").drop(columns="__key")
    held = f"`{line.name}`"
    if line.name != head.name:
        held += f", which is `{head.name}` of {heads.name}"
    guess = (
        f"{lines.name} says what was taken and {heads.name} by whom. They are joined by {held}; "
        f"{percent(shared)} of its values are there."
    )
    context = {key: value for key, value in source.items() if key != "sql"}
    return Candidate(
        source,
        frame,
        f"(\n{sql}\n)",
        context,
        dialect=own,
        guesses=(guess,),
        name=f"{lines.name} with {heads.name}",
        parts=(lines.name, heads.name),
        rows=lines.candidate.rows,
    )


def _as_id(column: Column, dialect: str) -> str:
    """A key in SQL as `as_ids` makes it, for the usual differences: spaces around it, and 7.0."""
    name = quoted(column.name)
    first = column.present.iloc[0]
    if pd.api.types.is_float_dtype(column.values) or isinstance(first, Decimal):
        if dialect == "sqlite":
            return f"cast(cast({name} as integer) as varchar)"
        return f"regexp_replace(cast({name} as varchar), '\\.0+$', '')"
    return f"trim(cast({name} as varchar))"


def _says_more(column: Column) -> bool:
    """Whether a column of orders is of use: who, when, how much, in which way."""
    return (
        key_rank(column.name, "user_id") is not None
        or column.is_time
        or column.is_named_like_a_time
        or any(
            place_in(column.name, names) is not None
            for names in (EVENT_NAMES, WEIGHT_NAMES, SPLIT_NAMES)
        )
    )
