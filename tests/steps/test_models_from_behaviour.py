"""Strategies that look at behaviour alone, and what the order of a history changes."""

import sys

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from test_models import assert_near, block_of, contributions, histories, texts

from recsys_dagster.errors import UserError
from recsys_dagster.steps.models import gfcf
from recsys_dagster.steps.models.als import fit_als
from recsys_dagster.steps.models.base import NOT_RANKED, ItemWeightsModel, UserBlock
from recsys_dagster.steps.models.ease import fit_ease, regularised_gram_inverse
from recsys_dagster.steps.models.gfcf import fit_gfcf, gfcf_weights
from recsys_dagster.steps.models.hybrid import (
    fit_hybrid,
    score_deviation,
    transfer_shares,
    transfer_to_cold,
)
from recsys_dagster.steps.models.item_knn import fit_item_knn
from recsys_dagster.steps.models.l3ae import fit_l3ae, l3ae_weights
from recsys_dagster.steps.models.recent import fit_recent
from recsys_dagster.steps.models.weighting import weighted

L3AE = {"regularisation": 50.0, "semantic_weight": 20.0, "semantic_regularisation": 5.0}


def csr(rows):
    return sparse.csr_matrix(np.array(rows, dtype=np.float32))


# The order of a history


def test_recency_counts_the_likes_that_came_later_and_ages_the_days_since(behaviour_of):
    pairs = [
        ("u", "a", 1.0, True, pd.Timestamp("2026-01-01")),
        ("u", "b", 1.0, True, pd.Timestamp("2026-01-08")),
        ("u", "c", 1.0, True, pd.Timestamp("2026-01-08")),
        ("u", "d", 1.0, False, pd.Timestamp("2026-01-09")),
        ("v", "a"),
    ]
    behaviour = behaviour_of(pairs, ["u", "v"], list("abcd"))
    np.testing.assert_allclose(behaviour.recency.toarray(), [[1 / 3, 1, 1, 0], [1, 0, 0, 0]])
    np.testing.assert_array_equal(behaviour.ages.data, np.float32([8, 1, 1, np.nan]))
    for matrix in (behaviour.recency, behaviour.ages):
        assert matrix.dtype == np.float32
        np.testing.assert_array_equal(matrix.indices, behaviour.positives.indices)
        np.testing.assert_array_equal(matrix.indptr, behaviour.positives.indptr)


def test_positions_order_a_history_where_there_are_no_times(behaviour_of):
    pairs = [("u", "a"), ("u", "b"), ("u", "c")]
    behaviour = behaviour_of(pairs, ["u"], list("abc"), position=[5.0, 1.0, 9.0])
    np.testing.assert_allclose(behaviour.recency.toarray(), [[1 / 2, 1 / 3, 1]])
    assert np.isnan(behaviour.ages.data).all()


def test_nothing_interacted_with_has_neither_recency_nor_age(behaviour_of):
    behaviour = behaviour_of([], ["u"], ["a"])
    assert behaviour.recency.nnz == behaviour.ages.nnz == 0


@pytest.mark.parametrize("dense", [True, False])
def test_likes_count_by_their_recency(dense):
    weights = np.array([[0, 2, 4], [3, 0, 5], [1, 1, 0]], np.float32)
    model = ItemWeightsModel(
        "ease",
        weights if dense else sparse.csr_matrix(weights),
        np.arange(3),
        recency_power=0.5,
    )
    positives, recency = csr([[1, 1, 0]]), csr([[1 / 4, 1, 0]])
    block = UserBlock(np.array([0]), positives, positives, recency)
    assert model.score(block)[0, 2] == 0.5 * 4 + 5
    assert model.contributions(block, np.array([0]), np.array([2])).tolist() == [2, 5]
    # Where no order is known all count alike.
    assert model.score(block_of(positives))[0, 2] == 4 + 5


# recent


def test_recent_is_popularity_within_the_days_before_the_newest_interaction():
    positives = csr([[1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 1, 1], [1, 0, 0, 0]])
    ages = positives.copy()
    ages.data = np.array([10, 31, 30, 0, 2, np.nan, 100], np.float32)
    model = fit_recent(positives, ages, 30)
    assert model.strategy == "recent"
    scores = model.score(block_of(positives[:1]))
    np.testing.assert_allclose(scores, [[2 / 3, NOT_RANKED, 2 / 3, NOT_RANKED]], rtol=1e-6)
    assert scores.dtype == np.float32
    assert positives.nnz == 7  # what it was given is not changed


