"""What a model is: it scores every item for a block of users, and says which history did it."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import sparse

NOT_RANKED = np.float32(-np.inf)
"""The score of an item that a model has no opinion on; such items are filled from `popular`."""


@dataclass(frozen=True)
class UserBlock:
    """Some users' histories.

    Models score these histories and not the users: one that was not in the fit is scored by the
    same call, and alike. Only `content` looks users up, by their positions.

    Attributes:
        positions: int64 (b,), the users' rows in the matrices the model was fitted on; anything
            where they have none.
        positives: float32 csr (b × items) of ones.
        weights: float32 csr (b × items), decayed weights of the same pairs, in the same order.
        recency: float32 csr (b × items), how recent the same pairs are, as `Behaviour` has it;
            None where no order is known.
    """

    positions: np.ndarray
    positives: sparse.csr_matrix
    weights: sparse.csr_matrix
    recency: sparse.csr_matrix | None = None

    @property
    def lengths(self) -> np.ndarray:
        """How many items each history has, int (b,)."""
        return np.diff(self.positives.indptr)

    def discounted(self, power: float) -> sparse.csr_matrix:
        """The histories with each pair as recency ** power, float32 csr (b × items)."""
        if self.recency is None or not power:
            return self.positives
        histories = self.recency.copy()
        histories.data **= np.float32(power)
        return histories

    def entries(self, rows: np.ndarray) -> np.ndarray:
        """Where the histories of the users `rows`, one after the other, lie in the csr arrays.

        Returns:
            int64 (e,) with e = lengths[rows].sum(), positions in `positives.indices`.
        """
        lengths = self.lengths[rows]
        ends = np.cumsum(lengths)
        return np.arange(lengths.sum()) + np.repeat(
            self.positives.indptr[rows] - (ends - lengths), lengths
        )


class Model(Protocol):
    """A fitted strategy."""

    @property
    def strategy(self) -> str:
        """Its name."""
        ...

    def score(self, block: UserBlock) -> np.ndarray:
        """Scores, float32 (b × items), `NOT_RANKED` where the model has none."""
        ...

    def contributions(self, block: UserBlock, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """What each history item of a user adds to the score of an item, pair by pair.

        Args:
            block: the users.
            rows: int64 (p,), users as rows of the block, ascending.
            items: int64 (p,), the item of each pair.

        Returns:
            float32 (e,), aligned to `block.entries(rows)`; zeros where the strategy does not rest
            on a history.
        """
        ...


def widened(learned: np.ndarray, columns: np.ndarray, items: int) -> np.ndarray:
    """Weights (h × h) between the items `columns`, as float32 (h × items), zero elsewhere."""
    weights = np.zeros((len(learned), items), dtype=np.float32)
    weights[:, columns] = learned
    return weights


@dataclass(frozen=True)
class ItemWeightsModel:
    """Every strategy of the form x·B: a user's history times item-item weights.

    Attributes:
        strategy: its name.
        weights: B, float32 (h × items), dense or csr; B_ji is what history item j says of i.
        history_items: int64 (h,), the items that the rows of B stand for; a history's other items
            say nothing.
        recency_power: x is recency ** recency_power; 0 counts all of a history alike.
        prior: float32 (items,), what is said of an item before any history; it is divided by the
            cube of the number of a user's likes. None says nothing.
    """

    strategy: str
    weights: np.ndarray | sparse.csr_matrix
    history_items: np.ndarray
    recency_power: float = 0.0
    prior: np.ndarray | None = None

    def score(self, block: UserBlock) -> np.ndarray:
        """x·B + prior / n³; users without a history are not ranked.

        Of a csr B, neither is an item that nothing speaks for.
        """
        histories = block.discounted(self.recency_power)[:, self.history_items]
        scores = histories @ self.weights
        if sparse.issparse(scores):
            dense = np.full(scores.shape, NOT_RANKED, dtype=np.float32)
            scores = scores.tocoo()
            dense[scores.row, scores.col] = scores.data
            return dense
        scores = np.asarray(scores, dtype=np.float32)
        if self.prior is not None:
            scores += self.prior / np.maximum(block.lengths, 1).astype(np.float32)[:, None] ** 3
        scores[np.diff(histories.indptr) == 0] = NOT_RANKED
        return scores

    def contributions(self, block: UserBlock, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """x_j·B_ji for history items j."""
        row_of_item = np.full(block.positives.shape[1], -1)
        row_of_item[self.history_items] = np.arange(len(self.history_items))
        entries = block.entries(rows)
        history = row_of_item[block.positives.indices[entries]]
        items = np.repeat(items, block.lengths[rows])
        known = history >= 0
        parts = np.zeros(len(history), dtype=np.float32)
        if known.any():  # of a csr matrix, no entries would come as a matrix
            parts[known] = np.asarray(self.weights[history[known], items[known]]).ravel()
            parts *= block.discounted(self.recency_power).data[entries]
        return parts
