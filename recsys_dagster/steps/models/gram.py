"""XᵀX, how often two items are liked by the same user, and its regularised inverse."""

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from recsys_dagster.compute.blocks import LOCAL, Compute
from recsys_dagster.steps.models.inverse import regularised_inverse

GRAM_ROWS = 512


def regularised_gram_inverse(
    positives: sparse.csr_matrix,
    regularisation: float,
    dropout: float,
    compute: Compute = LOCAL,
) -> np.ndarray:
    """(XᵀX + diag λ_j)⁻¹ with λ_j = λ + n_j p / (1 − p), n_j = (XᵀX)_jj, float32 (items × items).

    The second part is what learning from histories in which a share p is hidden at random comes
    to, on average (RDLAE: Steck, Autoencoders that don't overfit towards the Identity, NeurIPS
    2020; Moon, Kim, Lee, It's Enough: Relaxing Diagonal Constraints in Linear Autoencoders for
    Recommendation, SIGIR 2023).

    Args:
        positives: X, csr (users × items).
        regularisation: λ > 0.
        dropout: p, 0 ≤ p < 1.
        compute: does the blocks of XᵀX.
    """
    products = gram(positives, compute)
    return regularised_inverse(
        products, regularisation + np.diag(products) * np.float32(dropout / (1 - dropout))
    )


def gram(positives: sparse.csr_matrix, compute: Compute = LOCAL) -> np.ndarray:
    """XᵀX, dense float32 (items × items).

    Args:
        positives: X, csr (users × items).
        compute: does the blocks.
    """
    items = positives.shape[1]
    product = np.empty((items, items), dtype=np.float32)
    for rows, block in gram_rows(positives, compute):
        product[rows] = block.toarray()
    return product


def gram_rows(
    positives: sparse.csr_matrix, compute: Compute = LOCAL
) -> Iterator[tuple[slice, sparse.csr_matrix]]:
    """Some rows of XᵀX at a time: which, and float32 csr (rows × items).

    By blocks: the sparse product of a much used catalog is three times the size of the dense. By
    blocks of items and not of users: there is nothing to add up, and each part goes one way once.

    Args:
        positives: X, csr (users × items).
        compute: does the blocks.
    """
    transposed = positives.T.tocsr()
    rows = [slice(start, start + GRAM_ROWS) for start in range(0, positives.shape[1], GRAM_ROWS)]
    blocks = (transposed[own] for own in rows)
    yield from zip(
        rows, compute.map(_products, positives, blocks, "items liked together"), strict=True
    )


def _products(positives: sparse.csr_matrix, liked_by: sparse.csr_matrix) -> sparse.csr_matrix:
    return (liked_by @ positives).tocsr()