def test_without_times_recent_leaves_all_to_popular():
    positives = csr([[1, 1], [1, 0]])
    ages = positives * np.float32(np.nan)
    assert (fit_recent(positives, ages, 30).popularity == NOT_RANKED).all()


# item_knn


def test_item_knn_worked_example():
    # 0 and 1 share two users, 0 and 2 one; 3 is alone.
    X = csr([[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    both, lone = 2 / (np.sqrt(2 * 3) + 1), 1 / (np.sqrt(2 * 1) + 1)
    far = 1 / (np.sqrt(3 * 1) + 1)
    expected = [[0, both, lone, 0], [both, 0, far, 0], [lone, far, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(fit_item_knn(X, 3, 1).weights.toarray(), expected, rtol=1e-6)
    # One neighbour an item: 0 ← 1, 1 ← 0, 2 ← 0, in the columns.
    kept = [[0, both, lone, 0], [both, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(fit_item_knn(X, 1, 1).weights.toarray(), kept, rtol=1e-6)


@pytest.mark.parametrize("shrinkage", [0, 7.5])
@pytest.mark.parametrize("neighbours", [4, 100])
def test_item_knn_is_the_direct_formula(monkeypatch, neighbours, shrinkage):
    monkeypatch.setattr("recsys_dagster.steps.models.ease.GRAM_ROWS", 7)
    positives = histories(50, 30)
    X = positives.toarray().astype(np.float64)
    n, counts = X.sum(axis=0), X.T @ X
    np.fill_diagonal(counts, 0)
    S = counts / np.maximum(np.sqrt(np.outer(n, n)) + shrinkage, 1)
    B = np.zeros_like(S)
    for i, similarities in enumerate(S.astype(np.float32)):
        nearest = np.argsort(-similarities, kind="stable")[:neighbours]
        B[nearest, i] = S[nearest, i]
    model = fit_item_knn(positives, neighbours, shrinkage)
    assert_near(model.weights.toarray(), B)
    assert model.weights.dtype == np.float32
    assert model.weights.nnz == (B > 0).sum()
    scores = model.score(block_of(positives))
    assert ((scores == NOT_RANKED) == (X @ B == 0)).all()


# Weighting and dropout


def test_weighting_scales_rows_and_columns_and_keeps_the_norm():
    positives = histories(30, 12, density=0.4)
    X = positives.toarray().astype(np.float64)
    n_u, n_j = (np.maximum(X.sum(axis=axis), 1) for axis in (1, 0))
    expected = X * n_u[:, None] ** -0.25 * n_j**-0.4
    expected *= np.sqrt((X**2).sum() / (expected**2).sum())
    found = weighted(positives, 0.5, 0.4)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.toarray(), expected, rtol=1e-5)
    np.testing.assert_array_equal(weighted(positives, 0, 0).toarray(), X)
    assert weighted(sparse.csr_matrix((3, 2), dtype=np.float32), 0.5, 0.5).nnz == 0


def test_dropout_regularises_popular_items_more():
    positives = histories(60, 10, density=0.4)[:, :-1]
    X = positives.toarray().astype(np.float64)
    gram = X.T @ X
    expected = np.linalg.inv(gram + 5 * np.eye(9) + np.diag(np.diag(gram)) * 0.25 / 0.75)
    assert_near(regularised_gram_inverse(positives, 5.0, 0.25), expected)


def test_dropout_is_what_hiding_a_share_of_histories_comes_to():
    # With Z = X ∘ D / (1 − p), D Bernoulli(1 − p): E‖X − ZB‖² needs E[ZᵀZ] and E[ZᵀX] alone.
    positives, p = histories(400, 8, density=0.4)[:, :-1], 0.5
    X = positives.toarray().astype(np.float64)
    rng = np.random.default_rng(0)
    products, cross = np.zeros((7, 7)), np.zeros((7, 7))
    for _ in range(3000):
        hidden = X * (rng.random(X.shape) >= p) / (1 - p)
        products += hidden.T @ hidden / 3000
        cross += hidden.T @ X / 3000
    gram = X.T @ X
    np.testing.assert_allclose(cross, gram, rtol=0.05)
    np.testing.assert_allclose(
        products, gram + np.diag(np.diag(gram)) * p / (1 - p), rtol=0.05, atol=1
    )


def test_l3ae_with_every_setting_is_the_direct_formula():
    positives, F = histories(60, 20)[:, :-1], texts(19, 8)
    Y = weighted(positives, 0.5, 0.25).toarray().astype(np.float64)
    gram, vectors = Y.T @ Y, F.astype(np.float64)
    C = np.linalg.inv(vectors @ vectors.T + 5 * np.eye(19))
    C /= -np.diag(C)
    np.fill_diagonal(C, 0)
    P = np.linalg.inv(gram + 50 * np.eye(19) + np.diag(np.diag(gram)) * 0.2 / 0.8)
    B = 20 * P @ C - P * ((1 + 20 * np.diag(P @ C)) / np.diag(P))
    np.fill_diagonal(B, 0)
    found = l3ae_weights(positives, F, **L3AE, dropout=0.2, user_weighting=0.5, item_weighting=0.25)
    assert_near(found, B)


def test_l3ae_is_learned_from_warm_items_and_says_nothing_of_cold_ones():
    positives, F = histories(40, 15), texts(15, 4)
    cold = np.arange(15) == 14
    model = fit_l3ae(positives, F, cold, **L3AE)
    assert (model.strategy, model.history_items.tolist()) == ("l3ae", list(range(14)))
    np.testing.assert_array_equal(
        model.weights[:, :14], l3ae_weights(positives[:, :14], F[:14], **L3AE)
    )
    assert not model.weights[:, 14].any()


# gfcf


@pytest.mark.parametrize("rank", [5, 256])
def test_gfcf_is_the_direct_formula(monkeypatch, rank):
    monkeypatch.setattr(gfcf, "LOW_PASS_RANK", rank)
    monkeypatch.setattr(gfcf, "GRAM_ROWS", 7)
    monkeypatch.setattr(gfcf, "POWER_ITERATIONS", 20)
    positives = histories(80, 30)
    X = positives.toarray().astype(np.float64)
    n_u, n_i = (np.maximum(X.sum(axis=axis), 1) for axis in (1, 0))
    R = np.diag(n_u**-0.5) @ X @ np.diag(n_i**-0.5)
    V = np.linalg.svd(R)[2][:rank].T
    W = R.T @ R + 0.3 * np.diag(n_i**-0.5) @ V @ V.T @ np.diag(n_i**0.5)
    np.fill_diagonal(W, 0)
    assert_near(gfcf_weights(positives)[:-1, :-1], W[:-1, :-1], 1e-4)


def test_gfcf_leaves_items_out_that_nobody_likes():
    positives = histories(80, 30)
    model = fit_gfcf(positives)
    assert model.strategy == "gfcf"
    assert model.history_items.tolist() == list(range(29))
    np.testing.assert_array_equal(model.weights[:, :29], gfcf_weights(positives[:, :29]))
    assert not model.weights[:, 29].any()
    assert fit_gfcf(positives[:, 29:]).weights.shape == (0, 1)


# hybrid


def blended(positives, F, cold, weight, cold_boost=1.0):
    """What `fit_hybrid` must give, from its parts."""
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
    model = fit_hybrid(positives, F, cold, gfcf_weight=0.4, cold_boost=1.5, **L3AE)
    assert_near(model.weights, blended(positives, F, cold, 0.4, 1.5), 1e-4)


def test_hybrid_without_gfcf_is_l3ae():
    positives, F = histories(60, 20)[:, :-1], texts(19, 6)
    cold = np.zeros(19, dtype=bool)
    alone = fit_hybrid(positives, F, cold, gfcf_weight=0.0, cold_boost=1.0, **L3AE)
    np.testing.assert_array_equal(alone.weights, fit_l3ae(positives, F, cold, **L3AE).weights)


@pytest.mark.parametrize("likes", [[[1, 0, 0], [0, 1, 0]], [[0, 0, 0]]])
def test_where_no_two_items_go_together_gfcf_has_no_say(likes):
    positives, F, cold = csr(likes), texts(3, 2), np.array([False, False, True])
    found = fit_hybrid(positives, F, cold, gfcf_weight=0.4, cold_boost=1.0, **L3AE)
    expected = fit_hybrid(positives, F, cold, gfcf_weight=0.0, cold_boost=1.0, **L3AE)
    np.testing.assert_array_equal(found.weights, expected.weights)


def test_the_scale_is_taken_from_users_with_a_history_spread_over_all(monkeypatch):
    monkeypatch.setattr("recsys_dagster.steps.models.hybrid.SAMPLE_USERS", 2)
    positives = csr([[1, 0], [0, 0], [0, 1], [1, 0], [0, 1]])  # users 0 and 3 are looked at
    assert score_deviation(positives, np.float32([[0, 4], [9, 9]])) == 2


# als


def fitted_als(positives):
    pytest.importorskip("implicit")
    return fit_als(positives, 8, 2.0, 5.0)


def test_als_solves_for_a_user_from_the_history():
    positives = histories(40, 20)
    model = fitted_als(positives)
    Y = model.item_factors.astype(np.float64)
    scores = model.score(block_of(positives))
    assert scores.dtype == np.float32
    for user, x in enumerate(positives.toarray()):
        if not x.any():
            assert (scores[user] == NOT_RANKED).all()
            continue
        # The minimum of Σ_i c_i (x_i − y_iᵀf)² + λ‖f‖², c_i = 5 for likes and 1 for the rest.
        C = np.diag(1 + 4 * x)
        factors = np.linalg.solve(Y.T @ C @ Y + 2 * np.eye(8), Y.T @ C @ x)
        np.testing.assert_allclose(scores[user], Y @ factors, atol=1e-4)


def test_als_gives_the_scores_and_reasons_of_implicit():
    implicit = pytest.importorskip("implicit.cpu.als")
    positives = histories(40, 20)
    model = fitted_als(positives)
    theirs = implicit.AlternatingLeastSquares(
        factors=8, regularization=2.0, alpha=5.0, num_threads=1
    )
    theirs.item_factors = model.item_factors
    found = model.score(block_of(positives))
    liking = np.flatnonzero(np.diff(positives.indptr))
    expected = theirs.recalculate_user(liking, positives[liking]) @ model.item_factors.T
    np.testing.assert_allclose(found[liking], expected, atol=1e-4)
    total, reasons, _ = theirs.explain(3, positives, 7, N=100)
    (parts,) = contributions(model, positives, [3], [7])
    history = positives[[3]].indices
    assert parts.sum() == pytest.approx(total, abs=1e-4) == pytest.approx(found[3, 7], abs=1e-4)
    by_item = dict(reasons)
    np.testing.assert_allclose(parts, [by_item[item] for item in history], atol=1e-4)


def test_als_contributions_come_pair_by_pair():
    positives = histories(20, 15)
    model = fitted_als(positives)
    scores = model.score(block_of(positives))
    rows, items = [0, 0, 4, 19], [3, 0, 14, 2]
    found = contributions(model, positives, rows, items)
    for row, item, parts in zip(rows, items, found, strict=True):
        assert len(parts) == positives[[row]].nnz
        if len(parts):
            assert parts.sum() == pytest.approx(scores[row, item], abs=1e-4)
    assert contributions(model, positives, [], [])[0].shape == (0,)


def test_als_without_a_like_ranks_nothing():
    model = fitted_als(sparse.csr_matrix((3, 4), dtype=np.float32))
    block = block_of(sparse.csr_matrix((3, 4), dtype=np.float32))
    assert (model.score(block) == NOT_RANKED).all()


def test_als_says_how_to_get_the_library_it_needs(monkeypatch):
    for name in [*(name for name in sys.modules if name.startswith("implicit.")), "implicit"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=r"pip install 'recsys-dagster\[als\]'"):
        fit_als(histories(5, 4), 2, 1.0, 1.0)


# All of them


def fitted(strategy, positives):
    F, cold = texts(positives.shape[1], 6), np.asarray(positives.sum(axis=0)).ravel() == 0
    match strategy:
        case "item_knn":
            return fit_item_knn(positives, 10, 2)
        case "ease":
            return fit_ease(positives, 20, 0.2)
        case "l3ae":
            return fit_l3ae(positives, F, cold, **L3AE)
        case "gfcf":
            return fit_gfcf(positives)
        case "als":
            return fitted_als(positives)
        case "hybrid":
            return fit_hybrid(positives, F, cold, gfcf_weight=0.3, cold_boost=1.5, **L3AE)


LEARNED = ("item_knn", "ease", "l3ae", "gfcf", "als", "hybrid")


@pytest.mark.parametrize("strategy", LEARNED)
def test_a_history_of_somebody_unknown_is_scored_like_that_of_somebody_known(strategy):
    positives = histories(60, 25)
    model = fitted(strategy, positives)
    known = model.score(block_of(positives))[[7]]
    stranger = UserBlock(np.array([-1]), positives[[7]], positives[[7]])
    np.testing.assert_allclose(model.score(stranger), known, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("strategy", LEARNED)
def test_the_same_data_give_the_same_model(strategy):
    positives = histories(60, 25)
    first, second = (fitted(strategy, positives).score(block_of(positives)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("strategy", LEARNED)
def test_a_fit_does_not_change_what_it_is_given(strategy):
    positives = histories(60, 25)
    before = positives.copy()
    fitted(strategy, positives)
    assert (positives != before).nnz == 0
    assert (positives.data == 1).all()
