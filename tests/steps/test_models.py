"""Strategies against the formulas they stand for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from recsys_dagster.catalog import Catalog
from recsys_dagster.steps import strategies
from recsys_dagster.steps.models import inverse as inverse_module
from recsys_dagster.steps.models.base import NOT_RANKED, UserBlock
from recsys_dagster.steps.models.content import ContentModel
from recsys_dagster.steps.models.ease import fit_ease
from recsys_dagster.steps.models.hybrid import TRANSFER_NEIGHBOURS, fit_hybrid, transfer_to_cold
from recsys_dagster.steps.models.inverse import regularised_inverse
from recsys_dagster.steps.models.l3ae import l3ae_weights
from recsys_dagster.steps.models.popular import PopularModel, popularity
from recsys_dagster.steps.models.similar_items import fit_similar_items
from recsys_dagster.steps.similarity import Space
from recsys_dagster.steps.similarity_tables import item_neighbours

STRATEGIES = ("popular", "content", "similar_items", "ease", "hybrid")


def histories(users, items, seed=0, density=0.2):
    """Random X, csr float32 of ones; the last user and the last item have none."""
    X = np.random.default_rng(seed).random((users, items)) < density
    X[-1] = X[:, -1] = False
    return sparse.csr_matrix(X.astype(np.float32))


def texts(items, dimension, seed=0):
    F = np.random.default_rng(seed + 1).standard_normal((items, dimension))
    return (F / np.linalg.norm(F, axis=1, keepdims=True)).astype(np.float32)


def block_of(positives, weights=None):
    return UserBlock(
        np.arange(positives.shape[0]), positives, positives if weights is None else weights
    )


def assert_near(found, expected, tolerance=1e-5):
    """Equal relative to the scale of the whole."""
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


# The inverse


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("n", "leaf"), [(0, 4), (1, 4), (4, 4), (5, 4), (37, 4), (64, 1), (90, 16)]
)
def test_the_inverse_is_the_inverse(monkeypatch, dtype, n, leaf):
    monkeypatch.setattr(inverse_module, "LEAF", leaf)
    half = np.random.default_rng(n).standard_normal((n, n + 3))
    matrix = half @ half.T
    expected = np.linalg.inv(matrix + 2.5 * np.eye(n))
    given_matrix = matrix.astype(dtype)
    found = regularised_inverse(given_matrix, 2.5)
    assert found is given_matrix
    np.testing.assert_allclose(found, expected, atol=1e-4 if dtype == np.float32 else 1e-11)
    np.testing.assert_allclose(found, found.T, atol=1e-7)


@pytest.mark.parametrize("leaf", [2, 1024])
@pytest.mark.parametrize("where", [0, 5, 9])
def test_a_matrix_that_is_not_positive_definite_is_refused(monkeypatch, leaf, where):
    monkeypatch.setattr(inverse_module, "LEAF", leaf)
    matrix = np.eye(10)
    matrix[where, where] = -1
    with pytest.raises(ValueError, match="not positive definite"):
        regularised_inverse(matrix, 0.5)
    with pytest.raises(ValueError, match="not positive definite"):
        regularised_inverse(np.ones((10, 10)), 0)


# popular


def test_popularity_is_the_share_of_users_who_like_anything():
    positives = sparse.csr_matrix(np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]], dtype=np.float32))
    assert popularity(positives).tolist() == [1, 0.5, 0]
    assert popularity(sparse.csr_matrix((3, 2), dtype=np.float32)).tolist() == [0, 0]


def test_popular_says_the_same_to_everybody_and_blames_nobody():
    positives = histories(6, 5)
    model = PopularModel(popularity(positives))
    scores = model.score(block_of(positives))
    assert (scores == scores[0]).all()
    history, contributions = model.contributions(block_of(positives), 0, np.array([1, 2]))
    assert history.shape == (0,)
    assert contributions.shape == (0, 2)


# content


def test_content_ranks_what_the_matrix_keeps_and_nothing_else():
    kept = sparse.csr_matrix(([0.5, 0.0, -0.2], ([0, 0, 1], [1, 2, 0])), shape=(2, 3))
    model = ContentModel(kept.astype(np.float32), np.eye(3, dtype=np.float32))
    scores = model.score(block_of(sparse.csr_matrix((2, 3), dtype=np.float32)))
    expected = np.array([[NOT_RANKED, 0.5, 0], [-0.2, NOT_RANKED, NOT_RANKED]], dtype=np.float32)
    np.testing.assert_array_equal(scores, expected)


def test_contents_contributions_are_parts_of_the_inner_product():
    rng = np.random.default_rng(0)
    vectors = texts(8, 4)
    weights = sparse.csr_matrix(
        (rng.random((3, 8)) * (rng.random((3, 8)) < 0.5)).astype(np.float32)
    )
    model = ContentModel(sparse.csr_matrix((3, 8), dtype=np.float32), vectors)
    items = np.array([0, 5])
    for row in range(3):
        history, parts = model.contributions(block_of(weights, weights), row, items)
        assert history.tolist() == np.flatnonzero(weights.toarray()[row]).tolist()
        expected = (weights[[row]] @ vectors) @ vectors[items].T
        np.testing.assert_allclose(parts.sum(axis=0), expected[0], atol=1e-6)


# similar_items


def test_similar_items_worked_example():
    # r_u = argmax_i Σ_{j ∈ J(u)} S_ij, by hand: items 0 and 1 are the user's.
    S = np.array(
        [
            [1.0, 0.2, 0.9, 0.5],
            [0.2, 1.0, 0.1, 0.6],
            [0.9, 0.1, 1.0, 0.3],
            [0.5, 0.6, 0.3, 1.0],
        ],
        dtype=np.float32,
    )
    neighbours = sparse.csr_matrix(S - np.eye(4, dtype=np.float32))
    user = sparse.csr_matrix(np.array([[1, 1, 0, 0]], dtype=np.float32))
    scores = fit_similar_items(neighbours).score(block_of(user))[0]
    np.testing.assert_allclose(scores[2:], [0.9 + 0.1, 0.5 + 0.6])
    assert scores[2:].argmax() + 2 == 3


@pytest.mark.parametrize("kept", [4, 100])
def test_similar_items_sums_over_the_neighbours_of_the_history(kept):
    vectors, positives = texts(30, 6), histories(12, 30)
    entries = item_neighbours(vectors, kept, "cosine")
    S = sparse.csr_matrix((entries.similarities, (entries.rows, entries.columns)), shape=(30, 30))
    dense = np.full((30, 30), np.nan)
    dense[entries.rows, entries.columns] = entries.similarities
    model = fit_similar_items(S)
    scores = model.score(block_of(positives))
    for user, history in enumerate(np.split(positives.indices, positives.indptr[1:-1])):
        for item in range(30):
            votes = dense[history, item]
            if np.isnan(votes).all():
                assert scores[user, item] == NOT_RANKED
            else:
                assert scores[user, item] == pytest.approx(np.nansum(votes), abs=1e-5)
        of_history, parts = model.contributions(block_of(positives), user, np.arange(30))
        np.testing.assert_array_equal(of_history, history)
        np.testing.assert_allclose(parts, np.nan_to_num(dense[history]), atol=1e-7)


# ease


@pytest.mark.parametrize("regularisation", [0.5, 20, 500])
def test_ease_is_the_textbook_formula(regularisation):
    positives = histories(80, 25)
    X = positives.toarray().astype(np.float64)
    P = np.linalg.inv(X.T @ X + regularisation * np.eye(25))
    B = -P / np.diag(P)
    np.fill_diagonal(B, 0)
    model = fit_ease(positives, regularisation)
    assert isinstance(model.weights, np.ndarray)
    assert model.weights.dtype == np.float32
    assert_near(model.weights, B)
    assert (np.diag(model.weights) == 0).all()
    scores = model.score(block_of(positives))
    has_history = X.any(axis=1)
    assert_near(scores[has_history], (X @ B)[has_history])
    assert (scores[~has_history] == NOT_RANKED).all()
    assert not has_history.all()


def test_ease_solves_its_least_squares_problem():
    # Column by column: ridge regression of an item on all the others.
    positives = histories(60, 12)
    X = positives.toarray().astype(np.float64)
    weights = fit_ease(positives, 3).weights
    for item in range(12):
        others = np.delete(np.arange(12), item)
        A = X[:, others]
        expected = np.linalg.solve(A.T @ A + 3 * np.eye(11), A.T @ X[:, item])
        np.testing.assert_allclose(weights[others, item], expected, atol=1e-5)


def test_contributions_add_up_to_the_score():
    positives = histories(20, 15)
    model = fit_ease(positives, 10)
    scores = model.score(block_of(positives))
    items = np.array([3, 0, 14])
    for row in range(19):
        _, parts = model.contributions(block_of(positives), row, items)
        np.testing.assert_allclose(parts.sum(axis=0), scores[row, items], atol=1e-5)


# l3ae


def direct_l3ae(X, F, regularisation, semantic_weight, semantic_regularisation):
    """The paper's two inverses, in float64."""
    X, F, identity = X.astype(np.float64), F.astype(np.float64), np.eye(len(F))
    P1 = np.linalg.inv(F @ F.T + semantic_regularisation * identity)
    C = -P1 / np.diag(P1)
    np.fill_diagonal(C, 0)
    P = np.linalg.inv(X.T @ X + regularisation * identity)
    PC = P @ C
    B = semantic_weight * PC - P * ((1 + semantic_weight * np.diag(PC)) / np.diag(P))
    np.fill_diagonal(B, 0)
    return B, C


