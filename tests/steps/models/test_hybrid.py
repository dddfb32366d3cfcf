"""hybrid: its parts, on one scale, and what cold items are lent."""

import numpy as np
import pytest
from making import (
    L3AE,
    L3AE_SETTINGS,
    assert_near,
    block_of,
    csr,
    direct_l3ae,
    fitted,
    histories,
    texts,
)
from scipy import sparse

from recsys_dagster.steps.models.base import NOT_RANKED
from recsys_dagster.steps.models.gfcf import gfcf_weights
from recsys_dagster.steps.models.hybrid import (
    sample_of,
    score_deviation,
    transfer_to_cold,
)
from recsys_dagster.steps.models.l3ae import l3ae_weights
from recsys_dagster.steps.models.transfer import NEIGHBOURS, transfer_shares


def hybrid(positives, F, cold, cold_boost=1.0, gfcf_weight=0.0):
    settings = L3AE_SETTINGS | {"gfcf_weight": gfcf_weight, "cold_boost": cold_boost}
    return fitted("hybrid", positives, F, cold, **settings)


@pytest.mark.parametrize("cold_boost", [1.0, 2.5])
@pytest.mark.parametrize("items", [30, 160])
def test_cold_columns_are_those_of_their_neighbours(items, cold_boost):
    positives, F = histories(80, items).tolil(), texts(items, 6)
    cold = np.zeros(items, dtype=bool)
    cold[[2, 7, items - 1]] = True
    positives[:, cold] = 0
    positives = positives.tocsr()
    positives.eliminate_zeros()
    warm = np.flatnonzero(~cold)
    B, _ = direct_l3ae(positives.toarray()[:, warm], F[warm], 50, 20, 5)
    itself = np.abs(B).max(axis=0).mean()
    expected = np.zeros((len(warm), items))
    expected[:, warm] = B
    for item in np.flatnonzero(cold):
        cosines = F[warm].astype(np.float64) @ F[item]
        nearest = np.argsort(-cosines, kind="stable")[:NEIGHBOURS]
        shares = np.maximum(cosines[nearest], 0) ** 3
        shares /= shares.sum()
        column = np.zeros(len(warm))
        for share, j in zip(shares, nearest, strict=True):
            column += share * B[:, j]
            column[j] += share * itself
        expected[:, item] = cold_boost * column
    model = hybrid(positives, F, cold, cold_boost)
    assert model.weights.dtype == np.float32
    assert model.history_items.tolist() == warm.tolist()
    assert_near(model.weights, expected, 1e-4)


def test_a_cold_item_near_the_history_beats_one_far_from_it():
    positives = sparse.csr_matrix(np.array([[1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0]], np.float32))
    F = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9], [0.95, 0.05], [0.05, 0.95]], np.float32)
    cold = np.array([False] * 4 + [True] * 2)
    scores = hybrid(positives, F, cold).score(block_of(positives))
    assert scores[0, 4] > scores[0, 5] > NOT_RANKED
    assert scores[1, 5] > scores[1, 4]
    assert scores[0, 4] > 0


@pytest.mark.parametrize("vector", [[0, 0], [-1, 0]])
def test_a_cold_item_without_a_positive_neighbour_is_lent_nothing(vector):
    shares = transfer_shares(np.array([vector, [1, 0]]), np.array([[1, 0], [1, 0]]))
    assert shares.toarray().tolist() == [[0, 0], [0.5, 0.5]]


def test_where_nothing_is_cold_all_scores_are_l3aes():
    positives, F = histories(30, 12, density=0.5), texts(12, 3)
    model = hybrid(positives, F, np.zeros(12, dtype=bool))
    B, _ = direct_l3ae(positives.toarray(), F, 50, 20, 5)
    assert_near(model.weights, B)
    scores = model.score(block_of(positives))
    assert_near(scores[:-1], (positives @ B)[:-1])
    assert (scores[-1] == NOT_RANKED).all()


def test_where_all_is_cold_nobody_is_ranked_anything():
    model = hybrid(sparse.csr_matrix((3, 5), dtype=np.float32), texts(5, 3), np.ones(5, dtype=bool))
    assert model.weights.shape == (0, 5)
    scores = model.score(block_of(sparse.csr_matrix((3, 5), dtype=np.float32)))
    assert (scores == NOT_RANKED).all()


def blended(positives, F, cold, weight, cold_boost=1.0):
    """What the strategy must learn, from its parts."""
    warm = np.flatnonzero(~cold)
    X = positives[:, warm]
    ours, others = l3ae_weights(X, F[warm], **L3AE), gfcf_weights(X)
    others *= (X @ ours)[X.toarray().any(axis=1)].std() / (X @ others)[
        X.toarray().any(axis=1)
    ].std()
    weights = np.zeros((len(warm), len(cold)), np.float32)
    weights[:, warm] = ours + weight * others
    shares = transfer_shares(F[cold], F[warm])
    transfer_to_cold(weights, others, shares, np.flatnonzero(cold), cold_boost)
    return weights


@pytest.mark.parametrize("items", [20, 300])
def test_hybrid_is_l3ae_and_a_share_of_gfcf_on_one_scale_and_lends_gfcfs_columns(items):
    positives, F = histories(60, items), texts(items, 6)
    cold = np.arange(items) == items - 1
    model = fitted("hybrid", positives, F, cold, gfcf_weight=0.4, cold_boost=1.5, **L3AE_SETTINGS)
    assert_near(model.weights, blended(positives, F, cold, 0.4, 1.5), 1e-4)


def test_hybrid_without_gfcf_is_l3ae():
    positives, F = histories(60, 20)[:, :-1], texts(19, 6)
    cold = np.zeros(19, dtype=bool)
    alone = fitted("hybrid", positives, F, cold, gfcf_weight=0.0, cold_boost=1.0, **L3AE_SETTINGS)
    np.testing.assert_array_equal(
        alone.weights, fitted("l3ae", positives, F, cold, **L3AE_SETTINGS).weights
    )


@pytest.mark.parametrize("likes", [[[1, 0, 0], [0, 1, 0]], [[0, 0, 0]]])
def test_where_no_two_items_go_together_gfcf_has_no_say(likes):
    positives, F, cold = csr(likes), texts(3, 2), np.array([False, False, True])
    found = fitted("hybrid", positives, F, cold, gfcf_weight=0.4, cold_boost=1.0, **L3AE_SETTINGS)
    expected = fitted(
        "hybrid", positives, F, cold, gfcf_weight=0.0, cold_boost=1.0, **L3AE_SETTINGS
    )
    np.testing.assert_array_equal(found.weights, expected.weights)


def test_the_scale_is_taken_from_users_with_a_history_spread_over_all(monkeypatch):
    monkeypatch.setattr("recsys_dagster.steps.models.hybrid.SAMPLE_USERS", 2)
    positives = csr([[1, 0], [0, 0], [0, 1], [0, 1], [1, 0]])  # users 0 and 4 are looked at
    assert score_deviation(positives, np.float32([[0, 4], [9, 9]])) == 2


def test_of_twice_as_many_users_but_one_the_last_are_looked_at_too(monkeypatch):
    monkeypatch.setattr("recsys_dagster.steps.models.hybrid.SAMPLE_USERS", 3)
    assert sample_of(csr(np.ones((5, 2)))).tolist() == [0, 2, 4]
    assert sample_of(csr(np.ones((2, 2)))).tolist() == [0, 1]
