"""Strategies against the formulas they stand for."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from recsys_dagster.errors import UserError
from recsys_dagster.steps.models import inverse as inverse_module
from recsys_dagster.steps.models import memory
from recsys_dagster.steps.models.base import NOT_RANKED, ItemWeightsModel, UserBlock
from recsys_dagster.steps.models.content import ContentModel
from recsys_dagster.steps.models.ease import fit_ease, gram
from recsys_dagster.steps.models.gfcf import fit_gfcf
from recsys_dagster.steps.models.hybrid import TRANSFER_NEIGHBOURS, fit_hybrid, transfer_shares
from recsys_dagster.steps.models.inverse import regularised_inverse
from recsys_dagster.steps.models.l3ae import fit_l3ae, l3ae_weights
from recsys_dagster.steps.models.popular import PopularModel, popularity
from recsys_dagster.steps.models.profiles import WithProfiles
from recsys_dagster.steps.models.similar_items import fit_similar_items
from recsys_dagster.steps.similarity.tables import item_neighbours


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


def contributions(model, positives, rows, items):
    """One array (history,) a pair."""
    block = block_of(positives)
    parts = model.contributions(block, np.asarray(rows), np.asarray(items))
    return np.split(parts, np.cumsum(block.lengths[rows])[:-1])


def assert_near(found, expected, tolerance=1e-5):
    """Equal relative to the scale of the whole."""
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


# Histories


def test_entries_are_the_histories_one_after_the_other():
    positives = sparse.csr_matrix(np.array([[1, 1, 0], [0, 0, 0], [0, 1, 1]], dtype=np.float32))
    block = block_of(positives)
    assert block.lengths.tolist() == [2, 0, 2]
    assert positives.indices[block.entries(np.array([0, 0, 1, 2]))].tolist() == [0, 1, 0, 1, 1, 2]
    assert block.entries(np.empty(0, dtype=np.int64)).tolist() == []


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
    assert not np.concatenate(contributions(model, positives, [0, 0, 3], [1, 2, 2])).any()


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
    rows, items = [0, 0, 2], [0, 5, 5]
    for row, item, parts in zip(
        rows, items, contributions(model, weights, rows, items), strict=True
    ):
        expected = weights.toarray()[row] * (vectors @ vectors[item])
        np.testing.assert_allclose(parts, expected[weights[[row]].indices], atol=1e-6)
    assert contributions(model, weights, [], [])[0].shape == (0,)


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
        parts = contributions(model, positives, [user] * 30, range(30))
        np.testing.assert_allclose(np.transpose(parts), np.nan_to_num(dense[history]), atol=1e-7)


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
    assert model.history_items.tolist() == np.flatnonzero(X.any(axis=0)).tolist()
    assert_near(model.weights, B[model.history_items])
    assert (model.weights[model.history_items, model.history_items] == 0).all()
    assert not B[24].any()  # nobody has the last item: it needs no row
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
    for item in range(11):
        others = np.delete(np.arange(11), item)
        A = X[:, others]
        expected = np.linalg.solve(A.T @ A + 3 * np.eye(10), A.T @ X[:, item])
        np.testing.assert_allclose(weights[others, item], expected, atol=1e-5)


def test_contributions_add_up_to_the_score():
    positives = histories(20, 15)
    model = fit_ease(positives, 10)
    scores = model.score(block_of(positives))
    rows, items = np.repeat(np.arange(20), 3), np.tile([3, 0, 14], 20)
    for row, item, parts in zip(
        rows, items, contributions(model, positives, rows, items), strict=True
    ):
        assert len(parts) == positives[[row]].nnz
        if len(parts):
            assert parts.sum() == pytest.approx(scores[row, item], abs=1e-5)


def test_history_items_without_a_row_of_weights_say_nothing():
    model = ItemWeightsModel("ease", np.array([[0, 0.5, 0.25]], np.float32), np.array([2]))
    positives = sparse.csr_matrix(np.array([[1, 0, 1], [1, 0, 0]], dtype=np.float32))
    scores = model.score(block_of(positives))
    assert scores.tolist() == [[0, 0.5, 0.25], [NOT_RANKED] * 3]
    parts = contributions(model, positives, [0, 1], [1, 1])
    assert [part.tolist() for part in parts] == [[0, 0.5], [0]]


def test_the_gram_matrix_does_not_depend_on_its_blocks(monkeypatch):
    positives = histories(40, 23)
    X = positives.toarray()
    monkeypatch.setattr("recsys_dagster.steps.models.ease.GRAM_ROWS", 5)
    np.testing.assert_array_equal(gram(positives), X.T @ X)
    assert gram(positives[:, :0]).shape == (0, 0)


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
    positives = histories(60, 20)[:, :-1]
    found = l3ae_weights(
        positives, texts(19, 8), regularisation=30, semantic_weight=0, semantic_regularisation=5
    )
    assert_near(found, fit_ease(positives, 30).weights)


# hybrid


def hybrid(positives, F, cold, cold_boost=1.0, gfcf_weight=0.0):
    return fit_hybrid(
        positives,
        F,
        cold,
        gfcf_weight=gfcf_weight,
        cold_boost=cold_boost,
        regularisation=50,
        semantic_weight=20,
        semantic_regularisation=5,
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
    warm = np.flatnonzero(~cold)
    B, _ = direct_l3ae(positives.toarray()[:, warm], F[warm], 50, 20, 5)
    itself = np.abs(B).max(axis=0).mean()
    expected = np.zeros((len(warm), items))
    expected[:, warm] = B
    for item in np.flatnonzero(cold):
        cosines = F[warm].astype(np.float64) @ F[item]
        nearest = np.argsort(-cosines, kind="stable")[:TRANSFER_NEIGHBOURS]
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


# Memory


def fit_with(strategy, positives, F, cold):
    match strategy:
        case "ease":
            return fit_ease(positives, 10)
        case "l3ae":
            return fit_l3ae(
                positives,
                F,
                cold,
                regularisation=50,
                semantic_weight=20,
                semantic_regularisation=5,
            )
        case "gfcf":
            return fit_gfcf(positives)
        case "hybrid":
            return hybrid(positives, F, cold)
        case "blend":
            return hybrid(positives, F, cold, gfcf_weight=0.3)


@pytest.mark.parametrize("strategy", ["ease", "l3ae", "gfcf", "hybrid", "blend"])
@pytest.mark.parametrize("cold_items", [0, 2000])
def test_a_fit_takes_the_memory_it_states(monkeypatch, strategy, cold_items):
    # All else as small beside the matrices as it is where they are large.
    for name in ("inverse.LEAF", "ease.GRAM_ROWS", "gfcf.GRAM_ROWS", "hybrid.BLOCK_ROWS"):
        monkeypatch.setattr(f"recsys_dagster.steps.models.{name}", 32)
    monkeypatch.setattr("recsys_dagster.steps.models.hybrid.TRANSFER_NEIGHBOURS", 10)
    monkeypatch.setattr("recsys_dagster.steps.models.hybrid.SAMPLE_USERS", 10)
    monkeypatch.setattr("recsys_dagster.steps.models.gfcf.LOW_PASS_RANK", 8)
    learned = 1000
    warm = sparse.random(300, learned, density=0.05, format="csr", dtype=np.float32, rng=0)
    warm.data[:] = 1
    positives = sparse.hstack([warm, sparse.csr_matrix((300, cold_items))], format="csr")
    positives = positives.astype(np.float32)
    F = texts(learned + cold_items, 4)
    cold = np.arange(learned + cold_items) >= learned
    fit_with(strategy, positives[:, :3], F[:3], cold[:3])  # what it imports is not its own
    tracemalloc.start()
    fit_with(strategy, positives, F, cold)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    stated = memory.fit_bytes(learned, learned + cold_items)
    assert 0.8 * stated < peak < 1.25 * stated


@pytest.mark.parametrize("strategy", ["ease", "l3ae", "gfcf", "hybrid"])
def test_a_fit_without_the_memory_is_refused_with_the_ways_out(monkeypatch, strategy):
    positives, F = histories(20, 10, density=0.9), texts(10, 3)
    cold = np.arange(10) == 9
    needed = 4 * 9 * (9 + 10)
    monkeypatch.setattr(memory, "available_bytes", lambda: needed)
    fit_with(strategy, positives, F, cold)
    monkeypatch.setattr(memory, "available_bytes", lambda: needed - 1)
    with pytest.raises(UserError) as raised:
        fit_with(strategy, positives, F, cold)
    for part in (
        f"strategy: {strategy} would learn from 9 of 10 items",
        "interactions.minimum_per_item",
        "strategy: similar_items",
        "strategy: content",
    ):
        assert part in str(raised.value)


def test_the_refusal_says_how_much_is_needed_and_how_much_there_is(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 6 * memory.GIB)
    memory.require_memory("hybrid", 3_200, 32_132)
    with pytest.raises(UserError, match=r"32,132 of 32,132 .* 7\.7 GiB .* 6\.0 GiB"):
        memory.require_memory("hybrid", 32_132, 32_132)


def test_where_the_system_does_not_tell_nothing_is_refused(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: None)
    memory.require_memory("ease", 10**9, 10**9)


def test_available_memory_is_what_linux_says_else_the_free_pages(monkeypatch, tmp_path):
    meminfo = tmp_path / "meminfo"
    monkeypatch.setattr(memory, "MEMINFO", meminfo)
    pages = {"SC_PAGE_SIZE": 4096, "SC_AVPHYS_PAGES": 10}
    monkeypatch.setattr(memory.os, "sysconf", pages.__getitem__)
    assert memory.available_bytes() == 40_960
    meminfo.write_text("MemTotal:       99 kB\nMemAvailable:    7 kB\n")
    assert memory.available_bytes() == 7 * 1024
    meminfo.unlink()

    def unknown(name):
        raise ValueError(name)

    monkeypatch.setattr(memory.os, "sysconf", unknown)
    assert memory.available_bytes() is None


# profiles


def test_who_has_no_history_is_ranked_by_the_matrix_and_everybody_else_as_before():
    positives = sparse.csr_matrix(np.array([[1, 0, 0], [0, 0, 0], [0, 0, 0]], dtype=np.float32))
    kept = sparse.csr_matrix(([0.9, 0.5], ([0, 1], [1, 2])), shape=(3, 3)).astype(np.float32)
    own = PopularModel(np.array([3, 2, 1], dtype=np.float32))
    model = WithProfiles(own, kept)
    scores = model.score(block_of(positives))
    nothing = [NOT_RANKED, NOT_RANKED, NOT_RANKED]
    np.testing.assert_array_equal(
        scores, np.array([[3, 2, 1], [NOT_RANKED, NOT_RANKED, 0.5], nothing], dtype=np.float32)
    )
    assert model.strategy == "popular"