@given(
    seed=st.integers(0, 1000),
    items=st.integers(2, 40),
    dimension=st.integers(1, 50),
    regularisation=st.sampled_from([10.0, 100.0, 500.0]),
    share=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    semantic_regularisation=st.sampled_from([1.0, 5.0, 10.0]),
)
def test_the_fast_form_equals_the_direct_one(
    seed, items, dimension, regularisation, share, semantic_regularisation
):
    positives, F = histories(60, items, seed), texts(items, dimension, seed)
    F[0] = 0  # an item without a text
    semantic_weight = share * regularisation
    found = l3ae_weights(
        positives,
        F,
        regularisation=regularisation,
        semantic_weight=semantic_weight,
        semantic_regularisation=semantic_regularisation,
    )
    expected, _ = direct_l3ae(
        positives.toarray(), F, regularisation, semantic_weight, semantic_regularisation
    )
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() <= 1e-5 * max(np.abs(expected).max(), 1e-3)


def test_l3ae_minimises_its_objective():
    positives, F = histories(50, 10), texts(10, 4)
    X, own, pull = positives.toarray(), 20.0, 30.0
    _, C = direct_l3ae(X, F, own + pull, pull, 5)
    B = l3ae_weights(
        positives, F, regularisation=own + pull, semantic_weight=pull, semantic_regularisation=5
    ).astype(np.float64)
    gradient = X.T @ (X @ B - X) + own * B + pull * (B - C)
    np.fill_diagonal(gradient, 0)  # the diagonal is not free
    np.testing.assert_allclose(gradient, 0, atol=1e-4)


