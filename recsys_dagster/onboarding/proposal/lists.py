"""Lists of items in the cells of a column, and how a query takes them apart.

A query and this module must take the same elements out of the same cell.
"""

import ast
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from recsys_dagster.onboarding.proposal.names import key_rank
from recsys_dagster.onboarding.proposal.tables import Column, Table
from recsys_dagster.sql import literal, quoted
from recsys_dagster.steps.prepare.ids import as_ids

SEPARATORS = ("|", ";", ",", " ")
IN_NAMES = (",", " ")
"""Separators that are in the names of things as well."""
LISTS = (list, tuple, np.ndarray)
ELEMENT = re.compile(r"[\w.:/#-]+")
MIN_LISTS = 0.2
"""Of the cells of a column of lists: with more than one element."""
MOSTLY = 0.8


def lists_in(column: Column, others: Sequence[Table]) -> tuple[str, list[Any]] | None:
    """How the lists of a column are taken apart in a query, and the lists.

    A sample decides; only a column that has lists is taken apart whole.
    """
    found = _taken_apart(column, others)
    if found is None:
        return None
    expression, apart = found
    elements = [element for value in column.sample for element in apart(value)]
    if any(isinstance(each, dict) for each in elements):
        is_of_items = bool(fields_of_items(pd.Series(elements, dtype=object)))
    else:
        is_of_items = _are_items(column, elements, others)
    if not is_of_items:
        return None
    try:
        return expression, [apart(value) for value in column.values]
    except (ValueError, SyntaxError):
        return None  # a cell beyond the sample is no list


def _taken_apart(
    column: Column, others: Sequence[Table]
) -> tuple[str, Callable[[Any], list[Any]]] | None:
    """The same of one column whatever is in its lists: in SQL, and in Python."""
    sample = column.sample
    name = quoted(column.name)
    if sample.empty:
        return None
    if isinstance(sample.iloc[0], LISTS):
        return name, lambda value: list(value) if isinstance(value, LISTS) else [None]
    if not isinstance(sample.iloc[0], str):
        return None
    texts = sample.astype("str").str.strip()
    if texts.str.match(r"\[.*\]$").mean() > MOSTLY:
        return _written_lists(name, texts)
    return _separated(name, texts, others)


def _separated(
    name: str, texts: pd.Series, others: Sequence[Table]
) -> tuple[str, Callable[[Any], list[Any]]] | None:
    """Lists with a sign between their elements."""
    for separator in SEPARATORS:
        with_it = texts[texts.str.contains(separator, regex=False)]
        if len(with_it) < MIN_LISTS * len(texts):
            continue
        if _are_known(with_it, others):
            return None  # the separator is a part of the ids
        apart = _splitting(separator)
        elements = [element.strip() for text in texts for element in apart(text)]
        if separator in IN_NAMES and not _are_known(elements, others):
            continue
        if np.mean([ELEMENT.fullmatch(each) is not None for each in elements]) >= 0.95:
            return f"string_split({name}, {literal(separator)})", apart
    return None


def _written_lists(name: str, texts: pd.Series) -> tuple[str, Callable[[Any], list[Any]]] | None:
    """Lists as JSON or Python writes them."""
    forms: tuple[tuple[str, Callable[[str], list[Any]]], ...] = (
        (f"from_json(nullif(trim({name}), ''), '[\"VARCHAR\"]')", json.loads),
        (f"regexp_extract_all({name}, '''([^'']*)''', 1)", _quoted_parts),
        (f"regexp_extract_all({name}, '[^\\[\\], ]+')", _numbers),
    )
    for expression, read in forms:
        apart = _reading(read)
        try:
            elements = [each for text in texts for each in apart(text)]
        except (ValueError, SyntaxError):
            continue
        is_flat = not any(isinstance(each, dict | list) for each in elements)
        return (expression, apart) if is_flat else None
    return None


def _quoted_parts(text: str) -> list[Any]:
    """A list of texts as Python prints it, where all are in single quotes."""
    parts = ast.literal_eval(text)
    if '"' in text or "\\" in text or not all(isinstance(part, str) for part in parts):
        raise ValueError("not between single quotes alone")
    return parts


def _numbers(text: str) -> list[Any]:
    """The same of numbers."""
    parts = ast.literal_eval(text)
    if not all(isinstance(part, int | float) for part in parts):
        raise ValueError("not numbers alone")
    return parts


def _reading(read: Callable[[str], Any]) -> Callable[[Any], list[Any]]:
    return lambda value: list(read(value)) if isinstance(value, str) and value.strip() else [None]


def _splitting(separator: str) -> Callable[[Any], list[Any]]:
    return lambda value: (
        value.split(separator) if isinstance(value, str) and value.strip() else [None]
    )


def _are_items(column: Column, elements: Sequence[Any], others: Sequence[Table]) -> bool:
    """Whether the name of a column, or another table, says that these are items."""
    if not elements:
        return False
    if key_rank(column.name, "item_id") or key_rank(column.name.removesuffix("s"), "item_id"):
        return True
    return _are_known(elements, others)


def _are_known(values: Sequence[Any] | pd.Series, others: Sequence[Table]) -> bool:
    """Whether another table has most of the values in a key with a text beside it."""
    ids = as_ids(pd.Series(values, dtype=object)).dropna().drop_duplicates()
    return len(ids) > 0 and any(
        other_column.is_key_like
        and other_column.uniqueness > 0.98
        and other.has_text_beside(other_column)
        and ids.isin(other_column.counts.index).mean() > MOSTLY
        for other in others
        for other_column in other.columns
    )


def fields_of_items(values: pd.Series) -> list[str]:
    """The fields of structures that an item is among."""
    first = next((each for each in values if isinstance(each, dict)), None)
    if first is None or not any(key_rank(name, "item_id") for name in first):
        return []
    return [name for name, value in first.items() if not isinstance(value, dict | list)]
