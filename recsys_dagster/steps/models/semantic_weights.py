"""The item-item weights that texts alone give, never formed, and L3AE's from an inverse."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from recsys_dagster.steps.models.inverse import regularised_inverse

BLOCK_ROWS = 128


@dataclass(frozen=True)
class SemanticFactors:
    """The weights C that texts alone give, as thin matrices: C_ij = (FM·Fᵀ)_ij s_j for i ≠ j.

    Attributes:
        vectors: F, float32 (n × d).
        solved: FM, float32 (n × d).
        own: h = rowsum(FM ∘ F), float64 (n,).
    """

    vectors: np.ndarray
    solved: np.ndarray
    own: np.ndarray

    @classmethod
    def of(cls, item_vectors: np.ndarray, regularisation: float) -> Self:
        """Solve for vectors (n × d) with λ_F > 0; d may be 0, where there are no texts."""
        F = np.ascontiguousarray(item_vectors, dtype=np.float32)
        M = regularised_inverse((F.T @ F).astype(np.float64), regularisation)
        FM = (F @ M).astype(np.float32)
        return cls(F, FM, np.einsum("ij,ij->i", FM, F, dtype=np.float64))

    @property
    def scales(self) -> np.ndarray:
        """What C is scaled by, s = 1 / (1 − h), float64 (n,)."""
        return 1 / (1 - self.own)

    def some(self, places: np.ndarray) -> "SemanticFactors":
        """Those of some items, int64 (m,)."""
        return SemanticFactors(self.vectors[places], self.solved[places], self.own[places])


def weights_from_inverse(
    P: np.ndarray, texts: SemanticFactors, semantic_weight: float
) -> np.ndarray:
    """B of `l3ae_weights`, float32 (items × items), from P, float32 (items × items), and texts."""
    h, s = texts.own, texts.scales
    B = (P @ texts.solved) @ (texts.vectors.T * s.astype(np.float32))
    hs = (h * s).astype(np.float32)
    PC_diagonal = np.diag(B).astype(np.float64) - np.diag(P) * hs
    scale = (1 + semantic_weight * PC_diagonal) / np.diag(P)
    # λ_E (B − P ∘ hs) − P ∘ scale, by rows: two items × items matrices are all there ever is.
    taken = (semantic_weight * hs + scale).astype(np.float32)
    for start in range(0, len(B), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        B[rows] = np.float32(semantic_weight) * B[rows] - P[rows] * taken
    np.fill_diagonal(B, 0)
    return B
