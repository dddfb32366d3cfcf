"""Hybrid beside what is trained: as much as helps, and only where there is memory for it."""

from dataclasses import dataclass

import numpy as np
import pytest
from making import block_of, csr
from test_sequential import cycles, in_order, recency_of

from recsys_dagster.steps.models.base import NOT_RANKED
from recsys_dagster.steps.models.blend import (
    SCALE,
    BlendModel,
    best_scale,
    hybrid_beside,
    with_hybrid,
)
from recsys_dagster.steps.models.sequential import hold_back_last

BLOCK = block_of(csr([[1, 0, 1], [0, 1, 0]]))


@dataclass(frozen=True)
class Says:
    """A model that scores and explains what it is given."""

    scores: np.ndarray
    parts: np.ndarray

    def score(self, _):
        return self.scores.copy()

    def contributions(self, *_):
        return self.parts


def says(scores, parts=(1, 2)):
    return Says(np.array(scores, dtype=np.float32), np.array(parts, dtype=np.float32))


def test_scores_and_contributions_are_sums():
    model = BlendModel(says([[1, 2, 3]]), says([[4, 5, 6]], (10, 20)), 0.5)
    assert model.score(BLOCK).tolist() == [[3, 4.5, 6]]
    assert model.contributions(BLOCK, np.array([0]), np.array([1])).tolist() == [6, 12]
    assert model.score(BLOCK).dtype == np.float32


def test_who_the_other_does_not_rank_is_ranked_by_the_model_alone():
    nobody = [NOT_RANKED] * 3
    model = BlendModel(says([[1, 2, NOT_RANKED], nobody]), says([nobody, [1, 2, 3]]), 2)
    assert model.score(BLOCK).tolist() == [[1, 2, NOT_RANKED], nobody]


def test_the_scale_is_the_one_that_finds_most_of_what_is_hidden():
    visible, hidden = csr([[1, 0, 0]]), csr([[0, 0, 1]])
    wrong, right = (np.array([own], dtype=np.float32) for own in ([0, 1, 0], [0, 0, 1]))
    assert best_scale(wrong, right, (0, 0.5, 2), visible, hidden) == pytest.approx(2)
    assert best_scale(right, wrong, (0, 0.5, 2), visible, hidden) == 0
    assert best_scale(right, np.zeros((1, 3)), (0, 0.5, 2), visible, hidden) == 0


@pytest.fixture
def asked():
    """Evidence, what is known of it and what is hidden, and scores that say nothing."""
    evidence = in_order(cycles(200), 12)
    known, hidden = hold_back_last(evidence.behaviour.recency, 0)
    users = np.flatnonzero(np.diff(hidden.indptr))
    noise = np.random.default_rng(0).random((len(users), 12)).astype(np.float32)
    return evidence, known, hidden, users, noise, np.arange(12)


def test_hybrid_stands_beside_what_knows_less(asked):
    arrays = hybrid_beside(*asked)
    assert arrays[SCALE][0] > 0
    recency = recency_of(cycles(5), 12)
    alone = says(np.zeros((5, 12)))
    scores = with_hybrid(alone, arrays).score(block_of(recency.sign(), recency=recency))
    assert np.ptp(scores) > 0
    assert with_hybrid(alone, {}) is alone


def test_what_knows_all_stays_alone(asked):
    evidence, known, hidden, users, _, learned = asked
    assert hybrid_beside(evidence, known, hidden, users, hidden[users].toarray(), learned) == {}


def test_a_few_users_at_a_time_say_the_same(asked, monkeypatch):
    at_once = hybrid_beside(*asked)
    monkeypatch.setattr("recsys_dagster.steps.models.validation.MAX_CELLS", 24)
    assert hybrid_beside(*asked)[SCALE] == at_once[SCALE]
