"""Values of single pairs of items: of sparse matrices, and of products too large to form."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from scipy import sparse

PARTS = 8
"""Of a product: more threads than that are no faster, memory is what they wait for."""


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


def product(left: sparse.csr_matrix, right: np.ndarray) -> np.ndarray:
    """A sparse times a dense matrix, float32, on all cores: SciPy takes one."""
    edges = np.linspace(0, left.shape[0], PARTS + 1, dtype=int)
    with ThreadPoolExecutor() as pool:
        parts = [left[start:end] for start, end in pairwise(edges)]
        return np.vstack(list(pool.map(lambda part: part @ right, parts)))
