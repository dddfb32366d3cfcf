"""What holds for every strategy that learns from behaviour."""

import numpy as np
import pytest
from making import L3AE_SETTINGS, block_of, fitted, histories, texts

OWN = {
    "item_knn": {"neighbours": 10, "shrinkage": 2},
    "ease": {"regularisation": 20, "dropout": 0.2},
    "l3ae": L3AE_SETTINGS,
    "gfcf": {},
    "als": {"factors": 8, "regularisation": 2, "confidence": 5},
    "hybrid": L3AE_SETTINGS | {"gfcf_weight": 0.3, "cold_boost": 1.5},
}


def learned_by(strategy, positives):
    if strategy == "als":
        pytest.importorskip("implicit")
    return fitted(strategy, positives, texts(positives.shape[1], 6), **OWN[strategy])


@pytest.mark.parametrize("strategy", OWN)
def test_a_history_of_somebody_unknown_is_scored_like_that_of_somebody_known(strategy):
    positives = histories(60, 25)
    model = learned_by(strategy, positives)
    known = model.score(block_of(positives))[[7]]
    stranger = block_of(positives[[7]])
    np.testing.assert_allclose(model.score(stranger), known, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("strategy", OWN)
def test_the_same_data_give_the_same_model(strategy):
    positives = histories(60, 25)
    first, second = (learned_by(strategy, positives).score(block_of(positives)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("strategy", OWN)
def test_a_fit_does_not_change_what_it_is_given(strategy):
    positives = histories(60, 25)
    before = positives.copy()
    learned_by(strategy, positives)
    assert (positives != before).nnz == 0
    assert (positives.data == 1).all()
