"""Every query measured against every item, in float64."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.spatial.distance import cdist

from recsys_dagster.steps.similarity.ranking import top_n
from recsys_dagster.steps.similarity.vectors import Similarity, as_pair, require_known, row_blocks


def pairwise(queries: np.ndarray, items: np.ndarray, similarity: Similarity) -> np.ndarray:
    """Measure every query against every item; for inputs whose m × n fits in memory.

    Args:
        queries: (m, d) float32, projected.
        items: (n, d) float32, projected.
        similarity: as in `top_k`.

    Returns:
        (m, n) float32, computed in float64. Identical items have identical columns.

    Raises:
        ValueError: shapes that do not match.
    """
    require_known(similarity)
    queries, items = as_pair(queries, items)
    return EveryPair.of(items).measure(queries, similarity)


@dataclass(frozen=True, eq=False)
class EveryPair:
    """The different item vectors (u, d) and, for each of the n items, its row among them.

    BLAS may round equal columns apart; a vector measured once cannot differ from itself.
    """

    distinct: np.ndarray
    inverse: np.ndarray

    @classmethod
    def of(cls, items: np.ndarray) -> Self:
        """Of items, (n, d) float32."""
        if items.size == 0:
            return cls(items, np.arange(len(items)))
        raw = np.ascontiguousarray(items + np.float32(0))  # −0 becomes 0: equal bytes if equal
        keys = raw.view(np.dtype((np.void, raw.itemsize * raw.shape[1]))).ravel()
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        if len(first) == len(items):
            return cls(items, np.arange(len(items)))
        return cls(raw[first], inverse)

    def measure(self, queries: np.ndarray, similarity: Similarity) -> np.ndarray:
        """Similarities (m, n) float32."""
        wide = queries.astype(np.float64)
        values = np.empty((len(queries), len(self.distinct)), dtype=np.float32)
        for columns in row_blocks(len(self.distinct), self.distinct.shape[1]):
            block = self.distinct[columns].astype(np.float64)
            values[:, columns] = (
                1 / (1 + cdist(wide, block)) if similarity == "euclidean" else wide @ block.T
            )
        return values[:, self.inverse]

    def top_k(
        self, queries: np.ndarray, width: int, similarity: Similarity, left_out: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Positions and similarities (m, width) from whole rows, a few rows at a time."""
        parts = []
        for rows in row_blocks(len(queries), 2 * len(self.inverse)):
            values = self.measure(queries[rows], similarity)
            if left_out is not None:
                values[np.arange(len(values)), left_out[rows]] = -np.inf
            parts.append(top_n(values, width))
        positions, similarities = zip(*parts, strict=True)
        return np.concatenate(positions), np.concatenate(similarities)
