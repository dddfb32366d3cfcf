"""hybrid: L3AE for the items people know, semantic transfer for the cold ones."""

import numpy as np
from scipy import sparse

from recsys_dagster.steps.models.base import ItemWeightsModel
from recsys_dagster.steps.models.l3ae import l3ae_weights
from recsys_dagster.steps.similarity import Space, top_k

TRANSFER_NEIGHBOURS = 100
TRANSFER_SHARPNESS = 3


def fit_hybrid(
    positives: sparse.csr_matrix,
    item_vectors: np.ndarray,
    cold: np.ndarray,
    *,
    regularisation: float,
    semantic_weight: float,
    semantic_regularisation: float,
    cold_boost: float,
) -> ItemWeightsModel:
    """Learned weights, with the columns of cold items transferred from their neighbours.

    Args:
        positives: X, csr (users × items).
        item_vectors: float32 (items × d), as the encoder gave them; zero rows have no text.
        cold: bool (items,), items without any interaction.
        regularisation: λ of L3AE.
        semantic_weight: λ_E of L3AE.
        semantic_regularisation: λ_F of L3AE.
        cold_boost: factor on the cold columns, > 0.
    """
    weights = l3ae_weights(
        positives,
        item_vectors,
        regularisation=regularisation,
        semantic_weight=semantic_weight,
        semantic_regularisation=semantic_regularisation,
    )
    if cold.any() and not cold.all():
        transfer_to_cold(weights, item_vectors, cold, cold_boost)
    return ItemWeightsModel("hybrid", weights)


def transfer_to_cold(
    weights: np.ndarray, item_vectors: np.ndarray, cold: np.ndarray, cold_boost: float
) -> None:
    """Give each cold item the learned columns of its semantic neighbours, in place.

    B_·i = Σ_j w_ij (B_·j + t·e_j), w_ij ∝ max(cos(F_i, F_j), 0)³ over the 100 nearest warm items
    with Σ_j w_ij = 1, and t the mean over warm columns of max |B|: the neighbours themselves count
    as much as the strongest thing ever learned about them. A cold item with no neighbour of
    positive cosine keeps a zero column.

    Args:
        weights: B, float32 (items × items).
        item_vectors: float32 (items × d).
        cold: bool (items,), at least one of each kind.
        cold_boost: factor on the transferred columns.
    """
    warm_positions, cold_positions = np.flatnonzero(~cold), np.flatnonzero(cold)
    space = Space.of(item_vectors[warm_positions], "cosine", centre=False)
    neighbours = top_k(
        space.project(item_vectors[cold_positions]),
        space.project(item_vectors[warm_positions]),
        TRANSFER_NEIGHBOURS,
        "cosine",
    )
    shares = np.maximum(neighbours.similarities, 0) ** TRANSFER_SHARPNESS
    totals = shares.sum(axis=1, keepdims=True)
    shares = np.divide(shares, totals, out=np.zeros_like(shares), where=totals > 0)
    width = shares.shape[1]
    transfer = sparse.csr_matrix(
        (
            shares.ravel(),
            neighbours.positions.ravel(),
            np.arange(0, shares.size + 1, width),
        ),
        shape=(len(cold_positions), len(warm_positions)),
    )
    warm_weights = weights[np.ix_(warm_positions, warm_positions)]
    itself = np.abs(warm_weights).max(axis=0).mean()
    columns = (transfer @ warm_weights.T).T + itself * transfer.T.toarray()
    weights[:, cold_positions] = 0
    weights[np.ix_(warm_positions, cold_positions)] = cold_boost * columns
