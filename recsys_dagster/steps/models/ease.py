"""ease: a closed-form linear autoencoder on behaviour alone.

Harald Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019.
"""

import numpy as np
from scipy import sparse

from recsys_dagster.steps.models.base import ItemWeightsModel
from recsys_dagster.steps.models.inverse import regularised_inverse
from recsys_dagster.steps.models.memory import require_memory

GRAM_ROWS = 512


def fit_ease(positives: sparse.csr_matrix, regularisation: float) -> ItemWeightsModel:
    """P = (XᵀX + λI)⁻¹, B_ij = −P_ij / P_jj, zero diagonal.

    Items without a positive pair have zero rows and columns in B, whatever λ: they are left out of
    the inverse.

    Args:
        positives: X, csr (users × items).
        regularisation: λ > 0.

    Raises:
        UserError: there is not the memory for it.
    """
    items = positives.shape[1]
    liked = np.flatnonzero(np.bincount(positives.indices, minlength=items))
    require_memory("ease", len(liked), items)
    inverse = regularised_inverse(gram(positives[:, liked]), regularisation)
    inverse /= -np.diag(inverse).copy()
    np.fill_diagonal(inverse, 0)
    weights = np.zeros((len(liked), items), dtype=np.float32)
    weights[:, liked] = inverse
    return ItemWeightsModel("ease", weights, liked)


def gram(positives: sparse.csr_matrix) -> np.ndarray:
    """XᵀX, dense float32 (items × items)."""
    items = positives.shape[1]
    product = np.empty((items, items), dtype=np.float32)
    transposed = positives.T.tocsr()
    # By blocks: the sparse product of a much used catalog is three times the size of the dense.
    for start in range(0, items, GRAM_ROWS):
        rows = slice(start, start + GRAM_ROWS)
        product[rows] = (transposed[rows] @ positives).toarray()
    return product
