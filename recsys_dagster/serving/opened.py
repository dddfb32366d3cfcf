"""A snapshot in memory: the same answers as from its files, without a query."""

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

from recsys_dagster.errors import UserError
from recsys_dagster.serving.sorted_ids import SortedIds
from recsys_dagster.snapshots.fold_in import FoldIn
from recsys_dagster.snapshots.reader import (
    History,
    ItemColumns,
    MapColumns,
    Reason,
    Row,
    Snapshot,
    several_items,
    unknown_item,
)

BATCH_ROWS = 65_536
LIKE = 50
WORD = re.compile(r"\w+")


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


class OpenSnapshot:
    """A snapshot whose lists, items, neighbours and model are in memory, read once.

    Its answers are those of `Snapshot`. Nothing in it changes, so that threads may share it, and
    whoever holds it goes on with it when another one is published or its files are deleted.

    Attributes:
        manifest: of the snapshot.
        folding: asks its model.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        """Read a snapshot.

        Raises:
            UserError: a file is missing or damaged, or the model is.
        """
        self.manifest, self.model_folder = snapshot.manifest, snapshot.model_folder
        self._snapshot = snapshot
        try:
            self._items = _Items.read(snapshot.path)
            self._lists = _read_lists(snapshot.path, self._items)
            self._neighbours = _read_neighbours(snapshot.path, self._items)
            self._histories = _Histories(snapshot.path / "histories.parquet")
            self._map = snapshot.item_map()
        except (OSError, pa.ArrowException) as error:
            raise UserError(f"{snapshot.path}: the snapshot cannot be read: {error}") from None
        self.folding = FoldIn(self)
        # What a model makes of its arrays when it first scores is made before anybody waits.
        self.folding.rows(self.recommendable()[:1], None, None, None, 1)

    @property
    def name(self) -> str:
        """The snapshot's own name, which begins with the time of its making."""
        return self.manifest["snapshot"]

    @property
    def list_length(self) -> int:
        """Rows that a run gave to a user."""
        return self.manifest["settings"]["list_length"]

    @cached_property
    def live_files(self) -> frozenset[str]:
        """The files of interactions told to a server that its run had read."""
        return frozenset(self.manifest["live_files"])

    @property
    def ranks_by_profile(self) -> bool:
        """Whether users with a profile text are ranked by it, whatever they did."""
        settings = self.manifest["settings"]
        of_users = settings["users"]
        by_content = self.manifest["model"]["strategy"] == "content"
        return by_content and of_users["text"] is not None and of_users["vectors"] != "history"

    def knows(self, user_id: str) -> bool:
        """Whether the user has a list of their own."""
        return self._lists.users.position(user_id) is not None

    def users_beginning_with(self, start: str, n: int) -> list[str]:
        """Users with lists whose id begins so, in the order of their ids, at most n."""
        return self._lists.users.beginning_with(start, n)

    def some_users(self, n: int) -> list[str]:
        """A few users who have a list, the same ones every time, spread over all."""
        users = self._lists.users
        places = np.unique(np.linspace(0, len(users) - 1, n).astype(int)) if len(users) else []
        return [users[int(place)] for place in places]

    def recommend(self, user_id: str, n: int) -> list[Row]:
        """A user's first n rows; an unknown user gets the popular items."""
        user = self._lists.users.position(user_id)
        if user is None:
            return self.popular(n)
        lists, items = self._lists, self._items
        first, end = lists.starts[user], lists.starts[user + 1]
        rows = range(int(first), int(min(end, first + n)))
        return [
            Row(
                *items.named(lists.items[row]),
                float(lists.scores[row]),
                rank,
                lists.names[lists.strategies[row]],
                [
                    Reason(*self._reason(lists.because_items[at]), float(lists.because_shares[at]))
                    for at in range(lists.because_starts[row], lists.because_starts[row + 1])
                ],
            )
            for rank, row in enumerate(rows, start=1)
        ]

    def _reason(self, place: int) -> tuple[str, str]:
        """The item_id and title of a reason; an item that the catalogue lacks has no title."""
        if place >= 0:
            return self._items.named(place)
        item_id = self._lists.lacking[-1 - place]
        return item_id, item_id

    def popular(self, n: int) -> list[Row]:
        """The n most popular items."""
        items = self._items
        return [
            Row(*items.named(place), float(items.popularity[place]), place + 1, "popular", [])
            for place in range(min(n, len(items.popularity)))
        ]

    def popularity_of(self, item_id: str) -> Row | None:
        """The item's row among the popular ones; None where lists may not hold it."""
        items = self._items
        place = items.place_of.get(item_id, len(items.popularity))
        if place >= len(items.popularity):
            return None
        return Row(*items.named(place), float(items.popularity[place]), place + 1, "popular", [])

    def similar(self, item: str, n: int) -> list[Row]:
        """An item's n nearest neighbours; see `Snapshot.similar`."""
        item_id, title = self.find_item(item)
        neighbours, place = self._neighbours, self._items.place_of[item_id]
        first, end = neighbours.starts[place], neighbours.starts[place + 1]
        because = [Reason(item_id, title, 1.0)]
        return [
            Row(
                *self._items.named(neighbours.items[at]),
                float(neighbours.similarities[at]),
                rank,
                "similar_items",
                because,
            )
            for rank, at in enumerate(range(int(first), int(min(end, first + n))), start=1)
        ]

    def find_item(self, item: str) -> tuple[str, str]:
        """The item_id and title of an item by its id or title; see `Snapshot.find_item`."""
        items = self._items
        if item in items.place_of:
            return items.named(items.place_of[item])
        found = items.by_lower_title.get(item.lower(), [])
        if len(found) == 1:
            return items.named(found[0])
        if found:
            raise several_items(item, sorted(items.item_ids[place] for place in found)[:5])
        raise unknown_item(item, self._like(item), self.manifest["catalog"])

    def _like(self, wanted: str) -> list[tuple[str, str]]:
        """Some items whose titles have words of what is wanted, or begin as it does.

        Comparing a name with every title would take seconds where there are many.
        """
        words = [wanted, wanted[:3], *wanted.split()[:5]]
        found = {named for word in words for named in self.search(word, LIKE)}
        return sorted(found)

    def has_item(self, item_id: str) -> bool:
        """Whether the catalogue has an item of this id."""
        return item_id in self._items.place_of

    def category_of(self, item_id: str) -> str:
        """The category of an item; empty where it has none."""
        return self._items.categories[self._items.place_of[item_id]]

    def text_of(self, item_id: str) -> str | None:
        """The text that stands for an item in the encoder; None where there is none."""
        return self._items.texts[self._items.place_of[item_id]].as_py()

    @property
    def categories(self) -> list[str]:
        """Every category, in alphabetical order."""
        return sorted(set(self._items.categories) - {""})

    def search(self, words: str, n: int) -> list[tuple[str, str]]:
        """Items by the beginning of an id, or words in a title, whatever case and accents.

        Titles that begin with what is asked come first, then those with a word that does, then
        those that have it anywhere; among them the more popular.

        Returns:
            item_id and title, at most n.
        """
        wanted, items = folded(words), self._items
        if not wanted:
            return [items.named(place) for place in range(min(n, len(items.item_ids)))]
        hits = _strings("find_substring", items.folded_titles, wanted)
        word = _strings("match_substring", items.spaced_titles, f" {wanted}")
        ids = _strings("starts_with", items.ids, words)
        found = np.flatnonzero((hits >= 0) | ids)
        class_ = np.select([ids[found] | (hits[found] == 0), word[found]], [0, 1], 2)
        order = np.lexsort((found, class_))[:n]
        return [items.named(place) for place in found[order]]

    def history_row(self, user_id: str) -> pa.Table:
        """The user's row of the table `histories`, or none."""
        return self._histories.of(user_id)

    def history(self, user_id: str) -> History | None:
        """What a user did; see `Snapshot.history`."""
        row = self.history_row(user_id)
        return History.of(row) if row.num_rows else None

    def item_map(self) -> MapColumns:
        """Items on a plane; see `Snapshot.item_map`."""
        return self._map

    def items(self) -> ItemColumns:
        """The catalogue, the most popular first."""
        items = self._items
        columns = (items.item_ids, items.titles, items.categories)
        return ItemColumns(*(np.array(each, dtype=object) for each in columns), items.ages)

    def recommendable(self) -> list[str]:
        """The items that lists may hold, the most popular first."""
        return self._items.item_ids[: len(self._items.popularity)]


