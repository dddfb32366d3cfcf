"""A fitted strategy with what stands in for it: profile texts and popularity."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from recsys_dagster.steps.models.base import Model, Strategy, UserBlock
from recsys_dagster.steps.models.content import kept_scores


@dataclass(frozen=True)
class Fitted:
    """What lists are made with.

    Attributes:
        strategy: whose model it is.
        model: what ranks for users with a history.
        popularity: float32 (items,), what fills up lists.
    """

    strategy: Strategy[Any]
    model: Model
    popularity: np.ndarray

    def score(self, block: UserBlock) -> np.ndarray:
        """The model's scores, float32 (b × items).

        Users without a history are ranked by their row of the similarity matrix, which is that of
        their profile text, where the strategy has nothing to go by.
        """
        scores = self.model.score(block)
        new = np.flatnonzero(block.lengths == 0)
        if self.strategy.needs_history and len(new):
            scores[new] = kept_scores(block.similar[new])
        return scores
