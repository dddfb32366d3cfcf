"""Weights learned densely of the items with most interactions, and of the long tail after them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import L3AE_SETTINGS, block_of, contributions, evidence_of, settings_of, texts
from scipy import sparse

from recsys_dagster.steps.models import STRATEGIES, item_weights, long_tail, memory
from recsys_dagster.steps.models.base import NOT_RANKED
from recsys_dagster.steps.models.gfcf import GraphFilter, gfcf_weights
from recsys_dagster.steps.models.l3ae import autoencoder_of, l3ae_weights
from recsys_dagster.steps.models.long_tail import Parted, Together
from recsys_dagster.steps.models.pairs import (
    most_of_rows,
    pair_products,
    stored_values,
)

LINEAR = ("ease", "l3ae", "gfcf", "hybrid")
PARAMETERS = {
    "regularisation": 20.0,
    "semantic_weight": 8.0,
    "semantic_regularisation": 5.0,
    "dropout": 0.3,
    "user_weighting": 0.5,
    "item_weighting": 0.25,
}
USERS, ITEMS = 300, 60


def skewed(users=USERS, items=ITEMS, seed=0):
    """X whose columns fall from liked by many to liked by few, in no order."""
    random = np.random.default_rng(seed)
    popularity = random.permutation(1 / np.arange(1, items + 1) ** 0.7)
    X = random.random((users, items)) < 0.4 * popularity
    X[0] = True  # so that none is without a positive
    return sparse.csr_matrix(X.astype(np.float32))


def dense(columns, parted, items):
    """Weights of columns as (items × c)."""
    B = np.zeros((items, len(columns.head)), dtype=np.float32)
    B[parted.head], B[parted.tail] = columns.head.T, columns.tail.toarray().T
    return B


@pytest.fixture
def small_head(monkeypatch):
    """As if no more than 20 items could be learned of densely."""
    monkeypatch.setattr(memory, "MAX_DENSE", 20)
    monkeypatch.setattr(memory, "MAX_HEAD", 20)


def test_the_head_are_the_items_with_most_positives_of_equals_the_earlier():
    X = sparse.csr_matrix(np.array([[1, 1, 0, 1], [1, 0, 1, 0]], dtype=np.float32))
    parted = Parted.of(X, 2)
    assert parted.head.tolist() == [0, 1]
    assert parted.tail.tolist() == [2, 3]


def test_all_in_the_head_are_l3aes_weights():
    X, F = skewed(), texts(ITEMS, 5)
    parted = Parted.of(X, ITEMS)
    model = autoencoder_of(X, F, parted, **PARAMETERS)
    found = Together(X, parted, [(1.0, model)], F).of(np.arange(ITEMS))
    np.testing.assert_allclose(
        dense(found, parted, ITEMS), l3ae_weights(X, F, **PARAMETERS), atol=1e-6
    )


def test_head_and_tail_solve_the_equations_that_they_are_said_to(monkeypatch):
    monkeypatch.setattr(long_tail, "BLOCK", 7)
    X, F = skewed().toarray().astype(np.float64), texts(ITEMS, 5).astype(np.float64)
    own = PARAMETERS | {"user_weighting": 0.0, "item_weighting": 0.0}
    parted = Parted.of(sparse.csr_matrix(X.astype(np.float32)), 20)
    H, T = parted.head, parted.tail
    G = X.T @ X
    share = own["dropout"] / (1 - own["dropout"])
    ridge = own["regularisation"] + share * np.diag(G)
    P1 = np.linalg.inv(F @ F.T + own["semantic_regularisation"] * np.eye(ITEMS))
    C = own["semantic_weight"] * -P1 / np.diag(P1)
    np.fill_diagonal(C, 0)
    P = np.linalg.inv(G[np.ix_(H, H)] + np.diag(ridge[H]))
    of_tail = P @ (G[np.ix_(H, T)] + C[np.ix_(H, T)])

    X32 = sparse.csr_matrix(X.astype(np.float32))
    model = autoencoder_of(X32, F.astype(np.float32), parted, **own)
    together = Together(X32, parted, [(1.0, model)], F.astype(np.float32))
    found = np.hstack(
        [
            dense(together.of(block), parted, ITEMS)
            for block in long_tail.blocks_of(np.arange(ITEMS))
        ]
    )
    np.testing.assert_allclose(found[np.ix_(H, T)], of_tail, atol=1e-5)
    expected = G[T] + C[T] - G[np.ix_(T, H)] @ found[H]
    expected /= (np.diag(G) + ridge)[T][:, None]
    expected[np.arange(len(T)), T] = 0
    np.testing.assert_allclose(found[T], expected, atol=1e-5)


def test_the_filter_by_columns_is_that_of_all(monkeypatch):
    # The first singular vector alone: what follows is near each other in matrices of chance.
    monkeypatch.setattr("recsys_dagster.steps.models.gfcf.LOW_PASS_RANK", 1)
    X = skewed()
    parted = Parted.of(X, 20)
    found = Together(X, parted, [(1.0, GraphFilter(X, parted))], texts(ITEMS, 5))
    W = dense(found.of(np.arange(ITEMS)), parted, ITEMS)
    np.testing.assert_allclose(W, gfcf_weights(X), atol=1e-3 * np.abs(W).max())


def test_what_the_filter_lends_is_its_columns_mixed():
    X = skewed()
    parted, shares = Parted.of(X, 20), sparse.random(3, ITEMS, 0.2, "csr", np.float32, rng=0)
    graph = GraphFilter(X, parted)
    head, tail = graph.lent(shares)
    every = graph.of_head(np.arange(ITEMS))
    np.testing.assert_allclose(head, shares @ every, atol=1e-4 * np.abs(head).max())
    # The tail without the low-pass part: RᵀR without its diagonal.
    of_user, of_item = (np.maximum(X.sum(axis=axis), 1).A1 for axis in (1, 0))
    R = X.toarray() / np.sqrt(np.outer(of_user, of_item))
    together = R.T @ R * (1 - np.eye(ITEMS))
    np.testing.assert_allclose(tail.toarray(), shares @ together[:, parted.tail], atol=1e-6)


@pytest.mark.parametrize("strategy", LINEAR)
def test_nearly_what_a_dense_fit_says(strategy, request):
    X, F = skewed(), texts(ITEMS, 5)
    own = STRATEGIES[strategy]
    settings = settings_of(strategy, **({} if strategy in ("ease", "gfcf") else L3AE_SETTINGS))
    whole = own.fit(evidence_of(X, F), settings).score(block_of(X[1:50]))
    request.getfixturevalue("small_head")
    parted = own.fit(evidence_of(X, F), settings).score(block_of(X[1:50]))
    ranked = (whole > NOT_RANKED) & (parted > NOT_RANKED)
    assert ranked.mean() > 0.9
    assert np.corrcoef(whole[ranked], parted[ranked])[0, 1] > 0.97


@pytest.mark.parametrize("strategy", LINEAR)
def test_a_score_is_the_sum_of_what_it_rests_on(strategy, small_head):
    X, F = skewed(), texts(ITEMS, 5)
    own = STRATEGIES[strategy]
    settings = settings_of(strategy, recency_power=0)
    if strategy == "hybrid":
        settings = settings.model_copy(update={"popularity_weight": 0.0})
    model = own.fit(evidence_of(X, F), settings)
    rows, items = np.repeat(np.arange(5), 3), np.tile([3, 20, 41], 5)
    scores = model.score(block_of(X[1:6]))[rows, items]
    parts = contributions(model, X[1:6], rows, items)
    said = [part.sum() for part in parts]
    known = np.isfinite(scores)
    np.testing.assert_allclose(np.array(said)[known], scores[known], rtol=1e-3, atol=1e-5)


def test_items_that_nobody_touched_are_lent_columns(small_head):
    X, F = skewed().tolil(), texts(ITEMS, 5)
    X[:, [7, 30]] = 0
    X = sparse.csr_matrix(X)
    F[7], F[30] = F[11], F[12]
    scores = STRATEGIES["hybrid"].fit(evidence_of(X, F), settings_of("hybrid")).score(block_of(X))
    scores = scores[np.isfinite(scores).all(axis=1)]
    for cold, alike in ((7, 11), (30, 12)):
        assert np.corrcoef(scores[:, cold], scores[:, alike])[0, 1] > 0.5


def test_the_manifest_says_how_much_was_learned_densely(small_head):
    strategy = STRATEGIES["hybrid"]
    learned = strategy.learn(evidence_of(skewed(), texts(ITEMS, 5)), settings_of("hybrid"))
    assert strategy.about(learned) == {"head": 20, "learned": ITEMS}


def test_what_is_kept_of_an_item_goes_with_the_number_of_items():
    assert item_weights.kept_number(1_000) == item_weights.MAX_KEPT
    assert item_weights.kept_number(200_000) == 671
    assert item_weights.kept_number(200_000, 2**30) == 128
    assert item_weights.kept_number(200_000, 0) == item_weights.MIN_KEPT


@given(seed=st.integers(0, 99), pairs=st.integers(0, 40))
def test_values_of_pairs_are_those_of_the_whole_products(seed, pairs):
    random = np.random.default_rng(seed)
    left = sparse.random(9, 6, 0.4, "csr", np.float32, rng=seed)
    thin, right = (random.standard_normal((size, 6)).astype(np.float32) for size in (9, 5))
    rows, columns = random.integers(0, 9, pairs), np.sort(random.integers(0, 5, pairs))
    for found, whole in (
        (pair_products(thin, rows, right, columns), thin @ right.T),
        (pair_products(left, rows, right, columns), left @ right.T),
    ):
        np.testing.assert_allclose(found, whole[rows, columns], atol=1e-5)
    found = stored_values(left, rows, columns)
    np.testing.assert_array_equal(found, left.toarray()[rows, columns])


def test_the_most_of_each_row_stay():
    matrix = sparse.csr_matrix(np.array([[1, 3, 2, 0], [0, 1, 0, 0]], dtype=np.float32))
    np.testing.assert_array_equal(most_of_rows(matrix, 2).toarray(), [[0, 3, 2, 0], [0, 1, 0, 0]])
