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

    Attributes:
        positions: int64 (b,), the users' rows in the matrices the model was fitted on.
        positives: float32 csr (b × items) of ones.
        weights: float32 csr (b × items), decayed weights of the same pairs.
    """

    positions: np.ndarray
    positives: sparse.csr_matrix
    weights: sparse.csr_matrix


class Model(Protocol):
    """A fitted strategy."""

    @property
    def strategy(self) -> str:
        """Its name."""
        ...

    def score(self, block: UserBlock) -> np.ndarray:
        """Scores, float32 (b × items), `NOT_RANKED` where the model has none."""
        ...

    def contributions(
        self, block: UserBlock, row: int, items: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """What each history item adds to the score of `items` for the block's user `row`.

        Returns:
            positions of the user's history items (h,), and their contributions, float32
            (h × len(items)); h may be 0 where the strategy does not rest on a history.
        """
        ...


def history_of(matrix: sparse.csr_matrix, row: int) -> tuple[np.ndarray, np.ndarray]:
    """Item positions and values of one row of a csr matrix."""
    start, end = matrix.indptr[row], matrix.indptr[row + 1]
    return matrix.indices[start:end], matrix.data[start:end]


@dataclass(frozen=True)
class ItemWeightsModel:
    """Every strategy of the form x·B: a user's history times item-item weights.

    Attributes:
        strategy: its name.
        weights: B, float32 (items × items), dense or csr; B_ji is what history item j says of i.
    """

    strategy: str
    weights: np.ndarray | sparse.csr_matrix

    def score(self, block: UserBlock) -> np.ndarray:
        """x·B; users without a history are not ranked, nor is an item that nothing speaks for."""
        scores = block.positives @ self.weights
        if sparse.issparse(scores):
            dense = np.full(scores.shape, NOT_RANKED, dtype=np.float32)
            scores = scores.tocoo()
            dense[scores.row, scores.col] = scores.data
            return dense
        scores = np.asarray(scores, dtype=np.float32)
        scores[np.diff(block.positives.indptr) == 0] = NOT_RANKED
        return scores

    def contributions(
        self, block: UserBlock, row: int, items: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows of B: B_ji for history items j."""
        history, _ = history_of(block.positives, row)
        if sparse.issparse(self.weights):
            return history, self.weights[history][:, items].toarray()
        return history, self.weights[np.ix_(history, items)]
