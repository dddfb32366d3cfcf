"""What vectors must be to be compared."""

from collections.abc import Iterator
from typing import Literal, get_args

import numpy as np

Similarity = Literal["cosine", "euclidean", "dot"]
BLOCK_CELLS = 1 << 20
"""Numbers that are worked on together."""


def norms(vectors: np.ndarray) -> np.ndarray:
    """Lengths (m,) float64 of the rows."""
    return np.sqrt(np.einsum("md,md->m", vectors, vectors, dtype=np.float64))


def row_blocks(count: int, cells: int, most: int | None = None) -> Iterator[slice]:
    """Slices over `count` rows of `cells` values each, at most `BLOCK_CELLS` values a slice."""
    step = max(1, BLOCK_CELLS // max(cells, 1))
    step = step if most is None else min(step, most)
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def as_pair(queries: np.ndarray, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as C-contiguous float32, of one dimension.

    Raises:
        ValueError: they are no matrices, or of other dimensions.
    """
    queries, items = as_matrix(queries, "queries"), as_matrix(items, "items")
    if queries.shape[1] != items.shape[1]:
        raise ValueError(f"queries have {queries.shape[1]} dimensions, items have {items.shape[1]}")
    return (
        np.ascontiguousarray(queries, dtype=np.float32),
        np.ascontiguousarray(items, dtype=np.float32),
    )


def as_matrix(vectors: np.ndarray, name: str) -> np.ndarray:
    """Vectors, which are said by `name`, as a matrix of at least one column.

    Raises:
        ValueError: they are none.
    """
    vectors = np.asarray(vectors)
    if vectors.ndim != 2 or vectors.shape[1] == 0:
        raise ValueError(f"{name} must be a matrix of vectors, got shape {vectors.shape}")
    return vectors


def require_finite(lengths: np.ndarray, name: str) -> None:
    """See that all lengths of vectors are finite.

    Raises:
        ValueError: some are not; with how many.
    """
    bad = int(np.count_nonzero(~np.isfinite(lengths)))
    if bad:
        raise ValueError(f"{bad} {name} are not finite")


def require_known(similarity: str) -> None:
    """See that there is such a similarity.

    Raises:
        ValueError: there is none.
    """
    if similarity not in get_args(Similarity):
        raise ValueError(f"similarity must be one of {get_args(Similarity)}, got {similarity!r}")
