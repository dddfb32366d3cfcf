"""`sequential`: its order, its windows, and that torch trains what NumPy scores with."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import block_of, csr, evidence_of
from scipy import sparse

from recsys_dagster.errors import UserError
from recsys_dagster.steps.models import STRATEGIES, sequential
from recsys_dagster.steps.models.base import NOT_RANKED
from recsys_dagster.steps.models.blend import SCALE
from recsys_dagster.steps.models.denoiser import silu
from recsys_dagster.steps.models.sequences import Sequences, padded
from recsys_dagster.steps.models.sequential import SequentialSettings
from recsys_dagster.steps.models.transformer import SequentialModel, encoded

SMALL = SequentialSettings(width=8, max_length=6, epochs=3, negatives=5)
sequences_of_items = st.lists(
    st.lists(st.integers(0, 11), max_size=9, unique=True), min_size=1, max_size=6
)


def recency_of(histories, items):
    """Csr (users × items) of histories given from the oldest item on."""
    matrix = np.zeros((len(histories), items), dtype=np.float32)
    for row, history in enumerate(histories):
        matrix[row, history] = 1 / np.arange(len(history), 0, -1)
    return csr(matrix)


def in_order(histories, items, F=None):
    """Evidence of histories that have an order."""
    recency = recency_of(histories, items)
    evidence = evidence_of(sparse.csr_matrix(recency.astype(bool), dtype=np.float32), F)
    return replace(evidence, behaviour=replace(evidence.behaviour, recency=recency))


def model_of(items=12, blocks=1, seed=1, own=SMALL):
    """A model with parameters of chance."""
    own = own.model_copy(update={"blocks": blocks})
    generator = np.random.default_rng(seed)
    parts = {
        name: array + generator.normal(0, 0.3, array.shape).astype(np.float32)
        for name, array in sequential.first_parts(np.zeros((items, 1)), own).items()
    }
    nobody = sparse.csr_matrix((0, items), dtype=np.float32)
    steps = sparse.random(items, items, 0.4, format="csr", dtype=np.float32, rng=seed)
    return SequentialModel(parts, steps, np.arange(items), nobody)


def cycles(users=120, items=12, length=7, seed=0):
    """Everybody goes round the items, from wherever they begin."""
    starts = np.random.default_rng(seed).integers(0, items, users)
    return [[(start + step) % items for step in range(length)] for start in starts]


@given(histories=sequences_of_items)
def test_sequences_come_back_from_their_recency(histories):
    sequences = Sequences.of(recency_of(histories, 12))
    assert sequences.lengths.tolist() == [len(history) for history in histories]
    found = sequences.newest(np.arange(len(histories)), 4)
    assert [each.tolist() for each in found] == [history[-4:] for history in histories]


@given(histories=sequences_of_items, max_length=st.integers(1, 5))
def test_each_step_from_an_item_to_the_next_is_in_one_window(histories, max_length):
    windows = sequential.windows_of(Sequences.of(recency_of(histories, 12)), max_length)
    assert all(2 <= len(window) <= max_length + 1 for window in windows)
    found = [(a, b) for window in windows for a, b in itertools.pairwise(window)]
    steps = [(a, b) for each in histories for a, b in itertools.pairwise(each)]
    assert sorted(found) == sorted(steps)


@pytest.mark.parametrize("blocks", [1, 2])
def test_torch_and_numpy_say_the_same_at_the_end_of_a_history(blocks):
    import torch

    model = model_of(blocks=blocks)
    histories = [np.array(own) for own in ([3], [1, 2, 5], [0, 4, 7, 9, 11, 2], [8, 1])]
    matrix = padded(histories)
    parts = {name: torch.tensor(array) for name, array in model.parts.items()}
    vectors = parts["items"][torch.tensor(matrix).clamp(min=0)]
    everywhere = torch.arange(matrix.shape[1])[None, :]
    found = encoded(parts, vectors, everywhere, torch, torch.nn.functional.silu)
    newest = torch.tensor([len(own) - 1 for own in histories])
    expected = found[torch.arange(len(histories)), newest].numpy()
    np.testing.assert_allclose(model.said(histories), expected, atol=1e-5)


@settings(deadline=None)
@given(histories=sequences_of_items)
def test_a_history_is_scored_alike_alone_and_among_others(histories):
    model, recency = model_of(), recency_of(histories, 12)
    together = model.score(block_of(recency.sign(), recency=recency))
    for row, history in enumerate(histories):
        own = recency[[row]]
        alone = model.score(block_of(own.sign(), recency=own))
        np.testing.assert_allclose(alone[0], together[row], rtol=1e-4, atol=1e-5)
        assert (alone == NOT_RANKED).all() == (not history)


def test_torch_computes_where_the_vectors_are():
    import torch

    model = model_of()
    parts = {name: torch.tensor(array, device="meta") for name, array in model.parts.items()}
    vectors = torch.empty((2, 3, SMALL.width), device="meta")
    places = torch.zeros((2, 1), dtype=torch.int64, device="meta")
    assert encoded(parts, vectors, places, torch, torch.nn.functional.silu).device.type == "meta"


def test_scores_of_any_size_are_numbers():
    model = model_of()
    for name in ("query", "key"):
        model.parts[name] *= 100
    recency = recency_of(cycles(40), 12)
    assert np.isfinite(model.score(block_of(recency.sign(), recency=recency))).all()


def test_of_what_came_together_no_order_is_learned():
    recency = csr([[1, 1, 1, 1 / 4]] * 60)  # the last item first, then three at once
    firsts = [
        window[1]
        for window in sequential.windows_of(Sequences.of(recency, np.random.default_rng(0)), 4)
    ]
    assert set(firsts) == {0, 1, 2}
    visible, hidden = sequential.hold_back_last(recency, 0)
    asked = np.flatnonzero(np.diff(hidden.indptr))
    assert set(hidden.indices) == {0, 1, 2}
    np.testing.assert_allclose(visible[asked].toarray()[:, 3], 1 / 3)


def test_what_comes_after_a_place_is_not_looked_at_there():
    model = model_of(blocks=2)
    vectors = model.parts["items"][np.array([[1, 2, 3, 4]])]
    changed = vectors.copy()
    changed[:, 2:] += 1
    first = np.array([[0, 1]])
    found = [encoded(model.parts, each, first, np, silu) for each in (vectors, changed)]
    np.testing.assert_allclose(*found, atol=1e-5)


def test_the_transformer_looks_at_the_newest_items_only():
    model = model_of()
    model = replace(model, steps=sparse.csr_matrix(model.steps.shape, dtype=np.float32))
    long, short = [[7, 8, 0, 1, 2, 3, 4, 5]], [[0, 1, 2, 3, 4, 5]]
    scores = [
        model.score(block_of(own.sign(), recency=own))
        for own in (recency_of(long, 12), recency_of(short, 12))
    ]
    np.testing.assert_allclose(*scores, rtol=1e-6)


def test_contributions_are_what_the_score_loses_without_an_item():
    model, history = model_of(), [4, 9, 2, 7]
    recency = recency_of([history, [3], []], 12)
    block = block_of(recency.sign(), recency=recency)
    whole = model.score(block)
    parts = model.contributions(block, np.array([0, 0, 1, 2]), np.array([1, 5, 0, 0]))
    assert parts.shape == (4 + 4 + 1,)
    for pair, item in enumerate([1, 5]):
        for place, gone in enumerate(sorted(history)):
            left = recency_of([[own for own in history if own != gone]], 12)
            without = model.score(block_of(left.sign(), recency=left))[0, item]
            assert parts[4 * pair + place] == pytest.approx(whole[0, item] - without, abs=1e-4)
    assert parts[8] == pytest.approx(whole[1, 0], abs=1e-5)


def test_it_learns_what_comes_next():
    histories = cycles()
    own = SMALL.model_copy(update={"epochs": 400, "width": 32, "dropout": 0.1})
    model = STRATEGIES["sequential"].fit(in_order(histories, 12), own)
    recency = recency_of(histories, 12)
    scores = model.score(block_of(recency.sign(), recency=recency))
    scores[recency.toarray() > 0] = NOT_RANKED
    following = [(history[-1] + 1) % 12 for history in histories]
    assert (scores.argmax(axis=1) == following).mean() > 0.95


def test_the_same_seed_gives_the_same_model_and_another_one_another():
    evidence = in_order(cycles(), 12)
    one, again, other = (
        STRATEGIES["sequential"].learn(evidence, SMALL.model_copy(update={"seed": seed}))
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one["items"], again["items"])
    assert not np.array_equal(one["items"], other["items"])


def test_item_vectors_begin_as_their_texts_are():
    F = np.repeat(np.eye(3, dtype=np.float32), 2, axis=0)
    items = sequential.first_parts(F, SMALL)["items"]
    likeness = items[:, :3] @ items[:, :3].T
    assert np.sqrt(np.mean(items[:, :3] ** 2)) == pytest.approx(sequential.FIRST_LENGTH, rel=1e-4)
    assert (likeness[F @ F.T > 0] > 0).all()
    assert (likeness[F @ F.T == 0] < 0).all()


def test_a_cold_item_is_scored_as_those_whose_texts_are_near():
    F = np.zeros((14, 12), dtype=np.float32)
    F[:12] = np.eye(12)
    F[12, 5] = 1  # as item 5; item 13 has no text
    arrays = STRATEGIES["sequential"].learn(in_order(cycles(), 14, F), SMALL)
    arrays.pop(SCALE, None)  # hybrid has its own way with them
    model = STRATEGIES["sequential"].load(arrays, SMALL)
    recency = recency_of([[1, 2], [12, 2]], 14)
    scores = model.score(block_of(recency.sign(), recency=recency))
    np.testing.assert_allclose(scores[:, 12], scores[:, 5], rtol=1e-5)
    assert (scores[:, 13] == NOT_RANKED).all()
    as_five = recency_of([[5, 2]], 14)
    np.testing.assert_allclose(
        scores[1], model.score(block_of(as_five.sign(), recency=as_five))[0], rtol=1e-5
    )


def test_the_last_positive_of_some_users_is_hidden():
    recency = recency_of(cycles(50), 12)
    visible, hidden = sequential.hold_back_last(recency, 0)
    asked = np.flatnonzero(np.diff(hidden.indptr))
    assert len(asked) == 10
    assert (recency[asked].multiply(hidden[asked]).sum(axis=1) == 1).all()
    left = [history[:-1] if user in asked else history for user, history in enumerate(cycles(50))]
    np.testing.assert_allclose(visible.toarray(), recency_of(left, 12).toarray(), rtol=1e-6)


@pytest.mark.parametrize("strategy", ["sequential", "markov"])
def test_histories_without_an_order_are_refused(strategy):
    own = STRATEGIES[strategy]
    with pytest.raises(UserError, match=r"the order of histories.*interactions\.columns"):
        own.learn(evidence_of(csr([[1, 1, 0], [0, 1, 1]])), own.settings())


@pytest.mark.parametrize("histories", [[[]], [[0]], [[0, 1]], [[0], [1]]])
def test_next_to_nothing_can_be_learned_from(histories):
    model = STRATEGIES["sequential"].fit(in_order(histories, 2), SMALL)
    recency = recency_of(histories, 2)
    assert model.score(block_of(recency.sign(), recency=recency)).shape == (len(histories), 2)
