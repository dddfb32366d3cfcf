"""Where vectors are compared: the one place of the project that centres and normalises."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from recsys_dagster.steps.similarity.vectors import (
    Similarity,
    as_matrix,
    norms,
    require_finite,
    require_known,
    row_blocks,
)

VANISHING = 1e-6
"""float32 leaves this much of a vector behind when the mean is subtracted from its equal."""


@dataclass(frozen=True, eq=False)
class Space:
    """Where vectors are compared.

    Attributes:
        similarity: which similarity the projected vectors are for.
        mean: (d,) float64 to subtract, or None.
    """

    similarity: Similarity
    mean: np.ndarray | None

    @classmethod
    def of(cls, item_vectors: np.ndarray, similarity: Similarity, centre: bool) -> Self:
        """Learn the space from the items; users are later projected with the same mean.

        Args:
            item_vectors: (n, d), any float type.
            similarity: the similarity to be used.
            centre: subtract the mean item vector. It matters for cosine only: a shift changes no
                euclidean distance, and would change what a dot product means.

        Raises:
            ValueError: an unknown similarity, or vectors that are not a finite matrix.
        """
        require_known(similarity)
        vectors = as_matrix(item_vectors, "item vectors")
        if not centre or similarity != "cosine" or len(vectors) == 0:
            return cls(similarity, None)
        mean = vectors.mean(axis=0, dtype=np.float64)
        if not np.isfinite(mean).all():
            raise ValueError("item vectors are not finite")
        return cls(similarity, mean)

    def project(self, vectors: np.ndarray) -> np.ndarray:
        """Move vectors into the space.

        Args:
            vectors: (m, d), any float type.

        Returns:
            (m, d) float32, C-contiguous. For cosine of unit length, except that zero vectors (and
            those that equal the mean) are zero. For euclidean and dot as they came, and then
            possibly the very same array.

        Raises:
            ValueError: not a finite matrix, or of another dimension than the mean.
        """
        vectors = as_matrix(vectors, "vectors")
        if self.mean is not None and vectors.shape[1] != self.mean.size:
            raise ValueError(
                f"vectors have {vectors.shape[1]} dimensions, the space has {self.mean.size}"
            )
        if self.similarity != "cosine":
            projected = np.ascontiguousarray(vectors, dtype=np.float32)
            require_finite(norms(projected), "vectors")
            return projected
        projected = np.empty(vectors.shape, dtype=np.float32)
        floor = 0.0 if self.mean is None else VANISHING * float(np.linalg.norm(self.mean))
        for rows in row_blocks(len(vectors), vectors.shape[1]):
            block = vectors[rows].astype(np.float64)
            if self.mean is not None:
                block -= self.mean
            lengths = np.linalg.norm(block, axis=1, keepdims=True)
            require_finite(lengths, "vectors")
            gone = lengths <= floor
            projected[rows] = np.where(gone, 0, block / np.where(gone, 1, lengths))
        return projected
