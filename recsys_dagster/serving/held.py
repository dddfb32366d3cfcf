"""What of a snapshot is in memory: items, lists and neighbours by place, and open histories."""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Lock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recsys_dagster.serving.sorted_ids import SortedIds

BATCH_ROWS = 65_536
WORD = re.compile(r"\w+")


def _strings(function: str, strings: pa.Array, pattern: str) -> np.ndarray:
    options = pc.MatchSubstringOptions(pattern)
    return pc.call_function(function, [strings], options).to_numpy(zero_copy_only=False)


def folded(text: str) -> str:
    """A text for comparing: without case, accents and doubled spaces."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    return " ".join("".join(part for part in parts if not unicodedata.combining(part)).split())


@dataclass(frozen=True)
class HeldItems:
    """The catalogue, the most popular first: those that may be recommended come before the others.

    Attributes:
        item_ids, titles, categories: of each; an empty category is none.
        texts: string array, null where an item has none.
        popularity: float64 (recommendable,), share of the users who like it.
        ages: float64 (items,), days before the newest interaction; NaN where unknown.
        place_of: by item_id.
    """

    item_ids: list[str]
    titles: list[str]
    categories: list[str]
    texts: pa.Array
    popularity: np.ndarray
    ages: np.ndarray
    place_of: dict[str, int] = field(repr=False)

    @classmethod
    def read(cls, folder: Path) -> "HeldItems":
        """Those of a snapshot.

        Args:
            folder: of the snapshot.
        """
        table = pq.read_table(folder / "items.parquet")
        popular = pq.read_table(folder / "popular_items.parquet")
        rank_of = {item_id: rank for rank, item_id in enumerate(popular["item_id"].to_pylist())}
        own = table["item_id"].to_pylist()
        order = sorted(range(len(own)), key=lambda place: rank_of.get(own[place], len(own)))
        table = table.take(pa.array(order, pa.int64())).combine_chunks()
        item_ids = table["item_id"].to_pylist()
        ages = np.full(len(item_ids), np.nan)
        known = popular["age_days"].to_numpy(zero_copy_only=False).astype(np.float64)
        ages[: len(known)] = known
        return cls(
            item_ids,
            table["title"].to_pylist(),
            [category or "" for category in table["category"].to_pylist()],
            table["text"].combine_chunks(),
            popular["score"].to_numpy(),
            ages,
            {item_id: place for place, item_id in enumerate(item_ids)},
        )

    def named(self, place: int) -> tuple[str, str]:
        """The item_id and title of a place."""
        return self.item_ids[place], self.titles[place]

    @cached_property
    def by_lower_title(self) -> dict[str, list[int]]:
        """Places by title in lower case."""
        found: dict[str, list[int]] = {}
        for place, title in enumerate(self.titles):
            found.setdefault(title.lower(), []).append(place)
        return found

    def search(self, words: str) -> np.ndarray:
        """Places of items that words mean, int64, the best first; see `OpenSnapshot.search`."""
        wanted = folded(words)
        if not wanted:
            return np.arange(len(self.item_ids))
        hits = _strings("find_substring", self._folded_titles, wanted)
        word = _strings("match_substring", self._spaced_titles, f" {wanted}")
        ids = _strings("starts_with", self._ids, words)
        found = np.flatnonzero((hits >= 0) | ids)
        class_ = np.select([ids[found] | (hits[found] == 0), word[found]], [0, 1], 2)
        return found[np.lexsort((found, class_))]

    @cached_property
    def _ids(self) -> pa.Array:
        return pa.array(self.item_ids, pa.string())

    @cached_property
    def _folded_titles(self) -> pa.Array:
        return pa.array([folded(title) for title in self.titles], pa.string())

    @cached_property
    def _spaced_titles(self) -> pa.Array:
        words = [" ".join(WORD.findall(title)) for title in self._folded_titles.to_pylist()]
        return pa.array([f" {each}" for each in words], pa.string())

    def places(self, item_ids: pa.Array, lacking: dict[str, int]) -> np.ndarray:
        """Places of ids, int32; of those that are none of ours -1 and below.

        Args:
            item_ids: string array.
            lacking: takes the ids that are none of ours, in the order of their places.
        """
        found = pc.call_function("index_in", [item_ids], pc.SetLookupOptions(self._ids))
        places = found.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int32)
        unknown = found.is_null().to_numpy(zero_copy_only=False)
        if unknown.any():
            strange = item_ids.filter(pa.array(unknown)).to_pylist()
            places[unknown] = [-1 - lacking.setdefault(each, len(lacking)) for each in strange]
        return places


@dataclass(frozen=True)
class HeldNeighbours:
    """Neighbours of each item: those of item i are starts[i] to starts[i + 1]."""

    starts: np.ndarray
    items: np.ndarray
    similarities: np.ndarray


def read_neighbours(folder: Path, items: HeldItems) -> HeldNeighbours:
    """The neighbours of a snapshot's items, all of which the catalogue has.

    Args:
        folder: of the snapshot.
        items: its own.
    """
    table = pq.read_table(
        folder / "item_neighbours.parquet",
        columns=["item_id", "neighbour_item_id", "similarity", "rank"],
    ).combine_chunks()
    of, neighbours = (
        items.places(table[name].combine_chunks(), {}) for name in ("item_id", "neighbour_item_id")
    )
    order = np.lexsort((table["rank"].to_numpy(), of))
    return HeldNeighbours(
        np.append(0, np.cumsum(np.bincount(of, minlength=len(items.item_ids)))),
        neighbours[order],
        table["similarity"].to_numpy().astype(np.float32)[order],
    )


@dataclass(frozen=True)
class HeldLists:
    """Rows of all users, flat; 41 bytes a row with three reasons.

    Attributes:
        users: who has rows.
        starts: int64 (users + 1,), the rows of user u are starts[u] to starts[u + 1].
        items: int32 (rows,), places of items.
        scores: float32 (rows,), which is what they were before they were written.
        strategies: uint8 (rows,), places in `names`.
        names: of strategies.
        because_starts: int64 (rows + 1,).
        because_items: int32 (reasons,), places of items; below 0 of what the catalogue lacks.
        because_shares: float32 (reasons,).
        lacking: item_ids of reasons that the catalogue lacks; the place -1 is the first's.
    """

    users: SortedIds
    starts: np.ndarray
    items: np.ndarray
    scores: np.ndarray
    strategies: np.ndarray
    names: Sequence[str]
    because_starts: np.ndarray
    because_items: np.ndarray
    because_shares: np.ndarray
    lacking: Sequence[str]


def read_lists(folder: Path, items: HeldItems) -> HeldLists:
    """The lists, batch by batch, so that text of ids is never there for all rows at once.

    Args:
        folder: of the snapshot.
        items: its own.

    Raises:
        UserError: users are not in order.
    """
    file = folder / "recommendations.parquet"
    users, counts, parts = [], [], _Parts()
    names: list[str] = []
    lacking: dict[str, int] = {}
    for batch in _batches(file):
        runs = pc.call_function("run_end_encode", [batch["user_id"]])
        ends = runs.run_ends.to_numpy()
        own = runs.values
        lengths = np.diff(ends, prepend=0)
        if users and len(own) and users[-1][-1].as_py() == own[0].as_py():
            counts[-1][-1] += lengths[0]
            own, lengths = own[1:], lengths[1:]
        if len(own):
            users.append(own)
            counts.append(lengths.astype(np.int64))
        strategy = batch["strategy"].dictionary_encode()
        known = strategy.dictionary.to_pylist()
        names += [name for name in known if name not in names]
        renamed = np.array([names.index(name) for name in known], dtype=np.uint8)
        because = batch["because"]
        reasons = because.flatten()
        parts.add(
            items.places(batch["item_id"], lacking),
            batch["score"].to_numpy().astype(np.float32),
            renamed[strategy.indices.to_numpy()],
            because.value_lengths().to_numpy(),
            items.places(reasons.field("item_id"), lacking),
            reasons.field("share").to_numpy().astype(np.float32),
        )
    item, score, strategy, lengths, because_items, shares = parts.together()
    return HeldLists(
        SortedIds(users, str(file)),
        np.append(0, np.cumsum(np.concatenate([np.empty(0, dtype=np.int64), *counts]))),
        item,
        score,
        strategy,
        names,
        np.append(0, np.cumsum(lengths, dtype=np.int64)),
        because_items,
        shares,
        list(lacking),
    )


def _batches(file: Path) -> Iterator[pa.RecordBatch]:
    columns = ["user_id", "item_id", "score", "strategy", "because"]
    with pq.ParquetFile(file) as rows:
        yield from rows.iter_batches(BATCH_ROWS, columns=columns)


class _Parts:
    """Columns that grow batch by batch."""

    def __init__(self) -> None:
        self._columns: list[list[np.ndarray]] = [
            [np.empty(0, dtype=dtype)] for dtype in ("i4", "f4", "u1", "i8", "i4", "f4")
        ]

    def add(self, *columns: np.ndarray) -> None:
        for parts, column in zip(self._columns, columns, strict=True):
            parts.append(column)

    def together(self) -> Iterator[np.ndarray]:
        for parts in self._columns:
            yield np.concatenate(parts)
            parts.clear()


class HeldHistories:
    """What users did, read from the file when somebody asks: it is as large as all interactions.

    The file stays open, so that it can be read also when its name is gone.
    """

    def __init__(self, file: Path) -> None:
        self._file = pq.ParquetFile(file, memory_map=True)
        self._one_at_a_time = Lock()
        groups = self._file.metadata.num_row_groups
        place = self._file.schema_arrow.get_field_index("user_id")
        statistics = [
            self._file.metadata.row_group(group).column(place).statistics for group in range(groups)
        ]
        # Parquet keeps no bounds where an id has more than 4,096 bytes.
        self._last = [
            known.max if known is not None and known.has_min_max else self._last_of(group)
            for group, known in enumerate(statistics)
        ]

    def _last_of(self, group: int) -> str:
        return self._file.read_row_group(group, columns=["user_id"])["user_id"][-1].as_py()

    def of(self, user_id: str) -> pa.Table:
        """The user's row, or none."""
        place = bisect_left(self._last, user_id)
        if place == len(self._last):
            return self._file.schema_arrow.empty_table()
        with self._one_at_a_time:
            rows = self._file.read_row_group(place)
        return rows.filter(pc.field("user_id") == user_id)
