"""Lists for histories that no run has seen: the snapshot's model, asked in this process.

The same steps as in a run, on one history: rows and reasons are those that a run would give it.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.errors import UserError
from recsys_dagster.snapshots.model_files import read_arrays
from recsys_dagster.snapshots.reader import Reason, Row, Snapshot
from recsys_dagster.steps.embed.user_vectors import user_vectors
from recsys_dagster.steps.lists.recommendations import Lists, lists_of
from recsys_dagster.steps.lists.reranking import Reranking
from recsys_dagster.steps.models.base import UserBlock
from recsys_dagster.steps.models.behaviour import OneHistory, one_history
from recsys_dagster.steps.models.kept import KeptModel
from recsys_dagster.steps.similarity.nearest import Space
from recsys_dagster.steps.similarity.tables import similarity_matrix

Encode = Callable[[str], np.ndarray]


class FoldIn:
    """A snapshot's model and all else that a list needs, loaded once.

    Raises:
        UserError: the snapshot has no model, or it is damaged.
    """

    def __init__(self, snapshot: Snapshot) -> None:
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
        items = snapshot.items()
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
        known = self._history(history, weights, times)
        similar = self._nothing_similar
        if self._model.strategy.name == "content" or not history:
            similar = self._similar(known.weights, text)
        block = UserBlock(known.positives, known.weights, known.recency, similar)
        lists = lists_of(
            self._model.fitted,
            block,
            np.zeros(1, dtype=np.int64),
            known.positives.astype(bool),
            self._recommendable,
            n,
            self._reranking,
        )
        without = self._model.strategy.without_history
        return self._as_rows(lists, self._model.strategy.name if history else without)

    def _history(
        self,
        history: Sequence[str],
        weights: Sequence[float] | None,
        times: Sequence[datetime] | None,
    ) -> OneHistory:
        """The history by positions; weights of a repeated item add up, its newest time counts.

        Where no times are given and the strategy needs an order, it is the one given.
        """
        given = np.array([self._place(item) for item in history], dtype=np.int64)
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
            len(self._position),
            self._catalog.users.half_life_days,
            order,
        )

    def _place(self, item: str) -> int:
        if item not in self._position:
            item, title = self._snapshot.find_item(item)
            if item not in self._position:
                raise UserError(f"{title!r} ({item}) is new since the model was fitted.")
        return self._position[item]

    @cached_property
    def _nothing_similar(self) -> sparse.csr_matrix:
        return sparse.csr_matrix((1, len(self._position)), dtype=np.float32)

    def _similar(self, weights: sparse.csr_matrix, text: str | None) -> sparse.csr_matrix:
        """The row that the similarity matrix would have."""
        settings, vectors = self._catalog.users, self._model.item_vectors
        of_text = np.zeros((1, vectors.shape[1]), dtype=np.float32)
        if text is not None:
            of_text[0] = self._encode(text)
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


def query_encoder(manifest: Mapping[str, Any]) -> Encode:
    """What encodes a text as a run would encode a profile, by a snapshot's manifest.

    Raises:
        UserError: the encoder is fitted anew in every run, or is not the one of the snapshot.
    """
    # Late: they load torch and pandas.
    from recsys_dagster.resources.encoder import TextEncoder, load_encoder
    from recsys_dagster.steps.prepare.texts import clean_text

    catalog = Catalog.model_validate(manifest["settings"])
    if catalog.encoder.model == "tfidf":
        raise UserError(
            "text: the encoder tfidf is fitted in every run and not kept, so a text cannot be "
            "compared: give a history, or use a sentence-transformers encoder."
        )
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
