"""content: the items nearest to the user, as the similarity matrix says."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import sparse
from threadpoolctl import threadpool_limits

from recsys_dagster.steps.models.base import NOT_RANKED, UserBlock


def kept_scores(similarity: sparse.csr_matrix) -> np.ndarray:
    """Rows of the similarity matrix as scores, float32 (b × items); what it lacks is not ranked."""
    rows = similarity.tocoo()
    scores = np.full(rows.shape, NOT_RANKED, dtype=np.float32)
    scores[rows.row, rows.col] = rows.data
    return scores


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
        return kept_scores(self.similarity[block.positions])

    def contributions(self, block: UserBlock, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """w_uj v_j·v_i: the parts of the inner product of the user's vector and the item's."""
        starts, weights = block.weights.indptr, block.weights.data
        history = block.weights.indices
        parts = [np.empty(0, dtype=np.float32)]
        firsts = np.flatnonzero(np.diff(rows, prepend=-1))
        # A product a user reads each vector once, not once for every pair; they are too small for
        # threads, which wait for each other when other work shares the cores.
        with threadpool_limits(1):
            for first, end in pairwise([*firsts, len(rows)]):
                own = slice(starts[rows[first]], starts[rows[first] + 1])
                products = self.item_vectors[items[first:end]] @ self.item_vectors[history[own]].T
                parts.append((products * weights[own]).ravel())
        return np.concatenate(parts)