def test_l3ae_without_semantics_is_ease():
    positives = histories(60, 20)
    found = l3ae_weights(
        positives, texts(20, 8), regularisation=30, semantic_weight=0, semantic_regularisation=5
    )
    assert_near(found, fit_ease(positives, 30).weights)


# hybrid


def hybrid(positives, F, cold, cold_boost=1.0):
    return fit_hybrid(
        positives,
        F,
        cold,
        regularisation=50,
        semantic_weight=20,
        semantic_regularisation=5,
        cold_boost=cold_boost,
    )


@pytest.mark.parametrize("cold_boost", [1.0, 2.5])
@pytest.mark.parametrize("items", [30, 160])
def test_cold_columns_are_those_of_their_neighbours(items, cold_boost):
    positives, F = histories(80, items).tolil(), texts(items, 6)
    cold = np.zeros(items, dtype=bool)
    cold[[2, 7, items - 1]] = True
    positives[:, cold] = 0
    positives = positives.tocsr()
    positives.eliminate_zeros()
    B, _ = direct_l3ae(positives.toarray(), F, 50, 20, 5)
    warm = np.flatnonzero(~cold)
    itself = np.abs(B[np.ix_(warm, warm)]).max(axis=0).mean()
    expected = np.where(cold, 0, B)
    for item in np.flatnonzero(cold):
        cosines = F[warm].astype(np.float64) @ F[item]
        nearest = np.argsort(-cosines, kind="stable")[:TRANSFER_NEIGHBOURS]
        shares = np.maximum(cosines[nearest], 0) ** 3
        shares /= shares.sum()
        column = np.zeros(items)
        for share, j in zip(shares, warm[nearest], strict=True):
            column[warm] += share * B[warm, j]
            column[j] += share * itself
        expected[:, item] = cold_boost * column
    found = hybrid(positives, F, cold, cold_boost).weights
    assert_near(found[warm], expected[warm], 1e-4)
    assert not found[np.ix_(cold, cold)].any()


