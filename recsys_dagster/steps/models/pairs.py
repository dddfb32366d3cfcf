"""Values of single pairs of items: of sparse matrices, and of products too large to form."""

import numpy as np
from scipy import sparse


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
    """The values at places of a sparse matrix, float32 (p,), 0 where nothing is stored.

    By bisection of the rows of all places at once: SciPy goes through the whole matrix first.

    Args:
        matrix: csr without duplicates; its indices are put in order where they are not.
        rows: int64 (p,).
        columns: int64 (p,).
    """
    matrix.sort_indices()
    low, ends = matrix.indptr[rows], matrix.indptr[rows + 1]
    high, last = ends, len(matrix.indices) - 1
    if last < 0 or not len(rows):
        return np.zeros(len(rows), dtype=np.float32)
    for _ in range(int((high - low).max()).bit_length()):
        middle = low + (high - low) // 2
        before = (low < high) & (matrix.indices[np.minimum(middle, last)] < columns)
        low, high = np.where(before, middle + 1, low), np.where(before, high, middle)
    place = np.minimum(low, last)
    there = (low < ends) & (matrix.indices[place] == columns)
    return np.where(there, matrix.data[place], 0).astype(np.float32, copy=False)


def pair_products(
    left: np.ndarray | sparse.csr_matrix, rows: np.ndarray, right: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Inner products of rows of two matrices, float32 (p,).

    Args:
        left: float32 (n × r), dense or csr.
        rows: int64 (p,), rows of it.
        right: float32 (m × r).
        columns: int64 (p,), rows of it, ascending.
    """
    products = np.empty(len(rows), dtype=np.float32)
    starts = np.searchsorted(columns, np.arange(len(right) + 1))
    # A row of `right` stays in the cache while it is multiplied.
    for column in range(len(right)):
        own = slice(starts[column], starts[column + 1])
        products[own] = left[rows[own]] @ right[column]
    return products
