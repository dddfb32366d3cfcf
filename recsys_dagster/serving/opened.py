"""A snapshot in memory: the same answers as from its files, without a query."""

from functools import cached_property

import numpy as np
import pyarrow as pa

from recsys_dagster.errors import UserError
from recsys_dagster.serving.held import HeldHistories, HeldItems, read_lists, read_neighbours
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

LIKE = 50
"""Items whose names are compared with one that nothing has, for each of its words."""


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
        try:
            self._items = HeldItems.read(snapshot.path)
            self._lists = read_lists(snapshot.path, self._items)
            self._neighbours = read_neighbours(snapshot.path, self._items)
            self._histories = HeldHistories(snapshot.path / "histories.parquet")
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
        return [self._popular(place) for place in range(min(n, len(self._items.popularity)))]

    def popularity_of(self, item_id: str) -> Row | None:
        """The item's row among the popular ones; None where lists may not hold it."""
        place = self._items.place_of.get(item_id)
        if place is None or place >= len(self._items.popularity):
            return None
        return self._popular(place)

    def _popular(self, place: int) -> Row:
        items = self._items
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

    def search(self, words: str, n: int) -> list[tuple[str, str]]:
        """Items by the beginning of an id, or words in a title, whatever case and accents.

        Titles that begin with what is asked come first, then those with a word that does, then
        those that have it anywhere; among them the more popular.

        Returns:
            item_id and title, at most n.
        """
        items = self._items
        return [items.named(place) for place in items.search(words)[:n].tolist()]

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
