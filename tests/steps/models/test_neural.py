"""`neural`: its graph, what is hidden, and that torch trains what NumPy scores with."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import block_of, csr, evidence_of, histories
from scipy import sparse

from recsys_dagster.steps.models import STRATEGIES, neural
from recsys_dagster.steps.models.base import NOT_RANKED
from recsys_dagster.steps.models.denoiser import DenoiserModel, denoised, silu
from recsys_dagster.steps.models.item_weights import ItemWeightsModel
from recsys_dagster.steps.models.neural import NeuralSettings

SMALL = NeuralSettings(width=4, epochs=3)


def near(items, seed=0):
    """Some items whose texts are near those of others."""
    return sparse.random(items, items, 0.3, format="csr", dtype=np.float32, rng=seed)


def model_of(positives, own=SMALL, seed=1):
    """A model with parameters of chance, of items that all have a positive pair."""
    graph = neural.graph_of(positives)
    generator = np.random.default_rng(seed)
    parts = {
        name: array + generator.normal(0, 0.3, array.shape).astype(np.float32)
        for name, array in neural.first_parts(graph, own).items()
    }
    items = np.arange(positives.shape[1])
    return DenoiserModel(
        ItemWeightsModel(graph, items), near(len(items), seed), parts, own.smoothing, items
    )


@pytest.fixture
def positives():
    X = histories(30, 9, density=0.4)
    return X[:, np.flatnonzero(np.diff(X.tocsc().indptr))]


def test_the_graph_is_of_pairs_and_keeps_the_mass_of_a_signal():
    A = neural.graph_of(csr([[1, 1, 0], [1, 1, 0], [0, 0, 1]]))
    np.testing.assert_allclose(A, A.T)
    assert A[0, 2] == 0
    assert A[0, 1] > 0
    assert np.linalg.eigvalsh(A).max() == pytest.approx(1, abs=1e-5)


def test_torch_and_numpy_have_one_formula(positives):
    import torch

    model = model_of(positives)
    history = positives[:5].toarray()
    signal = np.random.default_rng(0).random(history.shape).astype(np.float32)
    code = history[:, :4].copy()
    steps = np.array([0, 1, 2, 1, 0])
    arguments = signal, history, code, 1 - signal, 2 * signal, model.parts, steps
    given = [torch.tensor(each) for each in arguments[:5]]
    parts = {name: torch.tensor(array) for name, array in model.parts.items()}
    found = denoised(*given, parts, torch.tensor(steps), torch.nn.functional.silu)
    np.testing.assert_allclose(found.numpy(), denoised(*arguments, silu), rtol=1e-4, atol=1e-5)


def test_a_score_is_the_formula_step_by_step(positives):
    model = model_of(positives)
    parts, A = model.parts, model.graph.weights
    c = positives[:1].toarray()
    code = c @ parts["items"] / c.sum()
    z = c + 1.5 * (c @ A - c)
    for step, share in ((2, 1.0), (1, 0.5), (0, 0.0)):
        x = denoised(z, c, code, c @ A, c @ model.neighbours, parts, step, silu)
        z = x + share * (x @ A - x)
    np.testing.assert_allclose(model.score(block_of(positives[:1])), z, rtol=1e-4, atol=1e-5)


@given(seed=st.integers(0, 999))
@settings(max_examples=20, deadline=None)
def test_contributions_are_the_slopes_of_the_last_step(seed):
    X = histories(20, 8, seed=seed, density=0.5)
    X = X[:, np.flatnonzero(np.diff(X.tocsc().indptr))]
    model = model_of(X, seed=seed)
    E, A = model.parts["items"].astype(float), model.graph.weights.astype(float)
    user = int(np.argmax(np.diff(X.indptr)))
    item = int(np.random.default_rng(seed).integers(X.shape[1]))
    history = X[[user]].indices
    before, _ = model._last(X[[user]])
    c, length = X[[user]].toarray().astype(float), len(history)

    S = model.neighbours.toarray().astype(float)

    def last(code, smooth, similar):
        double = {name: array.astype(float) for name, array in model.parts.items()}
        return denoised(before.astype(float), c, code, smooth, similar, double, 0, silu)[0, item]

    code, smooth, similar, step = c @ E / length, c @ A, c @ S, 1e-5
    expected = [
        (
            last(code + step * E[j] / length, smooth + step * A[j], similar + step * S[j])
            - last(code - step * E[j] / length, smooth - step * A[j], similar - step * S[j])
        )
        / (2 * step)
        for j in history
    ]
    found = model.contributions(block_of(X[[user]]), np.array([0]), np.array([item]))
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-4)


def test_what_is_held_back_is_hidden_of_some_and_nothing_is_lost():
    X = histories(200, 40, density=0.3)
    visible, hidden = neural.hold_back(X, seed=0)
    np.testing.assert_array_equal((visible + hidden).toarray(), X.toarray())
    assert visible.multiply(hidden).nnz == 0
    asked = np.flatnonzero(np.diff(hidden.indptr))
    assert 20 < len(asked) <= 40
    assert hidden.nnz < 0.4 * X[asked].nnz


def test_every_history_is_learned_from_once_in_a_pass():
    X = histories(250, 12, density=0.5)
    learners = np.flatnonzero(np.diff(X.indptr))
    batches = [neural.batch_of(X, learners, near(12), number, SMALL) for number in range(3)]
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


def test_items_without_a_positive_and_users_without_a_history_are_not_ranked():
    X = two_tastes()
    wide = sparse.hstack([X, sparse.csr_matrix((X.shape[0], 2))], format="csr").astype(np.float32)
    model = STRATEGIES["neural"].fit(evidence_of(wide, neighbours=near(22)), SMALL)
    scores = model.score(block_of(csr([wide[0].toarray()[0], np.zeros(22)])))
    assert np.isfinite(scores[0, :20]).all()
    assert (scores[0, 20:] == NOT_RANKED).all()
    assert (scores[1] == NOT_RANKED).all()


@pytest.mark.parametrize("positives", [[[0, 0]], [[1, 0]], [[1, 1]]])
def test_next_to_nothing_can_be_learned_from(positives):
    model = STRATEGIES["neural"].fit(evidence_of(csr(positives), neighbours=near(2)), SMALL)
    assert model.score(block_of(csr(positives))).shape == (1, 2)
