"""Tables that a query must turn before they say, a row each, who did what with which item.

Rows that cannot be read are handed on by the queries, so that they are counted as rejected.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from recsys_dagster.onboarding.proposal.lists import fields_of_items, lists_in
from recsys_dagster.onboarding.proposal.names import SPLIT_NAMES, key_rank, place_in, words
from recsys_dagster.onboarding.proposal.roles import named_keys
from recsys_dagster.onboarding.proposal.tables import Candidate, Column, Table
from recsys_dagster.sql import quoted

MIN_COLUMNS = 8
"""Of a matrix of users and items."""
MAX_MARKS = 21
MOSTLY = 0.8
PARTS = {
    "train": "train", "training": "train", "valid": "valid", "validation": "valid",
    "val": "valid", "dev": "valid", "test": "test", "testing": "test",
}  # fmt: skip
HANDED_ON = "source_file, source_row, source_error, "


def handed_on(candidate: Candidate, alias: str = "") -> str:
    """What a query over files selects besides, to hand on which rows could not be read."""
    if "tables" not in candidate.context:
        return ""
    columns = [f"{alias}{name.strip()}" for name in HANDED_ON.split(",") if name.strip()]
    return ", ".join(columns) + ", "


def united(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Make one table of `train.csv` and `test.csv`, with a column that says which."""
    groups: dict[tuple[Any, ...], dict[str, Candidate]] = {}
    for one in candidates:
        part, rest = _part_of(one)
        if part:
            groups.setdefault((rest, tuple(one.frame.columns)), {})[part] = one
    made: dict[int, Candidate] = {}
    dropped: set[int] = set()
    for (_, columns), parts in groups.items():
        ordered = [part for part in ("train", "valid", "test") if part in parts]
        if len(ordered) < 2 or "train" not in parts or "split" in columns:
            continue
        members = [parts[part] for part in ordered]
        queries = [f"select *, '{part}' as split from {parts[part].relation}" for part in ordered]
        source = members[0].query("\nunion all by name\n".join(queries), *members[1:])
        if source is None or members[0].dialect == "sqlite":
            continue
        frame = pd.concat(
            [parts[part].frame.assign(split=part) for part in ordered], ignore_index=True
        )
        names = " and ".join(member.name for member in members)
        made[id(members[0])] = Candidate(
            source,
            frame,
            f"(\n{source['sql']}\n)",
            {key: value for key, value in source.items() if key != "sql"},
            name=names,
            split="split",
            rows=sum(one.rows or len(one.frame) for one in members)
            if any(one.rows for one in members)
            else 0,
        )
        dropped |= {id(member) for member in members[1:]}
    return [made.get(id(one), one) for one in candidates if id(one) not in dropped]


def _part_of(candidate: Candidate) -> tuple[str, str]:
    """Which part a table's name says it is, and the name without that."""
    stem = candidate.name.partition(".")[0]
    parts = list(words(stem))
    said = [word for word in parts if word in PARTS]
    if len(said) != 1:
        return "", stem
    return PARTS[said[0]], " ".join(word for word in parts if word != said[0])


