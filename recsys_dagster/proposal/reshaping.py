"""Tables that a query must turn before they say, a row each, who did what with which item.

Rows that cannot be read are handed on by the queries, so that they are counted as rejected.
"""

import ast
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from recsys_dagster.proposal.names import SPLIT_NAMES, key_rank, place_in, words
from recsys_dagster.proposal.tables import Candidate, Column, Table
from recsys_dagster.steps.ids import as_ids

SEPARATORS = ("|", ";", ",", " ")
LISTS = (list, tuple, np.ndarray)
ELEMENT = re.compile(r"[\w.:/#-]+")
LEAST_LISTS = 0.2
"""Of the cells of a column of lists: with more than one element."""
FEWEST_COLUMNS = 8
"""Of a matrix of users and items."""
MOST_MARKS = 21
MOSTLY = 0.8
PARTS = {
    "train": "train", "training": "train", "valid": "valid", "validation": "valid",
    "val": "valid", "dev": "valid", "test": "test", "testing": "test",
}  # fmt: skip
HANDED_ON = "source_file, source_row, source_error, "


def quoted(name: str) -> str:
    """A name in a query."""
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


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
        found = _lists_in(column, [other for other in tables if other is not table])
        if found is None:
            continue
        expression, lists = found
        others = [name for name in table.names if name != column.name]
        selected = "".join(f"{quoted(name)}, " for name in others)
        frame = (
            candidate.frame[others]
            .assign(**{column.name: lists})
            .explode(column.name, ignore_index=True)
        )
        exploded = frame.pop(column.name)
        inner = (
            f"select *, unnest(coalesce({expression}, [null])) as element\n"
            f"from {candidate.relation}"
        )
        fields = _fields(exploded)
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


def _fields(values: pd.Series) -> list[str]:
    """The fields of structures that an item is among."""
    first = next((each for each in values if isinstance(each, dict)), None)
    if first is None or not any(key_rank(name, "item_id") for name in first):
        return []
    return [name for name, value in first.items() if not isinstance(value, dict | list)]


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


def _lists_in(column: Column, others: Sequence[Table]) -> tuple[str, list[Any]] | None:
    """How the lists of a column are taken apart in a query, and the lists.

    A sample decides; only a column that has lists is taken apart whole.
    """
    found = _taken_apart(column)
    if found is None:
        return None
    expression, apart = found
    elements = [element for value in column.sample for element in apart(value)]
    if any(isinstance(each, dict) for each in elements):
        is_of_items = bool(_fields(pd.Series(elements, dtype=object)))
    else:
        is_of_items = _are_items(column, elements, others)
    if not is_of_items:
        return None
    try:
        return expression, [apart(value) for value in column.values]
    except (ValueError, SyntaxError):
        return None  # a cell beyond the sample is no list


def _taken_apart(column: Column) -> tuple[str, Callable[[Any], list[Any]]] | None:
    """The same of one column whatever is in its lists: in SQL, and in Python."""
    sample = column.sample
    name = quoted(column.name)
    if sample.empty:
        return None
    if isinstance(sample.iloc[0], LISTS):
        return name, lambda value: list(value) if isinstance(value, LISTS) else []
    if not isinstance(sample.iloc[0], str):
        return None
    texts = sample.astype("str").str.strip()
    if texts.str.match(r"\[.*\]$").mean() > MOSTLY:
        return _written_lists(name, texts)
    for separator in SEPARATORS:
        if texts.str.contains(separator, regex=False).mean() < LEAST_LISTS:
            continue
        apart = _splitting(separator)
        elements = [element.strip() for text in texts for element in apart(text)]
        if np.mean([ELEMENT.fullmatch(each) is not None for each in elements]) >= 0.95:
            return f"string_split({name}, {_literal(separator)})", apart
    return None


def _written_lists(name: str, texts: pd.Series) -> tuple[str, Callable[[Any], list[Any]]] | None:
    """Lists as JSON or Python writes them."""
    for read, expression in (
        (json.loads, f"from_json({name}, '[\"VARCHAR\"]')"),
        (
            ast.literal_eval,
            f"string_split(regexp_replace({name}, '[\\[\\]''\" ]', '', 'g'), ',')",
        ),
    ):
        apart = _reading(read)
        try:
            elements = [each for text in texts for each in apart(text)]
        except (ValueError, SyntaxError):
            continue
        is_flat = not any(isinstance(each, dict | list) for each in elements)
        return (expression, apart) if is_flat else None
    return None


def _reading(read: Callable[[str], Any]) -> Callable[[Any], list[Any]]:
    return lambda value: list(read(value)) if isinstance(value, str) and value.strip() else []


def _splitting(separator: str) -> Callable[[Any], list[Any]]:
    return lambda value: value.split(separator) if isinstance(value, str) and value.strip() else []


def _are_items(column: Column, elements: Sequence[Any], others: Sequence[Table]) -> bool:
    """Whether the name of a column, or another table, says that these are items."""
    if not elements:
        return False
    if key_rank(column.name, "item_id") or key_rank(column.name.removesuffix("s"), "item_id"):
        return True
    ids = as_ids(pd.Series(elements, dtype=object)).dropna().drop_duplicates()
    return any(
        other_column.is_key_like
        and other_column.uniqueness > 0.98
        and other.has_text_beside(other_column)
        and ids.isin(other_column.counts.index).mean() > MOSTLY
        for other in others
        for other_column in other.columns
    )


def _unpivoted(table: Table, tables: Sequence[Table]) -> Candidate | None:
    candidate = table.candidate
    if candidate.relation is None or candidate.dialect == "sqlite":
        return None
    if len(table.columns) <= FEWEST_COLUMNS or table.rows < 2:
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
    if flat.empty or numbers.isna().any() or numbers.nunique() > MOST_MARKS:
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
    hidden = HANDED_ON.rstrip(", ") if "tables" in candidate.context else ""
    left = ", ".join([quoted(key.name), hidden] if hidden else [quoted(key.name)])
    value = "weight"
    sql = (
        f"select {quoted(key.name)}, {quoted(item)}, {value}\n"
        f"from (unpivot {candidate.relation} on columns(* exclude ({left}))::varchar "
        f"into name {quoted(item)} value {value})\n"
        f"where trim({value}) not in ({', '.join(nothing)})"
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
