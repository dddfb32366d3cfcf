"""Semantic transfer: how much items without interactions are lent by those with near texts."""

import numpy as np
from scipy import sparse

from recsys_dagster.steps.models.base import MAX_EXACT_PAIRS
from recsys_dagster.steps.similarity.nearest import index_for, top_k
from recsys_dagster.steps.similarity.space import Space

NEIGHBOURS = 100
SHARPNESS = 3


def transfer_shares(cold_vectors: np.ndarray, warm_vectors: np.ndarray) -> sparse.csr_matrix:
    """How much each warm item lends to each cold one, float32 csr (cold × warm).

    w_ij ∝ max(cos(F_i, F_j), 0)³ over the 100 nearest warm items with Σ_j w_ij = 1; nothing where
    a cold item has no neighbour of positive cosine. No zero is stored.
    """
    space = Space.of(warm_vectors, "cosine", centre=False)
    cold, warm = space.project(cold_vectors), space.project(warm_vectors)
    index = index_for(cold, warm, NEIGHBOURS, "cosine", MAX_EXACT_PAIRS)
    neighbours = top_k(cold, warm, NEIGHBOURS, "cosine", index=index)
    shares = np.maximum(neighbours.similarities, 0) ** SHARPNESS
    totals = shares.sum(axis=1, keepdims=True)
    shares = np.divide(shares, totals, out=np.zeros_like(shares), where=totals > 0)
    starts = np.arange(0, shares.size + 1, shares.shape[1])
    lent = sparse.csr_matrix(
        (shares.ravel(), neighbours.positions.ravel(), starts),
        shape=(len(cold_vectors), len(warm_vectors)),
    )
    lent.eliminate_zeros()
    return lent


def lent_to(
    cold: np.ndarray, learned: np.ndarray, vectors: np.ndarray
) -> tuple[np.ndarray, sparse.csr_matrix]:
    """Which cold items are lent something by those that were learned of, and how much by each.

    Args:
        cold: int64 (m,), positions.
        learned: int64 (n,), positions.
        vectors: float32 (items × d), as the encoder gave them; zero rows have no text.

    Returns:
        Those of `cold`, int64 (l,); and csr (l × n), no row empty.
    """
    if not len(cold) or not len(learned):
        return cold[:0], sparse.csr_matrix((0, len(learned)), dtype=np.float32)
    shares = transfer_shares(vectors[cold], vectors[learned])
    lent = np.flatnonzero(np.diff(shares.indptr))
    return cold[lent], shares[lent]
