"""Lists for histories that no run has seen: the snapshot's model, asked in this process.

The same steps as in a run, on one history: rows and reasons are those that a run would give it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from scipy import sparse

from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.errors import UnknownNameError, UserError, did_you_mean
from recsys_dagster.snapshots.model_files import read_arrays
from recsys_dagster.snapshots.reader import ItemColumns, Reason, Row
from recsys_dagster.steps.embed.user_vectors import user_vectors
from recsys_dagster.steps.lists.recommendations import Lists, lists_of
from recsys_dagster.steps.lists.reranking import Reranking
from recsys_dagster.steps.models.base import UserBlock
from recsys_dagster.steps.models.behaviour import OneHistory, one_history
from recsys_dagster.steps.models.kept import KeptModel
from recsys_dagster.steps.similarity.space import Space
from recsys_dagster.steps.similarity.tables import similarity_matrix

Encode = Callable[[str], np.ndarray]


class Published(Protocol):
    """What is asked of a snapshot, from its files or in memory; see `Snapshot`."""

    @property
    def manifest(self) -> Mapping[str, Any]:
        """Run, counts, settings."""
        ...

    @property
    def model_folder(self) -> Path:
        """Where the model lies."""
        ...

    def items(self) -> ItemColumns:
        """The catalogue."""
        ...

    def recommendable(self) -> list[str]:
        """The items that lists may hold."""
        ...

    def popular(self, n: int) -> list[Row]:
        """The n most popular items."""
        ...

    def find_item(self, item: str) -> tuple[str, str]:
        """The item_id and title of an item by its id or title."""
        ...


class FoldIn:
    """A snapshot's model and all else that a list needs, loaded once.

    Raises:
        UserError: the snapshot has no model, or it is damaged.
    """

    def __init__(self, snapshot: Published) -> None:
        about = snapshot.manifest["model"]
        self._snapshot = snapshot
        self._catalog = catalog = Catalog.model_validate(snapshot.manifest["settings"])
        self._model = KeptModel.load(
            read_arrays(snapshot.model_folder), about["strategy"], about["settings"]
        )
        ids = self._model.item_ids
        self._position = {item_id: position for position, item_id in enumerate(ids)}
        self._catalogue = known = np.flatnonzero(self._model.in_catalogue)
        self._space = Space.of(self._model.item_vectors[known], catalog.similarity, catalog.centre)
        self._items = items = snapshot.items()
        self._titles = dict(zip(items.item_ids.tolist(), items.titles.tolist(), strict=True))
        places = (self._position.get(item_id) for item_id in snapshot.recommendable())
        self._recommendable = np.zeros(len(ids), dtype=bool)
        self._recommendable[[place for place in places if place is not None]] = True
        self._reranking = Reranking.of(
            catalog.rules,
            ids,
            {
                "item_id": items.item_ids,
                "category": items.categories,
                "age_days": items.age_days,
            },
            self._model.item_vectors,
            self._model.in_catalogue,
            catalog.centre,
        )

    def rows(
        self,
        history: Sequence[str],
        weights: Sequence[float] | None,
        times: Sequence[datetime] | None,
        text: str | None,
        n: int,
    ) -> list[Row]:
        """The list of somebody with a history, a text, or both; see `Snapshot.fold_in`."""
        if n < 1:
            raise UserError(f"n: expected at least 1; found {n}.")
        if not history and text is None:
            return self._snapshot.popular(n)
        known = self.history(history, weights, times)
        vector = None
        if text is not None and self.compares_text(known):
            vector = self._encode(text)
        return self.list_for(known, known.positives.astype(bool), n, vector)

    def compares_text(self, known: OneHistory) -> bool:
        """Whether a text makes a difference to the list of a history."""
        return self._model.strategy.name == "content" or known.positives.nnz == 0

    def list_for(
        self,
        known: OneHistory,
        seen: sparse.csr_matrix,
        n: int,
        text_vector: np.ndarray | None = None,
        among: np.ndarray | None = None,
    ) -> list[Row]:
        """The list of one history.

        Args:
            known: what they like.
            seen: bool csr (1 × items), what they must not get.
            n: rows, at least 1.
            text_vector: float32 (d,), of their text; None where there is none.
            among: bool (items,), the only items that may be in the list; all where left out.
        """
        has_history = known.positives.nnz > 0
        similar = self._nothing_similar
        if self.compares_text(known):
            similar = self._similar(known.weights, text_vector)
        block = UserBlock(known.positives, known.weights, known.recency, similar)
        lists = lists_of(
            self._model.fitted,
            block,
            np.zeros(1, dtype=np.int64),
            seen,
            self._recommendable if among is None else self._recommendable & among,
            n,
            self._reranking,
        )
        strategy = self._model.strategy
        return self._as_rows(lists, strategy.name if has_history else strategy.without_history)

    def history(
        self,
        history: Sequence[str],
        weights: Sequence[float] | None,
        times: Sequence[datetime] | None,
    ) -> OneHistory:
        """The history by positions; weights of a repeated item add up, its newest time counts.

        Where no times are given and the strategy needs an order, it is the one given.

        Args:
            history: item_ids or titles.
            weights: float (h,), from 0 up; all 1 where left out.
            times: of each, UTC where there is no zone.

        Raises:
            UserError: an item that is not known, or numbers that do not fit.
        """
        given = np.array([self.place(item) for item in history], dtype=np.int64)
        numbers, days = _numbers(weights, len(given)), _days(times, len(given))
        places, which = np.unique(given, return_inverse=True)
        newest = np.full(len(places), -np.inf)
        with np.errstate(invalid="ignore"):  # unknown days stay unknown
            np.maximum.at(newest, which, days)
        order = None
        if times is None and self._model.needs_order:
            order = np.zeros(len(places))
            np.maximum.at(order, which, np.arange(len(given), dtype=np.float64))
        return one_history(
            places,
            np.bincount(which, numbers, minlength=len(places)),
            newest,
            self.items,
            self._catalog.users.half_life_days,
            order,
        )

    @property
    def items(self) -> int:
        """How many items the model scores."""
        return len(self._position)

    @property
    def positions(self) -> Mapping[str, int]:
        """The model's position of each item_id that it scores."""
        return self._position

    def place(self, item: str) -> int:
        """The model's position of an item.

        Raises:
            UserError: there is no such item, or the model does not know it yet.
        """
        if item not in self._position:
            item, title = self._snapshot.find_item(item)
            if item not in self._position:
                raise UserError(f"{title!r} ({item}) is new since the model was fitted.")
        return self._position[item]

    def of_categories(self, categories: Collection[str]) -> np.ndarray:
        """Which items are of one of the categories, bool (items,).

        Raises:
            UnknownNameError: no item is of one of them.
        """
        wanted = np.zeros(self.items, dtype=bool)
        for name in categories:
            if name not in self._of_category:
                raise UnknownNameError(
                    f"No item is of the category {name!r}."
                    f"{did_you_mean(name, sorted(self._of_category))}"
                )
            wanted[self._of_category[name]] = True
        return wanted

    @cached_property
    def _of_category(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        columns = self._items.item_ids.tolist(), self._items.categories.tolist()
        for item_id, category in zip(*columns, strict=True):
            if category and item_id in self._position:
                found.setdefault(category, []).append(self._position[item_id])
        return found

    @cached_property
    def _nothing_similar(self) -> sparse.csr_matrix:
        return sparse.csr_matrix((1, len(self._position)), dtype=np.float32)

    def _similar(
        self, weights: sparse.csr_matrix, text_vector: np.ndarray | None
    ) -> sparse.csr_matrix:
        """The row that the similarity matrix would have."""
        settings, vectors = self._catalog.users, self._model.item_vectors
        of_text = np.zeros((1, vectors.shape[1]), dtype=np.float32)
        if text_vector is not None:
            of_text[0] = text_vector
        made = user_vectors(weights, vectors, of_text, settings.vectors, settings.text_share)
        if not made.has_vector[0]:
            return self._nothing_similar
        seen = int(self._model.in_catalogue[weights.indices].sum())
        entries = similarity_matrix(
            self._space.project(made.vectors),
            self._projected,
            np.array([seen]),
            self._catalog.matrix_width,
            self._catalog.similarity,
        )
        return sparse.csr_matrix(
            (entries.similarities, (entries.rows, self._catalogue[entries.columns])),
            shape=(1, len(self._position)),
        )

    @cached_property
    def _encode(self) -> Encode:
        return query_encoder(self._snapshot.manifest)

    @cached_property
    def _projected(self) -> np.ndarray:
        return self._space.project(self._model.item_vectors[self._catalogue])

    def _as_rows(self, lists: Lists, strategy: str) -> list[Row]:
        ids, because = self._model.item_ids, lists.because

        def named(place: int) -> tuple[str, str]:
            return ids[place], self._titles.get(ids[place], ids[place])

        return [
            Row(
                *named(item),
                score,
                rank,
                "popular" if filled else strategy,
                [
                    Reason(*named(because.items[at]), float(because.shares[at]))
                    for at in range(because.offsets[row], because.offsets[row + 1])
                ],
            )
            for row, (item, score, rank, filled) in enumerate(
                zip(
                    lists.items.tolist(),
                    lists.scores.tolist(),
                    lists.ranks.tolist(),
                    lists.filled.tolist(),
                    strict=True,
                )
            )
        ]


def require_kept_encoder(manifest: Mapping[str, Any]) -> None:
    """See that a snapshot's encoder is one that is there outside of runs.

    Raises:
        UserError: it is fitted anew in every run.
    """
    if manifest["settings"]["encoder"]["model"] == "tfidf":
        raise UserError(
            "text: the encoder tfidf is fitted in every run and not kept, so a text cannot be "
            "compared: give a history, or use a sentence-transformers encoder."
        )


def query_encoder(manifest: Mapping[str, Any]) -> Encode:
    """What encodes a text as a run would encode a profile, by a snapshot's manifest.

    Raises:
        UserError: the encoder is fitted anew in every run, or is not the one of the snapshot.
    """
    # Late: they load torch and pandas.
    from recsys_dagster.resources.encoder import TextEncoder, load_encoder
    from recsys_dagster.steps.prepare.texts import clean_text

    catalog = Catalog.model_validate(manifest["settings"])
    require_kept_encoder(manifest)
    now = load_encoder(TextEncoder(), catalog, "document").fingerprint
    then = manifest["encoder"]["fingerprint"]
    if now != then:
        raise UserError(
            f"text: the encoder {catalog.encoder.model} is another one here ({now[:12]}) than that "
            f"of the snapshot ({then[:12]}): publish again, with: recsys run {catalog.name}"
        )
    encoder = load_encoder(TextEncoder(), catalog, "query")

    def encode(text: str) -> np.ndarray:
        ((_, vectors),) = encoder.encode([clean_text(text)])
        return vectors[0]

    return encode


def _numbers(weights: Sequence[float] | None, items: int) -> np.ndarray:
    numbers = np.ones(items) if weights is None else np.asarray(weights, dtype=np.float64)
    _same_length("weights", len(numbers), items)
    if not (np.isfinite(numbers) & (numbers >= 0)).all():
        raise UserError(f"weights: expected finite numbers from 0 up; found {numbers.tolist()}.")
    return numbers


def _days(times: Sequence[datetime] | None, items: int) -> np.ndarray:
    """When each was, in days, as UTC; NaN where no times are given."""
    if times is None:
        return np.full(items, np.nan)
    _same_length("times", len(times), items)
    aware = [time if time.tzinfo else time.replace(tzinfo=UTC) for time in times]
    return np.array([time.timestamp() / 86_400 for time in aware], dtype=np.float64)


def _same_length(name: str, found: int, expected: int) -> None:
    if found != expected:
        raise UserError(f"{name}: expected one for each of {expected} items; found {found}.")
