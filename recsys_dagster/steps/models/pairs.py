"""Values of single pairs of items: of sparse matrices, and of products too large to form."""

import numpy as np
from scipy import sparse

PAIR_CELLS = 1 << 24
"""Numbers that pairs are worked out from at a time: 64 MiB."""


def most_of_rows(matrix: sparse.csr_matrix, number: int) -> sparse.csr_matrix:
    """The `number` largest stored values of each row; of equals the earlier ones."""
    lengths = np.diff(matrix.indptr)
    if not (lengths > number).any():
        return matrix
    matrix.sort_indices()
    rows = np.repeat(np.arange(len(lengths)), lengths)
    order = np.lexsort((-matrix.data, rows))
    place = np.arange(len(order)) - np.repeat(matrix.indptr[:-1], lengths)
    kept = np.sort(order[place < number])
    shape = matrix.shape
    return sparse.csr_matrix((matrix.data[kept], (rows[kept], matrix.indices[kept])), shape=shape)


def stored_values(matrix: sparse.csr_matrix, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The values at places of a sparse matrix, float32 (p,), 0 where nothing is stored."""
    if not len(rows):
        return np.empty(0, dtype=np.float32)
    matrix.sort_indices()
    return np.asarray(matrix[rows, columns], dtype=np.float32).ravel()


def pair_products(
    left: np.ndarray, rows: np.ndarray, right: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Inner products of rows of two thin matrices, float32 (p,), some pairs at a time.

    Args:
        left: float32 (n × r).
        rows: int64 (p,), rows of it.
        right: float32 (m × r).
        columns: int64 (p,), rows of it.
    """
    products = np.empty(len(rows), dtype=np.float32)
    step = max(1, PAIR_CELLS // max(1, left.shape[1]))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        products[part] = np.einsum("pr,pr->p", left[rows[part]], right[columns[part]])
    return products


def sparse_products(
    left: sparse.csr_matrix, rows: np.ndarray, right: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Inner products of rows of a sparse and of a dense matrix, float32 (p,).

    Args:
        left: float32 csr (n × r).
        rows: int64 (p,), rows of it.
        right: float32 (m × r).
        columns: int64 (p,), rows of it.
    """
    products = np.zeros(len(rows), dtype=np.float32)
    lengths = np.diff(left.indptr)[rows].astype(np.int64)
    parts = np.cumsum(lengths) // PAIR_CELLS
    for part in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(parts)) + 1):
        of_part = lengths[part]
        ends = np.cumsum(of_part)
        entries = np.arange(of_part.sum()) + np.repeat(
            left.indptr[rows[part]] - (ends - of_part), of_part
        )
        said = left.data[entries] * right[np.repeat(columns[part], of_part), left.indices[entries]]
        filled = of_part > 0
        if filled.any():
            products[part[filled]] = np.add.reduceat(said, (ends - of_part)[filled])
    return products
