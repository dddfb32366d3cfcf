"""ease: a closed-form linear autoencoder on behaviour alone.

Harald Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019.
"""

import numpy as np
from scipy import sparse
from scipy.linalg import lapack

from recsys_dagster.steps.models.base import ItemWeightsModel


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


def regularised_inverse(matrix: np.ndarray, regularisation: float) -> np.ndarray:
    """(A + λI)⁻¹ of a symmetric positive semidefinite A by one Cholesky factorisation.

    Args:
        matrix: float32 or float64 (n × n); its memory is used for the result.
        regularisation: λ > 0.

    Raises:
        ValueError: A + λI is not positive definite.
    """
    matrix[np.diag_indices_from(matrix)] += regularisation
    potrf, potri = (
        (lapack.spotrf, lapack.spotri)
        if matrix.dtype == np.float32
        else (lapack.dpotrf, lapack.dpotri)
    )
    # A C-ordered symmetric matrix is its own Fortran-ordered transpose: no copy is made.
    factor, failed = potrf(matrix.T, lower=1, overwrite_a=1)
    if failed:
        raise ValueError(
            f"the matrix is not positive definite at row {failed} with a regularisation of "
            f"{regularisation}: a larger one is needed"
        )
    inverse, _ = potri(factor, lower=1, overwrite_c=1)
    return _mirror(inverse)


def _mirror(lower: np.ndarray, block: int = 1024) -> np.ndarray:
    """The symmetric matrix of a lower triangle, in place, block by block."""
    n = len(lower)
    for start in range(0, n, block):
        end = min(start + block, n)
        diagonal = np.tril(lower[start:end, start:end])
        lower[start:end, start:end] = diagonal + np.tril(diagonal, -1).T
        lower[start:end, end:] = lower[end:, start:end].T
    return np.ascontiguousarray(lower.T)