def _strings(function: str, strings: pa.Array, pattern: str) -> np.ndarray:
    options = pc.MatchSubstringOptions(pattern)
    return pc.call_function(function, [strings], options).to_numpy(zero_copy_only=False)


def folded(text: str) -> str:
    """A text for comparing: without case, accents and doubled spaces."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    return " ".join("".join(part for part in parts if not unicodedata.combining(part)).split())


@dataclass(frozen=True)
class _Items:
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
    def read(cls, folder: Path) -> "_Items":
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
        return self.item_ids[place], self.titles[place]

    @cached_property
    def by_lower_title(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for place, title in enumerate(self.titles):
            found.setdefault(title.lower(), []).append(place)
        return found

    @cached_property
    def ids(self) -> pa.Array:
        return pa.array(self.item_ids, pa.string())

    @cached_property
    def folded_titles(self) -> pa.Array:
        return pa.array([folded(title) for title in self.titles], pa.string())

    @cached_property
    def spaced_titles(self) -> pa.Array:
        words = [" ".join(WORD.findall(title)) for title in self.folded_titles.to_pylist()]
        return pa.array([f" {each}" for each in words], pa.string())

    def places(self, item_ids: pa.Array) -> np.ndarray:
        """Places of ids, int32; every one is an item's."""
        found = pc.call_function("index_in", [item_ids], pc.SetLookupOptions(self.ids))
        return found.to_numpy(zero_copy_only=False).astype(np.int32)

    def places_or(self, lacking: dict[str, int], item_ids: pa.Array) -> np.ndarray:
        """Places of ids, int32; of those that are none of ours -1 and below, kept in `lacking`."""
        found = pc.call_function("index_in", [item_ids], pc.SetLookupOptions(self.ids))
        places = found.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int32)
        unknown = found.is_null().to_numpy(zero_copy_only=False)
        if unknown.any():
            strange = item_ids.filter(pa.array(unknown)).to_pylist()
            places[unknown] = [-1 - lacking.setdefault(each, len(lacking)) for each in strange]
        return places


