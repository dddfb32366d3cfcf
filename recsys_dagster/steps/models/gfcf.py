"""gfcf: a graph filter on who likes what, nothing is trained.

Shen, Wu, Zhang, Shan, Zhang, Letaief, Li: How Powerful is Graph Convolution for Recommendation?,
CIKM 2021.
"""

import numpy as np
from scipy import sparse

from recsys_dagster.steps.models.base import ItemWeightsModel, widened
from recsys_dagster.steps.models.ease import GRAM_ROWS, gram
from recsys_dagster.steps.models.memory import require_memory

LOW_PASS_RANK = 256
LOW_PASS_WEIGHT = np.float32(0.3)
POWER_ITERATIONS = 3
"""Of the randomised SVD: of RᵀR they do what twice as many would do of R."""


def fit_gfcf(positives: sparse.csr_matrix) -> ItemWeightsModel:
    """GF-CF; items without a positive pair have zero rows and columns.

    Args:
        positives: X, csr (users × items).

    Raises:
        UserError: there is not the memory for it.
    """
    items = positives.shape[1]
    liked = np.flatnonzero(np.bincount(positives.indices, minlength=items))
    require_memory("gfcf", len(liked), items)
    learned = gfcf_weights(positives[:, liked])
    return ItemWeightsModel("gfcf", widened(learned, liked, items), liked)


def gfcf_weights(positives: sparse.csr_matrix) -> np.ndarray:
    """W = RᵀR + a·D_I^-½ V Vᵀ D_I^½ with R = D_U^-½ X D_I^-½ and a = .3, zero diagonal.

    D_U and D_I hold the numbers of pairs of users and items, and V is the top right singular
    vectors of R, at most 256: those of RᵀR, which is there already, whatever the number of users.
    The paper keeps the diagonal; it only tells of items that a user has seen.

    Args:
        positives: X, csr (users × items).

    Returns:
        float32 (items × items).
    """
    # Late: a code location is loaded for every run.
    from sklearn.utils.extmath import randomized_svd

    W = gram(_normalised(positives))
    if not len(W):
        return W
    _, _, V = randomized_svd(W, min(LOW_PASS_RANK, len(W)), n_iter=POWER_ITERATIONS, random_state=0)
    root = np.sqrt(np.maximum(positives.sum(axis=0), 1)).A1
    left, right = LOW_PASS_WEIGHT * V.T / root[:, None], V * root
    for start in range(0, len(W), GRAM_ROWS):
        rows = slice(start, start + GRAM_ROWS)
        W[rows] += left[rows] @ right
    np.fill_diagonal(W, 0)
    return W


def _normalised(positives: sparse.csr_matrix) -> sparse.csr_matrix:
    of_user, of_item = (np.maximum(positives.sum(axis=axis), 1).A1 for axis in (1, 0))
    return sparse.csr_matrix(sparse.diags(of_user**-0.5) @ positives @ sparse.diags(of_item**-0.5))
