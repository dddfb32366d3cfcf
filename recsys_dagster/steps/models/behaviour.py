"""Tables as matrices: positions of ids, sparse user × item matrices."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from scipy import sparse

from recsys_dagster.steps.prepare.histories import MAX_HALF_LIVES

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Behaviour:
    """Histories as sparse matrices over fixed user and item positions.

    Attributes:
        user_ids: user of each row, sorted.
        item_ids: item of each column, sorted: the catalogue's and those only interacted with.
        seen: bool csr (users × items), every pair.
        weights: float32 csr (users × items), recency-decayed weights of the positive pairs.
        recency: float32 csr (users × items), `recencies` of the same pairs.
        ages: float32 csr of the same pairs, days before the newest interaction of all; NaN where
            a pair has no time.
        in_catalogue: bool (items,), whether the catalogue has the item.
        recommendable: bool (items,), whether an item of the catalogue may be in lists.
        cold: bool (items,), items that no interaction says anything of: there is none, or all
            were left out of learning by a minimum.
        first_seen: datetime64[us] (items,), when somebody first interacted with each item; NaT
            where that is not known.
        newest: the last time of all, naive UTC; NaT where no pair has a time.
    """

    user_ids: "pd.Index"
    item_ids: "pd.Index"
    seen: sparse.csr_matrix
    weights: sparse.csr_matrix
    recency: sparse.csr_matrix
    ages: sparse.csr_matrix
    in_catalogue: np.ndarray
    recommendable: np.ndarray
    cold: np.ndarray
    first_seen: np.ndarray
    newest: "pd.Timestamp"

    @property
    def positives(self) -> sparse.csr_matrix:
        """Float32 csr (users × items) of ones, where a pair is positive."""
        return ones(self.weights)

    @property
    def seen_in_catalogue(self) -> np.ndarray:
        """How many items of the catalogue each user has seen, int64 (users,)."""
        return np.diff(self.seen[:, np.flatnonzero(self.in_catalogue)].indptr).astype(np.int64)

    @classmethod
    def of(
        cls,
        histories: pa.Table,
        catalogue: Iterable[str],
        recommendable: Iterable[str] | None = None,
        item_ids: Sequence[str] | None = None,
    ) -> "Behaviour":
        """Build the matrices.

        Positive pairs of weight 0 keep a place with weight 0 in `weights` and 1 in `positives`.

        Args:
            histories: table `histories`.
            catalogue: the item_ids that there are.
            recommendable: those of them that may be recommended now; all where left out.
            item_ids: of the columns, sorted, where they are given; pairs with others are left
                out.
        """
        import pandas as pd

        lists = histories["item_ids"].combine_chunks()
        # Each id once: pairs outnumber items by far, and are counted in numbers from here on.
        encoded = lists.flatten().dictionary_encode()
        named = pd.Index(encoded.dictionary.to_pandas(), dtype="str")
        own = pd.Index(catalogue, dtype="str")
        known = (
            own.union(named).sort_values() if item_ids is None else pd.Index(item_ids, dtype="str")
        )
        columns = known.get_indexer(named)[encoded.indices.to_numpy()]
        rows = np.repeat(np.arange(len(lists)), lists.value_lengths().to_numpy())
        there = columns >= 0
        rows, columns = rows[there], columns[there]
        shape = (len(lists), len(known))

        def values(name: str) -> "pd.Series":
            return histories[name].combine_chunks().flatten().to_pandas()

        last = values("last_timestamps")
        newest = last.max()
        positive = values("positives").to_numpy(dtype=bool)[there]
        places = (rows[positive], columns[positive])

        def of_liked(each: "pd.Series") -> sparse.csr_matrix:
            liked = each.to_numpy(dtype=np.float32)[there][positive]
            return sparse.csr_matrix((liked, places), shape=shape)

        learned_from = ~values("left_out").to_numpy(dtype=bool)[there]
        in_catalogue = known.isin(own)
        first = values("first_timestamps")[there].groupby(columns).min().reindex(range(len(known)))
        return cls(
            _in_one_piece(histories["user_id"]),
            _in_one_piece(pa.array(known, pa.string())),
            sparse.csr_matrix((np.ones(len(rows), dtype=bool), (rows, columns)), shape=shape),
            of_liked(values("weights")),
            of_liked(values("recencies")),
            of_liked((newest - last).dt.total_seconds() / 86_400),
            in_catalogue,
            in_catalogue
            if recommendable is None
            else in_catalogue & known.isin(pd.Index(recommendable, dtype="str")),
            np.bincount(columns[learned_from], minlength=len(known)) == 0,
            first.to_numpy(dtype="datetime64[us]"),
            newest,
        )


def _in_one_piece(ids: pa.StringArray | pa.ChunkedArray) -> "pd.Index":
    """Ids as an index: of one that lies in pieces Arrow makes Python objects for every use."""
    import pandas as pd

    whole = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    return pd.Index(whole.to_pandas(), dtype="str")


@dataclass(frozen=True)
class OneHistory:
    """One user's history, as `Behaviour` would have its row.

    Attributes:
        positives: float32 csr (1 × items) of ones.
        weights: float32 csr (1 × items), decayed.
        recency: float32 csr (1 × items).
    """

    positives: sparse.csr_matrix
    weights: sparse.csr_matrix
    recency: sparse.csr_matrix


def one_history(
    places: np.ndarray,
    weights: np.ndarray,
    days: np.ndarray,
    items: int,
    half_life_days: float,
    order: np.ndarray | None = None,
) -> OneHistory:
    """The row of somebody who likes some items.

    Args:
        places: int64 (h,), positions of the items, none twice.
        weights: float64 (h,), how much each counts.
        days: float64 (h,), when each was, on any scale of days; NaN where unknown.
        items: how many there are.
        half_life_days: days, > 0.
        order: float64 (h,), larger for what came later; `days` where it is left out.
    """
    by_place = np.argsort(places)
    order = (days if order is None else order)[by_place]
    places, weights, days = places[by_place], weights[by_place], days[by_place]
    newest = np.nanmax(days, initial=-np.inf)
    half_lives = np.nan_to_num((newest - days) / half_life_days, nan=0.0)
    decay = 0.5 ** np.minimum(half_lives, MAX_HALF_LIVES)
    later = (order[None, :] > order[:, None]).sum(axis=1)

    values = (np.ones(len(places)), weights * decay, 1 / (1 + later))
    return OneHistory(*(one_row(each.astype(np.float32), places, items) for each in values))


def one_row(values: np.ndarray, places: np.ndarray, items: int) -> sparse.csr_matrix:
    """A matrix of one user, csr (1 × items).

    Args:
        values: (h,), of any dtype.
        places: int64 (h,), positions of items, ascending.
        items: how many there are.
    """
    return sparse.csr_matrix((values, places, np.array([0, len(places)])), shape=(1, items))


def ones(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """The same pairs, each of them 1, float32 csr."""
    same = matrix.copy()
    same.data = np.ones_like(same.data)
    return same


def align(ids: "pd.Index", table_ids: "pd.Series", vectors: np.ndarray) -> np.ndarray:
    """Vectors in the order of `ids`, float32 (len(ids) × d); zeros where the table has none."""
    import pandas as pd

    positions = pd.Index(table_ids).get_indexer(ids)
    aligned = np.zeros((len(ids), vectors.shape[1]), dtype=np.float32)
    has_vector = positions >= 0
    aligned[has_vector] = vectors[positions[has_vector]]
    return aligned
