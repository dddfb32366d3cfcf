"""Tables as matrices: positions of ids, sparse user × item matrices."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    import pandas as pd

MAX_HALF_LIVES = 100
"""Nothing decays further: in float32 a weight would become 0, and its user have no history."""


@dataclass(frozen=True)
class Behaviour:
    """Interactions as sparse matrices over fixed user and item positions.

    Attributes:
        user_ids: user of each row, sorted.
        item_ids: item of each column, sorted: the catalogue's and those only interacted with.
        seen: bool csr (users × items), every pair.
        weights: float32 csr (users × items), recency-decayed weights of the positive pairs.
        recency: float32 csr of the same pairs, 1 / (1 + how many of the user's positive pairs came
            later), by time, by position where there is no time; 1 where there is neither.
        ages: float32 csr of the same pairs, days before the newest interaction of all; NaN where
            a pair has no time.
        in_catalogue: bool (items,), whether the items table has the item.
        recommendable: bool (items,), whether an item of the catalogue is available.
        cold: bool (items,), items that no interaction says anything of: there is none, or all
            were left out of learning by a minimum.
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

    @property
    def positives(self) -> sparse.csr_matrix:
        """Float32 csr (users × items) of ones, where a pair is positive."""
        return ones(self.weights)

    @classmethod
    def of(
        cls,
        interactions: "pd.DataFrame",
        user_ids: "pd.Series",
        items: "pd.DataFrame",
        half_life_days: float,
        half_life_positions: float,
        item_ids: Sequence[str] | None = None,
    ) -> "Behaviour":
        """Build the matrices.

        A weight is halved for every `half_life_days` before the user's own last interaction, or
        for every `half_life_positions` steps where the interaction has a position and no time, at
        most 100 times; a pair with neither is not decayed. Positive pairs of weight 0 keep a place
        with weight 0 in `weights` and 1 in `positives`.

        Args:
            interactions: table `interactions`.
            user_ids: all users to serve; every user of `interactions` is among them.
            items: table `items`; its item_id and available are read.
            half_life_days: days, > 0.
            half_life_positions: steps, > 0.
            item_ids: of the columns, sorted, where they are given; pairs with others are left
                out.
        """
        import pandas as pd

        users = pd.Index(user_ids).sort_values()
        catalogue = pd.Index(items["item_id"])
        if item_ids is None:
            known = catalogue.union(pd.Index(interactions["item_id"].unique())).sort_values()
        else:
            known = pd.Index(item_ids, dtype="str")
            interactions = interactions[interactions["item_id"].isin(known)]
        rows = users.get_indexer(interactions["user_id"])
        columns = known.get_indexer(interactions["item_id"])
        shape = (len(users), len(known))
        half_lives = _half_lives(interactions, half_life_days, half_life_positions)
        decay = 0.5 ** np.minimum(half_lives, MAX_HALF_LIVES)
        positive = interactions["positive"].to_numpy(dtype=bool)
        liked, pairs = interactions[positive], (rows[positive], columns[positive])
        ages = _days(interactions["last_timestamp"].max() - liked["last_timestamp"])

        def of_liked(values: np.ndarray) -> sparse.csr_matrix:
            return sparse.csr_matrix((values.astype(np.float32), pairs), shape=shape)

        left_out = interactions["left_out"].to_numpy(dtype=bool)
        unavailable = items.loc[~items["available"].astype(bool), "item_id"]
        in_catalogue = known.isin(catalogue)
        return cls(
            users,
            known,
            sparse.csr_matrix((np.ones(len(rows), dtype=bool), (rows, columns)), shape=shape),
            of_liked((interactions["weight"].to_numpy() * decay)[positive]),
            of_liked(1 / (1 + _later(liked))),
            of_liked(ages.to_numpy()),
            in_catalogue,
            in_catalogue & ~known.isin(unavailable),
            np.bincount(columns[~left_out], minlength=len(known)) == 0,
        )


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
    places: np.ndarray, weights: np.ndarray, days: np.ndarray, items: int, half_life_days: float
) -> OneHistory:
    """The row of somebody who likes some items.

    Args:
        places: int64 (h,), positions of the items, none twice.
        weights: float64 (h,), how much each counts.
        days: float64 (h,), when each was, on any scale of days; NaN where unknown.
        items: how many there are.
        half_life_days: days, > 0.
    """
    order = np.argsort(places)
    places, weights, days = places[order], weights[order], days[order]
    newest = np.nanmax(days, initial=-np.inf)
    half_lives = np.nan_to_num((newest - days) / half_life_days, nan=0.0)
    decay = 0.5 ** np.minimum(half_lives, MAX_HALF_LIVES)
    later = (days[None, :] > days[:, None]).sum(axis=1)

    def row(values: np.ndarray) -> sparse.csr_matrix:
        found = (values.astype(np.float32), places, np.array([0, len(places)]))
        return sparse.csr_matrix(found, shape=(1, items))

    return OneHistory(row(np.ones(len(places))), row(weights * decay), row(1 / (1 + later)))


def ones(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """The same pairs, each of them 1, float32 csr."""
    same = matrix.copy()
    same.data = np.ones_like(same.data)
    return same


def _half_lives(
    interactions: "pd.DataFrame", half_life_days: float, half_life_positions: float
) -> np.ndarray:
    """How many half-lives each interaction lies before the user's last one, float64."""
    by_user = interactions["user_id"]
    time = interactions["last_timestamp"]
    days = _days(time.groupby(by_user).transform("max") - time)
    steps = interactions["last_position"].groupby(by_user).rank("dense", ascending=False) - 1
    return (days / half_life_days).fillna(steps / half_life_positions).fillna(0.0).to_numpy()


def _later(pairs: "pd.DataFrame") -> np.ndarray:
    """How many of a user's pairs came after each one, float64; ties came together."""
    by_user = pairs["user_id"]
    by_time, by_position = (
        pairs[order].groupby(by_user).rank("min", ascending=False) - 1
        for order in ("last_timestamp", "last_position")
    )
    return by_time.fillna(by_position).fillna(0.0).to_numpy()


def _days(durations: "pd.Series") -> "pd.Series":
    return durations.dt.total_seconds() / 86_400


def align(ids: "pd.Index", table_ids: "pd.Series", vectors: np.ndarray) -> np.ndarray:
    """Vectors in the order of `ids`, float32 (len(ids) × d); zeros where the table has none."""
    import pandas as pd

    positions = pd.Index(table_ids).get_indexer(ids)
    aligned = np.zeros((len(ids), vectors.shape[1]), dtype=np.float32)
    has_vector = positions >= 0
    aligned[has_vector] = vectors[positions[has_vector]]
    return aligned
