"""content: the items nearest to the user, as the similarity matrix says."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from recsys_dagster.steps.models.base import NOT_RANKED, UserBlock, history_of


@dataclass(frozen=True)
class ContentModel:
    """Ranks by the stored user-item similarity.

    Attributes:
        similarity: float32 csr (users × items), the entries that the similarity matrix keeps;
            a kept similarity of 0 is an explicit entry.
        item_vectors: float32 (items × d), projected into the space of the similarity.
    """

    similarity: sparse.csr_matrix
    item_vectors: np.ndarray
    strategy: str = "content"

    def score(self, block: UserBlock) -> np.ndarray:
        """The matrix's rows; what it does not keep is not ranked."""
        rows = self.similarity[block.positions].tocoo()
        scores = np.full(rows.shape, NOT_RANKED, dtype=np.float32)
        scores[rows.row, rows.col] = rows.data
        return scores

    def contributions(
        self, block: UserBlock, row: int, items: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """w_uj v_j·v_i: the parts of the inner product of the user's vector and the item's."""
        history, weights = history_of(block.weights, row)
        parts = self.item_vectors[history] @ self.item_vectors[items].T
        return history, weights[:, None] * parts
