"""ease: a closed-form linear autoencoder on behaviour alone.

Harald Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019.
"""

import numpy as np
from scipy import sparse

from recsys_dagster.steps.models.base import ItemWeightsModel
from recsys_dagster.steps.models.inverse import regularised_inverse


def fit_ease(positives: sparse.csr_matrix, regularisation: float) -> ItemWeightsModel:
    """P = (XᵀX + λI)⁻¹, B_ij = −P_ij / P_jj, zero diagonal.

    Args:
        positives: X, csr (users × items).
        regularisation: λ > 0.
    """
    inverse = regularised_inverse(gram(positives), regularisation)
    inverse /= -np.diag(inverse).copy()
    np.fill_diagonal(inverse, 0)
    return ItemWeightsModel("ease", inverse)


def gram(positives: sparse.csr_matrix) -> np.ndarray:
    """XᵀX, dense float32 (items × items)."""
    return (positives.T @ positives).toarray().astype(np.float32, copy=False)
