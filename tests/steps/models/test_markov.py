"""`markov`: steps from item to item, counted."""

import numpy as np
import pytest
from making import block_of, csr
from test_sequential import in_order, recency_of

from recsys_dagster.steps.models import STRATEGIES
from recsys_dagster.steps.models.markov import MarkovSettings, steps_between
from recsys_dagster.steps.models.sequences import Sequences

HISTORIES = [[0, 1, 2], [0, 1], [1, 0]]


def weights_of(**settings):
    own = MarkovSettings(**{"shrinkage": 0, "max_steps": 1} | settings)
    return STRATEGIES["markov"].fit(in_order(HISTORIES, 4), own)


def test_steps_are_counted_and_divided_by_how_often_both_take_one():
    weights = weights_of().weights.toarray()
    # 0 → 1 twice, 1 → 2 and 1 → 0 once each.
    assert weights[0, 1] == pytest.approx(2 / np.sqrt(2 * 2))
    assert weights[1, 2] == pytest.approx(1 / np.sqrt(2 * 1))
    assert weights[1, 0] == pytest.approx(1 / np.sqrt(2 * 1))
    assert np.count_nonzero(weights) == 3


def test_more_steps_count_less_and_few_ones_shrink():
    weights = weights_of(max_steps=2).weights.toarray()
    assert 0 < weights[0, 2] < weights[1, 2]
    assert (weights_of(shrinkage=5).weights.data < weights_of().weights.data).all()


def test_what_came_together_counts_both_ways():
    recency = csr([[1, 1, 0], [1, 0, 0.5]])
    weights = steps_between(Sequences.of(recency), 3, MarkovSettings(shrinkage=0)).toarray()
    assert (weights > 0).tolist() == [
        [False, True, False],
        [True, False, False],
        [True, False, False],
    ]


def test_what_was_liked_last_says_most():
    own = recency_of([[2, 0], [0, 2]], 4)
    scores = weights_of(recency_power=2).score(block_of(own.sign(), recency=own))
    assert scores[0, 1] == pytest.approx(1)
    assert scores[1, 1] == pytest.approx(1 / 4)