def unfolded(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Make a row of each item in a cell, and of each cell of a matrix of users and items."""
    tables = [Table(one) for one in candidates]
    return [
        _unnested(table, tables) or _unpivoted(table, tables) or table.candidate for table in tables
    ]


def _unnested(table: Table, tables: Sequence[Table]) -> Candidate | None:
    candidate = table.candidate
    if candidate.relation is None or candidate.dialect == "sqlite" or not len(candidate.frame):
        return None
    if not any(key_rank(name, "user_id") for name in table.names):
        return None
    for column in table.columns:
        if _has_better_item(table, column):
            continue
        found = lists_in(column, [other for other in tables if other is not table])
        if found is None:
            continue
        expression, lists = found
        others = [name for name in table.names if name != column.name]
        selected = "".join(f"{quoted(name)}, " for name in others)
        frame = candidate.frame[others].assign(**{column.name: lists})
        # An empty list is no row in the query either.
        frame = frame[[len(each) > 0 for each in lists]].explode(column.name, ignore_index=True)
        exploded = frame.pop(column.name)
        inner = (
            f"select *, unnest(coalesce({expression}, [null])) as element\n"
            f"from {candidate.relation}"
        )
        fields = fields_of_items(exploded)
        if fields:
            names = [name if name not in others else f"{column.name}_{name}" for name in fields]
            taken = ", ".join(
                f"element.{quoted(own)} as {quoted(name)}"
                for own, name in zip(fields, names, strict=True)
            )
            for own, name in zip(fields, names, strict=True):
                frame[name] = [
                    each.get(own) if isinstance(each, dict) else None for each in exploded
                ]
        else:
            name = "item_id" if "item_id" not in others else column.name
            taken = f"element as {quoted(name)}"
            frame[name] = exploded
        sql = f"select {handed_on(candidate)}{selected}{taken}\nfrom (\n{inner}\n)"
        guess = f"`{column.name}` of {candidate.name} has a list of items in each cell."
        return _derived(candidate, sql, frame, guess)
    return None


def _has_better_item(table: Table, column: Column) -> bool:
    """Whether another column says by its name, at least as well, which item a row is about."""
    rank = key_rank(column.name, "item_id")
    return any(
        other is not column and (rank is None or (key_rank(other.name, "item_id") or rank) <= rank)
        for other in named_keys(table, "item_id")
    )


def _derived(candidate: Candidate, sql: str, frame: pd.DataFrame, guess: str) -> Candidate | None:
    source = candidate.query(sql)
    if source is None:
        return None
    return replace(
        candidate,
        source=source,
        frame=frame,
        relation=f"(\n{sql}\n)",
        name=candidate.name,
        guesses=(*candidate.guesses, guess),
    )


def _unpivoted(table: Table, tables: Sequence[Table]) -> Candidate | None:
    candidate = table.candidate
    if candidate.relation is None or candidate.dialect == "sqlite":
        return None
    if len(table.columns) <= MIN_COLUMNS or table.rows < 2:
        return None
    key = next(
        (one for one in table.columns if key_rank(one.name, "user_id") and one.uniqueness == 1.0),
        None,
    )
    if key is None:
        return None
    cells = candidate.frame.drop(columns=key.name)
    texts = cells.astype("str").where(cells.notna(), "").apply(lambda column: column.str.strip())
    flat = pd.Series(texts.to_numpy().ravel())
    flat = flat[flat != ""]
    numbers = pd.to_numeric(flat, errors="coerce")
    if flat.empty or numbers.isna().any() or numbers.nunique() > MAX_MARKS:
        return None
    names = pd.Series([str(name) for name in cells.columns])
    item = next(
        (
            column.name
            for other in tables
            if other is not table
            for column in other.columns
            if column.is_key_like
            and other.has_text_beside(column)
            and names.isin(column.counts.index).mean() > MOSTLY
        ),
        None,
    )
    if item is None:
        return None
    nothing = ["''"] + ["'0'", "'0.0'"] * bool((numbers == 0).mean() > 0.5)
    hidden = handed_on(candidate)
    left = f"{hidden}{quoted(key.name)}"
    value = "weight"
    sql = (
        f"select {left}, {quoted(item)}, {value}\n"
        f"from (unpivot {candidate.relation} on columns(* exclude ({left}))::varchar "
        f"into name {quoted(item)} value {value})\n"
        f"where trim({value}) not in ({', '.join(nothing)})"
    )
    if hidden:
        # Unpivot drops rows without a value, such as those that could not be read.
        sql += (
            f" and source_error is null\nunion all by name\nselect {left}\n"
            f"from {candidate.relation}\nwhere source_error is not null"
        )
    long = candidate.frame.melt(key.name, var_name=item, value_name=value).dropna()
    long = long[~long[value].astype("str").str.strip().isin([each.strip("'") for each in nothing])]
    guess = (
        f"{candidate.name} has a column for each item, and in it a number for each user: unpivot "
        "makes rows of them."
    )
    return _derived(candidate, sql, long.reset_index(drop=True), guess)


def split_column(table: Table) -> Column | None:
    """The column that says of each row whether it is to learn from or to be measured with."""
    for column in table.columns:
        if place_in(column.name, SPLIT_NAMES) is None or not 2 <= column.distinct <= 3:
            continue
        if set(column.counts.index) <= {"train", "valid", "test"} and "train" in column.counts:
            return column
    return None
