"""`neural`: its graph, what is hidden, and that torch trains what NumPy scores with."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import block_of, csr, evidence_of, histories
from scipy import sparse

from recsys_dagster.steps.models import STRATEGIES, memory, neural
from recsys_dagster.steps.models.base import NOT_RANKED
from recsys_dagster.steps.models.denoiser import DenoiserModel, decoded, mixed, own_part, silu
from recsys_dagster.steps.models.item_weights import ItemWeightsModel
from recsys_dagster.steps.models.neural import NeuralSettings

SMALL = NeuralSettings(width=4, epochs=3)


def near(items, seed=0):
    """Some items whose texts are near those of others."""
    return sparse.random(items, items, 0.3, format="csr", dtype=np.float32, rng=seed)


def model_of(positives, own=SMALL, seed=1):
    """A model with parameters of chance, of items that all have a positive pair."""
    graph, masses = neural.graph_of(positives)
    generator = np.random.default_rng(seed)
    parts = {
        name: array + generator.normal(0, 0.3, array.shape).astype(np.float32)
        for name, array in neural.first_parts(graph, own).items()
    }
    parts["masses"] = masses
    items = np.arange(positives.shape[1])
    nobody = sparse.csr_matrix((0, len(items)), dtype=np.float32)
    weights = ItemWeightsModel(graph, items)
    return DenoiserModel(weights, near(len(items), seed), parts, own.smoothing, 0.5, items, nobody)


@pytest.fixture
def positives():
    X = histories(30, 9, density=0.4)
    return X[:, np.flatnonzero(np.diff(X.tocsc().indptr))]


def test_the_graph_is_of_pairs_and_keeps_the_mass_of_a_signal():
    A, _ = neural.graph_of(csr([[1, 1, 0], [1, 1, 0], [0, 0, 1]]))
    np.testing.assert_allclose(A, A.T)
    assert A[0, 2] == 0
    assert A[0, 1] > 0
    assert np.linalg.eigvalsh(A).max() == pytest.approx(1, abs=1e-5)


def test_the_own_part_of_a_history_is_what_the_graph_has_of_it(positives):
    A, masses = neural.graph_of(positives)
    for user in range(5):
        others = positives.copy().tolil()
        others[user] = 0
        of_item = np.asarray(positives.sum(axis=0)).ravel()
        lengths = np.maximum(np.asarray(others.sum(axis=1)), 1)
        R = others.toarray() / lengths**0.25 * masses
        np.testing.assert_allclose(masses**2 * of_item, (masses**2 * of_item)[0], rtol=1e-4)
        part = positives[[user]].multiply(np.arange(positives.shape[1]) % 2).tocsr()
        own = own_part(part, positives[[user]], masses)
        expected = part @ (R.T @ R)
        np.testing.assert_allclose(part @ A - own.toarray(), expected, rtol=1e-3, atol=1e-5)


def test_torch_and_numpy_have_one_formula(positives):
    import torch

    model = model_of(positives)
    history = positives[:5].toarray()
    signal = np.random.default_rng(0).random(history.shape).astype(np.float32)
    code, steps = history[:, :4].copy(), np.array([0, 1, 2, 1, 0])

    def denoised(of, parts, steps, silu):
        channels = [decoded(of(signal), of(code), parts, steps, silu), *map(of, (history, signal))]
        return mixed("score", [*channels, of(1 - signal)], parts, steps, silu)

    parts = {name: torch.tensor(array) for name, array in model.parts.items()}
    by_torch = denoised(torch.tensor, parts, torch.tensor(steps), torch.nn.functional.silu)
    by_numpy = denoised(lambda array: array, model.parts, steps, silu)
    np.testing.assert_allclose(by_torch.numpy(), by_numpy, rtol=1e-4, atol=1e-5)


def test_a_score_is_the_formula_step_by_step(positives):
    model = model_of(positives)
    parts, A = model.parts, model.graph.weights
    c = positives[:1].toarray()
    code = c @ parts["items"] / c.sum()
    z = c + 1.5 * (c @ A - c)
    for step, share in ((2, 1.0), (1, 0.5), (0, 0.0)):
        smooth = c @ A - own_part(positives[:1], positives[:1], parts["masses"])
        channels = [decoded(z, code, parts, step, silu), c, smooth, c @ model.neighbours]
        x = mixed("score", channels, parts, step, silu)
        left = z - (x + (share + 0.5) * (x @ A - x))
        z = x + share * (x @ A - x) + 0.5 * left
    np.testing.assert_allclose(model.score(block_of(positives[:1])), z, rtol=1e-4, atol=1e-5)


@given(seed=st.integers(0, 999), cold=st.booleans())
@settings(max_examples=30, deadline=None)
def test_contributions_are_the_slopes_of_the_last_step(seed, cold):
    """Found by moving what one history item gives to the last step, and nothing before it."""
    X = histories(20, 8, seed=seed, density=0.5)
    X = X[:, np.flatnonzero(np.diff(X.tocsc().indptr))]
    model = model_of(X, seed=seed)
    if cold:
        model = with_cold(model, 2, seed)
    items, user = X.shape[1], int(np.argmax(np.diff(X.indptr)))
    item = items + 1 if cold else int(np.random.default_rng(seed).integers(items))
    history = X[[user]].indices
    double = {name: array.astype(float) for name, array in model.parts.items()}
    E, A, w = double["items"], model.graph.weights.astype(float), model.shares.toarray()
    A, S = np.hstack([A, A @ w.T]), model.neighbours.toarray().astype(float)
    own = own_part(X[[user]], X[[user]], model.parts["masses"]).toarray()
    own = np.hstack([own, own @ w.T])
    (before, code), _, _ = model._last(X[[user]])

    def last(moved, by):
        """The score where history items count more, float64 (n,)."""
        codes = [before.astype(float), code + by * moved / len(history) @ E]
        score = mixed("code", codes, double, 0, silu) @ E.T
        c = np.hstack([X[[user]].toarray(), np.zeros((1, len(w)))])
        more = by * moved
        smooth = (c[:, :items] + more) @ A - own
        channels = [np.hstack([score, score @ w.T]), c, smooth]
        return mixed("score", [*channels, (c[:, :items] + more) @ S], double, 0, silu)[0, item]

    one = np.eye(items)
    expected = [(last(one[[j]], 1e-5) - last(one[[j]], -1e-5)) / 2e-5 for j in history]
    wide = sparse.hstack([X, sparse.csr_matrix((X.shape[0], len(w)))], format="csr")
    block = block_of(wide.astype(np.float32)[[user]])
    found = model.contributions(block, np.array([0]), np.array([item]))
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-4)


def with_cold(model, cold, seed):
    """The model with cold items beside, each lent by some."""
    items = len(model.columns)
    shares = sparse.random(cold, items, 0.5, format="csr", dtype=np.float32, rng=seed)
    neighbours = sparse.hstack([model.neighbours, near(items, seed + 1)[:, :cold]], format="csr")
    columns = np.arange(items + cold)
    return replace(model, columns=columns, shares=shares, neighbours=neighbours.astype(np.float32))


def test_a_cold_item_whose_text_is_that_of_another_is_scored_like_it(positives):
    warm = model_of(positives)
    items = len(warm.columns)
    twin = sparse.csr_matrix(np.eye(items, dtype=np.float32)[[3]])
    similar = sparse.hstack([warm.neighbours, warm.neighbours[:, [3]]], format="csr")
    model = replace(warm, columns=np.arange(items + 1), shares=twin, neighbours=similar)
    unseen = positives[np.flatnonzero(positives[:, [3]].toarray()[:, 0] == 0)]
    wide = sparse.hstack([unseen, sparse.csr_matrix((unseen.shape[0], 1))], format="csr")
    scores = model.score(block_of(wide.astype(np.float32)))
    np.testing.assert_allclose(scores[:, items], scores[:, 3], rtol=1e-5)
    np.testing.assert_allclose(scores[:, :items], warm.score(block_of(unseen)), rtol=1e-5)


def test_what_is_held_back_is_hidden_of_some_and_nothing_is_lost():
    X = histories(200, 40, density=0.3)
    visible, hidden = neural.hold_back(X, seed=0)
    np.testing.assert_array_equal((visible + hidden).toarray(), X.toarray())
    assert visible.multiply(hidden).nnz == 0
    asked = np.flatnonzero(np.diff(hidden.indptr))
    assert 20 < len(asked) <= 40
    assert hidden.nnz <= 0.2 * X[asked].nnz
    assert (np.diff(visible.indptr)[asked] >= 4).all()


def test_the_newest_are_hidden_where_there_is_an_order():
    X = histories(200, 50, density=0.3)
    recency = X.copy()
    recency.data = np.random.default_rng(1).random(X.nnz).astype(np.float32)
    visible, hidden = neural.hold_back(recency, seed=0)
    recency = recency.toarray()
    for user in np.flatnonzero(np.diff(hidden.indptr)):
        newest = recency[user][hidden[[user]].toarray()[0] > 0].min()
        assert newest > recency[user][visible[[user]].toarray()[0] > 0].max()


def test_every_history_is_learned_from_once_in_a_pass():
    X = histories(250, 12, density=0.5)
    learners = np.flatnonzero(np.diff(X.indptr))
    batches = [
        neural.batch_of(X, learners, near(12), np.ones(12, dtype=np.float32), number, SMALL)
        for number in range(3)
    ]
    together = sparse.vstack([batch.whole for batch in batches])
    assert sorted(map(tuple, together.toarray())) == sorted(map(tuple, X[learners].toarray()))
    for batch in batches:
        kept = batch.part.toarray() != 0
        assert (batch.whole.toarray()[kept] == 1).all()
        assert set(batch.part.data) == {2.0}
        assert set(batch.steps) <= {0, 1, 2}
        np.testing.assert_allclose(batch.similar, batch.part.toarray() @ near(12).toarray())


def test_ndcg_is_that_of_the_evaluation():
    from recsys_dagster.steps.evaluation.metrics import accuracy

    visible, hidden = neural.hold_back(histories(60, 50, density=0.4), seed=3)
    asked = np.flatnonzero(np.diff(hidden.indptr))
    scores = np.random.default_rng(0).random((len(asked), 50)).astype(np.float32)
    masked = np.where(visible[asked].toarray() > 0, -np.inf, scores)
    ranked = np.argsort(-masked, axis=1, kind="stable")[:, :20]
    expected = accuracy(ranked, (hidden[asked] > 0).tocsr(), [20])["ndcg@20"].mean()
    assert neural.ndcg_of(scores, visible[asked], hidden[asked]) == pytest.approx(expected)


def two_tastes(users=80, items=20, seed=0):
    """Even users like the first half of the items, odd ones the second."""
    generator = np.random.default_rng(seed)
    X = np.zeros((users, items), dtype=np.float32)
    for user in range(users):
        own = np.arange(items // 2) + (user % 2) * (items // 2)
        X[user, generator.choice(own, 6, replace=False)] = 1
    return sparse.csr_matrix(X)


def test_it_learns_who_likes_what():
    X = two_tastes()
    model = STRATEGIES["neural"].fit(
        evidence_of(X, neighbours=near(20)), NeuralSettings(width=8, epochs=300, learning_rate=0.02)
    )
    scores = model.score(block_of(X))
    scores[X.toarray() > 0] = NOT_RANKED
    best = np.argsort(-scores, axis=1)[:, :4]
    even = np.arange(len(best)) % 2 == 0
    assert (best[even] < 10).all()
    assert (best[~even] >= 10).all()


def test_the_same_seed_gives_the_same_model_and_another_one_another():
    evidence = evidence_of(two_tastes(), neighbours=near(20))
    one, again, other = (
        STRATEGIES["neural"].learn(evidence, NeuralSettings(width=4, epochs=3, seed=seed))
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one["items"], again["items"])
    assert not np.array_equal(one["items"], other["items"])


def test_cold_items_are_ranked_by_the_texts_they_are_near_to_and_not_without_one():
    X = two_tastes()
    wide = sparse.hstack([X, sparse.csr_matrix((X.shape[0], 2))], format="csr").astype(np.float32)
    F = np.zeros((22, 2), dtype=np.float32)
    F[:10, 0] = F[10:21, 1] = 1  # as the second half, and no text
    evidence = evidence_of(wide, F, neighbours=sparse.csr_matrix((22, 22), dtype=np.float32))
    own = NeuralSettings(width=8, epochs=300, learning_rate=0.02)
    scores = STRATEGIES["neural"].fit(evidence, own).score(block_of(wide))
    odd = np.arange(len(scores)) % 2 == 1
    assert scores[odd, 20].min() > scores[~odd, 20].max()
    assert (scores[:, 21] == NOT_RANKED).all()


def test_users_without_a_history_are_not_ranked():
    X = two_tastes()
    wide = sparse.hstack([X, sparse.csr_matrix((X.shape[0], 2))], format="csr").astype(np.float32)
    model = STRATEGIES["neural"].fit(evidence_of(wide, neighbours=near(22)), SMALL)
    scores = model.score(block_of(csr([wide[0].toarray()[0], np.zeros(22)])))
    assert np.isfinite(scores[0, :20]).all()
    assert (scores[1] == NOT_RANKED).all()


@pytest.mark.parametrize("positives", [[[0, 0]], [[1, 0]], [[1, 1]]])
def test_next_to_nothing_can_be_learned_from(positives):
    model = STRATEGIES["neural"].fit(evidence_of(csr(positives), neighbours=near(2)), SMALL)
    assert model.score(block_of(csr(positives))).shape == (1, 2)


@pytest.mark.parametrize("head", [3, 20])
def test_where_a_long_tail_is_not_learned_of_nobody_is_asked_for_it(monkeypatch, head):
    # Of some users all that is visible, or all that is hidden, lies in the tail.
    monkeypatch.setattr(memory, "MAX_DENSE", head)
    monkeypatch.setattr(memory, "MAX_HEAD", head)
    X = histories(200, 60, density=0.1)
    nothing = sparse.csr_matrix((60, 60), dtype=np.float32)
    vectors = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    evidence = replace(evidence_of(X, vectors), item_neighbours=lambda: nothing)
    model = STRATEGIES["neural"].fit(evidence, SMALL)
    scores = model.score(block_of(X))
    assert not np.isnan(scores).any()
    assert (scores > NOT_RANKED).any()