@dataclass(frozen=True)
class _Neighbours:
    """Neighbours of each item: those of item i are starts[i] to starts[i + 1]."""

    starts: np.ndarray
    items: np.ndarray
    similarities: np.ndarray


def _read_neighbours(folder: Path, items: _Items) -> _Neighbours:
    table = pq.read_table(
        folder / "item_neighbours.parquet",
        columns=["item_id", "neighbour_item_id", "similarity", "rank"],
    ).combine_chunks()
    of, neighbours = (
        items.places(table[name].combine_chunks()) for name in ("item_id", "neighbour_item_id")
    )
    order = np.lexsort((table["rank"].to_numpy(), of))
    return _Neighbours(
        np.append(0, np.cumsum(np.bincount(of, minlength=len(items.item_ids)))),
        neighbours[order],
        table["similarity"].to_numpy().astype(np.float32)[order],
    )


def _read_lists(folder: Path, items: _Items) -> HeldLists:
    """The lists, batch by batch, so that text of ids is never there for all rows at once."""
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
            items.places(batch["item_id"]),
            batch["score"].to_numpy().astype(np.float32),
            renamed[strategy.indices.to_numpy()],
            because.value_lengths().to_numpy(),
            items.places_or(lacking, reasons.field("item_id")),
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


class _Histories:
    """What users did, read from the file when somebody asks: it is as large as all interactions.

    The file stays open, so that it can be read also when its name is gone.
    """

    def __init__(self, file: Path) -> None:
        self._file = pq.ParquetFile(file, memory_map=True)
        self._one_at_a_time = Lock()
        groups = self._file.metadata.num_row_groups
        place = self._file.schema_arrow.get_field_index("user_id")
        self._last = [
            self._file.metadata.row_group(group).column(place).statistics.max
            for group in range(groups)
        ]

    def of(self, user_id: str) -> pa.Table:
        """The user's row, or none."""
        place = bisect_left(self._last, user_id)
        if place == len(self._last):
            return self._file.schema_arrow.empty_table()
        with self._one_at_a_time:
            rows = self._file.read_row_group(place)
        return rows.filter(pc.field("user_id") == user_id)
