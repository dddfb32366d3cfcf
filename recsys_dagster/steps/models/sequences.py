"""Histories in their order."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from recsys_dagster.errors import UnfittableError


@dataclass(frozen=True)
class Sequences:
    """Histories in order.

    Attributes:
        items: int64 (e,), one history after the other, each from the oldest on.
        starts: int64 (b + 1,), where each begins.
        later: int64 (e,), how many of the history came later than each; equal for what came
            together.
    """

    items: np.ndarray
    starts: np.ndarray
    later: np.ndarray

    @classmethod
    def of(
        cls, recency: sparse.csr_matrix, chance: np.random.Generator | None = None
    ) -> "Sequences":
        """The histories of a csr matrix that says how recent each pair is.

        What came together is in the order of items, or in one of chance, of which nothing can be
        learned.
        """
        matrix = recency.tocsr()
        rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        of_equals = matrix.indices if chance is None else chance.random(matrix.nnz)
        order = np.lexsort((of_equals, matrix.data, rows))
        later = np.rint(1 / matrix.data[order] - 1).astype(np.int64)
        items = matrix.indices[order].astype(np.int64)
        return cls(items, matrix.indptr.astype(np.int64), later)

    @property
    def lengths(self) -> np.ndarray:
        """How long each history is, int64 (b,)."""
        return np.diff(self.starts)

    def newest(self, rows: np.ndarray, number: int) -> list[np.ndarray]:
        """The newest so many items of each of some histories, from the oldest on."""
        ends = self.starts[rows + 1]
        starts = np.maximum(self.starts[rows], ends - number)
        return [self.items[start:end] for start, end in zip(starts, ends, strict=True)]


def padded(sequences: list[np.ndarray]) -> np.ndarray:
    """Sequences in a matrix, int64 (b × longest), −1 after the end of each."""
    lengths = np.array([len(each) for each in sequences], dtype=np.int64)
    matrix = np.full((len(sequences), int(lengths.max(initial=1))), -1, dtype=np.int64)
    matrix[np.arange(matrix.shape[1]) < lengths[:, None]] = np.concatenate(
        [np.empty(0, dtype=np.int64), *sequences]
    )
    return matrix


def require_order(strategy: str, recency: sparse.csr_matrix) -> None:
    """Refuse histories of which none says what came first.

    Args:
        strategy: which needs it.
        recency: csr (users × items), as `Behaviour` has it.

    Raises:
        UnfittableError: of nobody's positives one is more recent than another.
    """
    if (np.diff(recency.indptr) > 1).any() and (recency.data == 1).all():
        raise UnfittableError(
            f"strategy: {strategy} learns from the order of histories, and of "
            f"{len(recency.indptr) - 1:,} users none has positives at two different times or "
            "positions: name the column of these (interactions.columns in the catalog's YAML), or "
            "take another strategy."
        )
