"""popular: the share of users who like an item, the same list for everybody."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from recsys_dagster.steps.models.base import UserBlock


def popularity(positives: sparse.csr_matrix) -> np.ndarray:
    """Share of the users with a positive pair who have one with each item, float32 (items,)."""
    users = max(1, int((np.diff(positives.indptr) > 0).sum()))
    return (np.asarray(positives.sum(axis=0)).ravel() / users).astype(np.float32)


@dataclass(frozen=True)
class PopularModel:
    """Scores that do not depend on the user.

    Attributes:
        popularity: float32 (items,).
    """

    popularity: np.ndarray
    strategy: str = "popular"

    def score(self, block: UserBlock) -> np.ndarray:
        """The same row for every user."""
        return np.tile(self.popularity, (len(block.positions), 1))

    def contributions(self, block: UserBlock, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Zeros: popularity does not rest on the user's history."""
        return np.zeros(block.lengths[rows].sum(), dtype=np.float32)
