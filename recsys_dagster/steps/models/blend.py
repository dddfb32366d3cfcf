"""Two models as one: what is trained, and a linear model beside it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from recsys_dagster.steps.models.base import Model, UserBlock
from recsys_dagster.steps.models.validation import ndcg_of


@dataclass(frozen=True)
class BlendModel:
    """Scores a + w·b.

    Attributes:
        model: of a; what it does not rank is not ranked.
        other: of b.
        scale: w.
    """

    model: Model
    other: Model
    scale: float

    def score(self, block: UserBlock) -> np.ndarray:
        """Both scores, weighted."""
        return self.model.score(block) + np.float32(self.scale) * self.other.score(block)

    def contributions(self, block: UserBlock, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Both contributions, weighted."""
        own = self.model.contributions(block, rows, items)
        return own + np.float32(self.scale) * self.other.contributions(block, rows, items)


def best_scale(
    own: np.ndarray,
    other: np.ndarray,
    shares: Sequence[float],
    visible: sparse.csr_matrix,
    hidden: sparse.csr_matrix,
) -> float:
    """The w of a + w·b that finds most of what is hidden.

    Learned from the same histories as a, b would be trusted too much, so it is added afterwards.

    Args:
        own: a, float32 (users × n).
        other: b, float32 (users × n).
        shares: w to try, once both have the same standard deviation; the first of equals is taken.
        visible: csr (users × n), what lists do not hold.
        hidden: csr (users × n), what is to be found: something of every user.
    """
    deviation = float(np.std(other, dtype=np.float64))
    if not deviation:
        return 0.0
    scales = [share * float(np.std(own, dtype=np.float64)) / deviation for share in shares]
    figures = [ndcg_of(own + np.float32(scale) * other, visible, hidden) for scale in scales]
    return scales[int(np.argmax(figures))]
