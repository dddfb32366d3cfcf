"""hybrid: L3AE and GF-CF for the items people know, semantic transfer for the cold ones."""

import numpy as np
from scipy import sparse

from recsys_dagster.steps.models.base import ItemWeightsModel, widened
from recsys_dagster.steps.models.gfcf import gfcf_weights
from recsys_dagster.steps.models.l3ae import l3ae_weights
from recsys_dagster.steps.models.memory import require_memory
from recsys_dagster.steps.similarity.nearest import Space, top_k

SAMPLE_USERS = 1000
ROUNDING = 1e-5
"""Scores of GF-CF that vary less are rounding errors of float32."""
TRANSFER_NEIGHBOURS = 100
TRANSFER_SHARPNESS = 3
BLOCK_ROWS = 128


def fit_hybrid(
    positives: sparse.csr_matrix,
    item_vectors: np.ndarray,
    cold: np.ndarray,
    *,
    gfcf_weight: float = 0.0,
    cold_boost: float,
    **settings: float,
) -> ItemWeightsModel:
    """Weights learned from the warm items, and transferred to the cold ones.

    B = B_l3ae + w·(σ / σ')·W_gfcf, σ and σ' the standard deviations of the scores of both: as one
    matrix, what scores histories and names contributions need not know of two models. What cold
    items are lent is GF-CF's columns, or L3AE's where there is no GF-CF: they say more of items
    that look alike (amazon-games, cold among cold: N@20 .116 against .101).

    A cold item is in nobody's history that models learn from, so B has rows for warm items only:
    float32 (warm × items).

    Args:
        positives: X, csr (users × items).
        item_vectors: float32 (items × d), as the encoder gave them; zero rows have no text.
        cold: bool (items,), items that no interaction says anything of.
        gfcf_weight: share of GF-CF in the blend; 0 leaves it out.
        cold_boost: factor on the cold columns, > 0.
        settings: those of `l3ae_weights`.

    Raises:
        UserError: there is not the memory for it.
    """
    warm = np.flatnonzero(~cold)
    require_memory("hybrid", len(warm), len(cold))
    X = positives[:, warm]
    learned = l3ae_weights(X, item_vectors[warm], **settings)
    weights = widened(learned, warm, len(cold))
    if gfcf_weight and X.nnz:
        deviation = score_deviation(X, learned)
        del learned  # two such matrices are all there ever is
        learned = blend_in_gfcf(weights, warm, X, gfcf_weight, deviation)
    if cold.any() and len(warm):
        shares = transfer_shares(item_vectors[cold], item_vectors[warm])
        transfer_to_cold(weights, learned, shares, np.flatnonzero(cold), cold_boost)
    return ItemWeightsModel("hybrid", weights, warm)


def blend_in_gfcf(
    weights: np.ndarray, warm: np.ndarray, positives: sparse.csr_matrix, share: float, scale: float
) -> np.ndarray:
    """Add GF-CF, brought to the scale of the others' scores, to the warm columns in place.

    Args:
        weights: B, float32 (warm × items).
        warm: int64 (warm,), its warm columns.
        positives: X, csr (users × warm).
        share: weight of GF-CF.
        scale: the standard deviation of scores x·B.

    Returns:
        What was added, before its weight: float32 (warm × warm). B's own warm columns where GF-CF
        knows of no two items that go together, and nothing is added.
    """
    others = gfcf_weights(positives)
    deviation = score_deviation(positives, others)
    if deviation < ROUNDING:
        return weights[:, warm]
    others *= np.float32(scale / deviation)
    for start in range(0, len(weights), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        weights[rows, warm] += np.float32(share) * others[rows]
    return others


def score_deviation(positives: sparse.csr_matrix, weights: np.ndarray) -> float:
    """The standard deviation of scores x·B over some users: what a model's scores are divided by.

    Args:
        positives: X, csr (users × items), with a user who has a history; at most 1,000 of these
            are looked at, evenly spread.
        weights: B, float32 (items × items).
    """
    users = np.flatnonzero(np.diff(positives.indptr))
    sample = users[:: max(1, len(users) // SAMPLE_USERS)][:SAMPLE_USERS]
    return float(np.std(positives[sample] @ weights, dtype=np.float64))


def transfer_shares(cold_vectors: np.ndarray, warm_vectors: np.ndarray) -> sparse.csr_matrix:
    """How much each warm item lends to each cold one, float32 csr (cold × warm).

    w_ij ∝ max(cos(F_i, F_j), 0)³ over the 100 nearest warm items with Σ_j w_ij = 1; zeros where a
    cold item has no neighbour of positive cosine.
    """
    space = Space.of(warm_vectors, "cosine", centre=False)
    neighbours = top_k(
        space.project(cold_vectors), space.project(warm_vectors), TRANSFER_NEIGHBOURS, "cosine"
    )
    shares = np.maximum(neighbours.similarities, 0) ** TRANSFER_SHARPNESS
    totals = shares.sum(axis=1, keepdims=True)
    shares = np.divide(shares, totals, out=np.zeros_like(shares), where=totals > 0)
    starts = np.arange(0, shares.size + 1, shares.shape[1])
    return sparse.csr_matrix(
        (shares.ravel(), neighbours.positions.ravel(), starts),
        shape=(len(cold_vectors), len(warm_vectors)),
    )


def transfer_to_cold(
    weights: np.ndarray,
    learned: np.ndarray,
    shares: sparse.csr_matrix,
    cold: np.ndarray,
    cold_boost: float,
) -> None:
    """Give each cold item the columns of its semantic neighbours, in place.

    B_·i = Σ_j w_ij (L_·j + t·e_j), with t the mean over columns of max |L|: the neighbours
    themselves count as much as the strongest thing ever learned about them.

    Args:
        weights: B, float32 (warm × items), whose cold columns are filled.
        learned: L, the columns that are lent, float32 (warm × warm).
        shares: w, csr (cold × warm).
        cold: int64 (cold,), the columns to fill.
        cold_boost: factor on the transferred columns.
    """
    itself = np.maximum(learned.max(axis=0), -learned.min(axis=0)).mean()
    lent = shares.T.tocsr()
    # By rows of B: all cold columns at once would take the memory of B again.
    for start in range(0, len(weights), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        columns = (shares @ learned[rows].T).T + itself * lent[rows].toarray()
        weights[rows, cold] = cold_boost * columns
