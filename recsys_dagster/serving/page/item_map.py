"""The map of items: points for the script, and the same in words."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recsys_dagster.serving.opened import OpenSnapshot
from recsys_dagster.serving.page.naming import category_of, title_of
from recsys_dagster.snapshots.reader import Row

MAP_POINTS = 20_000
MAP_ROWS = 30
COLOURED = 8
"""Categories with a colour of their own: more cannot be told apart."""


@dataclass(frozen=True)
class MapPage:
    """The map in words.

    Attributes:
        shown: items on it.
        items: with a place at all.
        categories: those with a colour, the most frequent first, and how many items are of each.
        others: items of other categories, or none.
        rows: popular items, each with its category and what is nearest.
    """

    shown: int
    items: int
    categories: Sequence[tuple[str, int]]
    others: int
    rows: Sequence[tuple[Row, str, Sequence[Row]]]


def map_page(snapshot: OpenSnapshot) -> MapPage:
    """What the map shows, in words."""
    ids = _mapped(snapshot)
    coloured = _coloured(snapshot, ids)
    return MapPage(
        len(ids),
        len(snapshot.item_map().item_ids),
        coloured,
        len(ids) - sum(items for _, items in coloured),
        [
            (row, snapshot.category_of(row.item_id), snapshot.similar(row.item_id, 3))
            for row in snapshot.popular(MAP_ROWS)
        ],
    )


def map_points(snapshot: OpenSnapshot) -> dict[str, Any]:
    """The map for the script: columns of equal length, the most popular items first.

    `category` is a place in `categories`; -1 for all that have no colour.
    """
    columns = snapshot.item_map()
    place = {item: at for at, item in enumerate(columns.item_ids.tolist())}
    ids = _mapped(snapshot)
    names = [name for name, _ in _coloured(snapshot, ids)]
    number = {name: at for at, name in enumerate(names)}
    at = np.array([place[item] for item in ids], dtype=np.int64)
    return {
        "categories": names,
        "ids": ids,
        "titles": [title_of(snapshot, item) or item for item in ids],
        "x": np.round(columns.x[at], 4).tolist(),
        "y": np.round(columns.y[at], 4).tolist(),
        "category": [number.get(category_of(snapshot, item), -1) for item in ids],
    }


def _mapped(snapshot: OpenSnapshot) -> list[str]:
    """Items of the map, the most popular first, as many as are drawn."""
    placed = set(snapshot.item_map().item_ids.tolist())
    ordered = snapshot.items().item_ids.tolist()
    return [item for item in ordered if item in placed][:MAP_POINTS]


def _coloured(snapshot: OpenSnapshot, item_ids: Collection[str]) -> list[tuple[str, int]]:
    counts: dict[str, int] = {}
    for item in item_ids:
        name = category_of(snapshot, item)
        if name:
            counts[name] = counts.get(name, 0) + 1
    return sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:COLOURED]
