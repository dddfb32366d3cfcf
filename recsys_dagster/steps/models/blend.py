"""Two models as one: what is trained, and hybrid beside it, as much as helps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from recsys_dagster.steps.models.base import (
    Arrays,
    Evidence,
    Model,
    UserBlock,
)
from recsys_dagster.steps.models.behaviour import ones
from recsys_dagster.steps.models.hybrid import STRATEGY as HYBRID
from recsys_dagster.steps.models.hybrid import HybridSettings
from recsys_dagster.steps.models.prefixes import put_under, taken_from
from recsys_dagster.steps.models.validation import ndcg_of, users_at_once

SETTINGS = HybridSettings()
SHARES = (0, 0.3, 0.6, 1.2, 2.5)
"""Of hybrid beside what is trained, both brought to one standard deviation."""
BESIDE = "beside."
"""Before the names of hybrid's arrays."""
SCALE = "scale"
"""The array with what hybrid is multiplied by."""


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
        """Both scores, weighted; of users whom the other does not rank, the model's alone."""
        other = self.other.score(block)
        other[~np.isfinite(other)] = 0
        return self.model.score(block) + np.float32(self.scale) * other

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
    ratio = float(np.std(own, dtype=np.float64)) / deviation
    scales = [share * ratio for share in shares]
    figures = [ndcg_of(own + np.float32(scale) * other, visible, hidden) for scale in scales]
    return scales[int(np.argmax(figures))]


def hybrid_beside(
    evidence: Evidence,
    known: sparse.csr_matrix,
    hidden: sparse.csr_matrix,
    asked: np.ndarray,
    own: np.ndarray,
    learned: np.ndarray,
) -> Arrays:
    """Hybrid as it is kept beside what is trained; nothing where that is no better.

    Args:
        evidence: from which `known` is what may be learned from.
        known: recency, csr (users × items).
        hidden: csr (users × items), what is to be found.
        asked: int64 (asked,), users of whom some of what is learned of is known, and some hidden.
        own: the scores of what is trained, float32 (asked × n).
        learned: int64 (n,), the items that it has scores of.
    """
    if not len(asked):
        return {}
    evidence.trainer.say("fitting hybrid, to stand beside it")
    visible = replace(evidence.behaviour, weights=ones(known), recency=known)
    arrays = HYBRID.learn(replace(evidence, behaviour=visible), SETTINGS)
    hybrid, step = HYBRID.load(arrays, SETTINGS), users_at_once(evidence.items)
    scores = np.empty_like(own)
    for start in range(0, len(asked), step):
        histories = known[asked[start : start + step]]
        nothing = sparse.csr_matrix(histories.shape, dtype=np.float32)
        block = UserBlock(ones(histories), ones(histories), histories, nothing)
        scores[start : start + step] = hybrid.score(block)[:, learned]
    found = (known[asked][:, learned], hidden[asked][:, learned])
    scale = best_scale(own, scores, SHARES, *found)
    if not scale:
        return {}
    return put_under(BESIDE, arrays) | {SCALE: np.array([scale])}


def with_hybrid(model: Model, arrays: Arrays) -> Model:
    """The model of what is trained with what `hybrid_beside` gave."""
    if SCALE not in arrays:
        return model
    hybrid = HYBRID.load(taken_from(BESIDE, arrays), SETTINGS)
    return BlendModel(model, hybrid, float(arrays[SCALE][0]))
