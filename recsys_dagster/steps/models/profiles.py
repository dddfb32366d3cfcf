"""Users without a history are served by what their profile text is similar to."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from recsys_dagster.steps.models.base import Model, UserBlock
from recsys_dagster.steps.models.content import kept_scores


@dataclass(frozen=True)
class WithProfiles:
    """A strategy that needs a history, and `content` for users who have a profile text alone.

    Attributes:
        model: the strategy.
        similarity: float32 csr (users × items), the entries that the similarity matrix keeps.
    """

    model: Model
    similarity: sparse.csr_matrix

    @property
    def strategy(self) -> str:
        """The name of the strategy that needs a history."""
        return self.model.strategy

    def score(self, block: UserBlock) -> np.ndarray:
        """The model's scores, and content's of users without a history."""
        scores = self.model.score(block)
        new = np.flatnonzero(block.lengths == 0)
        if len(new):
            scores[new] = kept_scores(self.similarity[block.positions[new]])
        return scores

    def contributions(self, block: UserBlock, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """The model's: who has no history has nothing that could contribute."""
        return self.model.contributions(block, rows, items)