def test_a_cold_item_near_the_history_beats_one_far_from_it():
    positives = sparse.csr_matrix(np.array([[1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0]], np.float32))
    F = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9], [0.95, 0.05], [0.05, 0.95]], np.float32)
    cold = np.array([False] * 4 + [True] * 2)
    scores = hybrid(positives, F, cold).score(block_of(positives))
    assert scores[0, 4] > scores[0, 5] > NOT_RANKED
    assert scores[1, 5] > scores[1, 4]
    assert scores[0, 4] > 0


@pytest.mark.parametrize("vector", [[0, 0], [-1, 0]])
def test_a_cold_item_without_a_positive_neighbour_has_a_zero_column(vector):
    weights = np.array([[0, 0.5, 9], [0.5, 0, 9], [9, 9, 0]], dtype=np.float32)
    F = np.array([[1, 0], [1, 0], vector], dtype=np.float32)
    transfer_to_cold(weights, F, np.array([False, False, True]), 1.0)
    assert weights[:, 2].tolist() == [0, 0, 0]
    assert weights[0, 1] == 0.5


@pytest.mark.parametrize("all_cold", [True, False])
def test_nothing_is_transferred_where_all_or_none_are_cold(all_cold):
    positives = sparse.csr_matrix((3, 5), dtype=np.float32) if all_cold else histories(9, 5)
    F = texts(5, 3)
    model = hybrid(positives, F, np.full(5, all_cold))
    assert_near(model.weights, direct_l3ae(positives.toarray(), F, 50, 20, 5)[0])


# Names to models


def catalog_of(strategy):
    return Catalog.model_validate(
        {
            "name": "shop",
            "interactions": {"source": "x.csv"},
            "items": {"source": "y.csv", "text": "{title}"},
            "strategy": strategy,
            "models": {"ease_regularisation": 10, "hybrid_regularisation": 10},
        }
    )


def evidence_of(behaviour, vectors):
    users, items = behaviour.seen.shape
    return strategies.Evidence(
        behaviour,
        vectors,
        sparse.csr_matrix((users, items), dtype=np.float32),
        sparse.csr_matrix((items, items), dtype=np.float32),
    )


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_of_the_catalog_is_a_model_of_that_name(behaviour_of, strategy):
    behaviour = behaviour_of([("u", "a"), ("v", "b"), ("v", "c")], ["u", "v", "w"], list("abcd"))
    model = strategies.fit(catalog_of(strategy), evidence_of(behaviour, texts(4, 3)))
    assert model.strategy == strategy
    block = block_of(behaviour.positives, behaviour.weights)
    scores = model.score(block)
    assert scores.shape == (3, 4)
    assert scores.dtype == np.float32
    history, contributions = model.contributions(block, 1, np.array([0, 3]))
    assert contributions.shape == (len(history), 2)


def test_an_item_that_people_only_dislike_is_not_cold(behaviour_of):
    pairs = [("u", "a"), ("u", "b"), ("v", "a"), ("v", "b"), ("v", "disliked", 1.0, False)]
    behaviour = behaviour_of(pairs, ["u", "v"], ["a", "b", "disliked", "unknown"])
    F = Space("cosine", None).project(np.array([[1, 0.1], [1, 0], [1, 0.05], [1, 0.05]]))
    weights = strategies.fit(catalog_of("hybrid"), evidence_of(behaviour, F)).weights
    a, disliked, unknown = 0, 2, 3
    learned, _ = direct_l3ae(behaviour.positives.toarray(), F, 10, 200, 5)
    np.testing.assert_allclose(weights[:3, disliked], learned[:3, disliked], rtol=1e-4)
    # Identical texts: the transferred column differs from the learned one.
    assert weights[a, unknown] > 0
    assert weights[a, unknown] != pytest.approx(weights[a, disliked], rel=1e-3)
