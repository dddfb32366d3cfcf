"""What training changes of histories and texts, and that by default it changes nothing."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import csr, evidence_of, histories, texts
from scipy import sparse

from recsys_dagster.steps.models import STRATEGIES, neural, sequential
from recsys_dagster.steps.models.augmentation import (
    cropped,
    nearest_by_text,
    replaced,
    thinned,
)
from recsys_dagster.steps.models.neural import NeuralSettings
from recsys_dagster.steps.models.sequential import SequentialSettings

seeds = st.integers(0, 999)
shares = st.sampled_from([0.0, 0.3, 1.0])
sequences = st.lists(
    st.lists(st.integers(0, 11), min_size=2, max_size=9, unique=True).map(np.array),
    min_size=1,
    max_size=6,
)
OPTIONS = {"cropped_share": 0.5, "replaced_share": 0.3, "noise": 0.5, "hidden_share": 0.3}


def chance(seed):
    return np.random.default_rng(seed)


@given(histories=sequences, share=shares, seed=seeds)
def test_a_crop_is_a_part_without_gaps(histories, share, seed):
    found = cropped(histories, share, chance(seed))
    for own, whole in zip(found, histories, strict=True):
        start = whole.tolist().index(own[0])
        assert own.tolist() == whole[start : start + len(own)].tolist()
        assert len(own) >= 2
    if not share:
        assert list(map(len, found)) == list(map(len, histories))


def test_crops_are_of_every_length_and_begin_everywhere():
    found = cropped([np.arange(5)] * 400, 1.0, chance(0))
    assert {(own[0], len(own)) for own in found} == {
        (start, length) for length in range(2, 6) for start in range(6 - length)
    }


@given(histories=sequences, share=st.sampled_from([0.0, 0.3, 0.9]), seed=seeds)
def test_a_thinned_sequence_keeps_its_order_and_two_items(histories, share, seed):
    for own, whole in zip(thinned(histories, share, chance(seed)), histories, strict=True):
        assert own.tolist() == [item for item in whole if item in own]
        assert len(own) >= 2


def likeness(items, seed=0):
    """What the texts of all other items are similar by."""
    F = texts(items, 6, seed)
    return csr(F @ F.T * (1 - np.eye(items)))


def test_nearest_are_the_five_of_the_largest_similarity():
    S = likeness(40)
    expected = np.argsort(np.where(S.toarray() == 0, np.inf, -S.toarray()), axis=1)[:, :5]
    np.testing.assert_array_equal(nearest_by_text(S), expected)


def test_where_there_are_fewer_neighbours_an_item_stands_for_itself():
    found = nearest_by_text(csr([[0, 0.5, 0.7], [0, 0, 0], [0.1, 0, 0]]))
    assert found.tolist() == [[2, 1, 0, 0, 0], [1] * 5, [0, 2, 2, 2, 2]]
    items = np.array([1, 1, 1])
    assert replaced(items, found, 0.9, chance(0)).tolist() == items.tolist()


@given(seed=seeds, share=st.sampled_from([0.0, 0.2, 0.9]))
def test_an_item_is_replaced_by_one_of_its_neighbours(seed, share):
    nearest = nearest_by_text(likeness(20, seed))
    items = chance(seed).integers(0, 20, 500)
    found = replaced(items, nearest, share, chance(seed))
    is_other = found != items
    assert (nearest[items] == found[:, None]).any(axis=1)[is_other].all()
    assert abs(is_other.mean() - share) < 0.1


def neural_batch(number, **settings):
    own = NeuralSettings(width=4, **settings)
    X = histories(250, 12, density=0.5)
    S, masses = likeness(12), np.ones(12, dtype=np.float32)
    learners = np.flatnonzero(np.diff(X.indptr))
    batch = neural.batch_of(X, learners, S, masses, number, own)
    return [
        each.toarray() if sparse.issparse(each) else each
        for each in (batch.whole, batch.part, batch.similar, batch.steps)
    ]


def windows():
    lengths = chance(0).integers(2, 8, 300)
    return [chance(place).permutation(12)[:length] for place, length in enumerate(lengths)]


def sequential_batches(**settings):
    own = SequentialSettings(negatives=3, **settings)
    return sequential.batches_of(windows(), nearest_by_text(likeness(12)), 12, own)


def test_by_default_neural_hides_half_of_histories_and_changes_nothing():
    X = histories(250, 12, density=0.5)
    for number, (epoch, place) in enumerate([(0, 0), (0, 1), (0, 2), (1, 0)]):
        order = chance([0, epoch]).permutation(np.flatnonzero(np.diff(X.indptr)))
        expected = X[order[100 * place : 100 * place + 100]]
        generator = chance([0, epoch, place])
        kept = generator.random(expected.nnz) >= 0.5
        whole, part, _, steps = neural_batch(number)
        np.testing.assert_array_equal(whole, expected.toarray())
        np.testing.assert_array_equal(part[expected.nonzero()], 2 * kept)
        np.testing.assert_array_equal(steps, generator.integers(0, 3, len(whole)))


def test_by_default_sequential_looks_at_windows_as_they_are():
    batch = sequential_batches()
    found = [batch(number) for number in range(3)]
    seen = [
        [*own[own >= 0], following[own >= 0][-1]]
        for each in found
        for own, following in zip(each.items, each.following, strict=True)
    ]
    assert sorted(seen) == sorted(window.tolist() for window in windows())
    for number, each in enumerate(found):
        generator = chance([0, 0, number])
        assert each.negatives.tolist() == generator.integers(0, 12, 3).tolist()
        assert each.seed == generator.integers(2**62)


def test_a_batch_depends_on_its_number_alone():
    batch = sequential_batches(**OPTIONS)
    first = [batch(number) for number in range(4)]
    again = [sequential_batches(**OPTIONS)(number) for number in (3, 2, 1, 0)][::-1]
    for one, other in zip(first, again, strict=True):
        for own, same in zip(one, other, strict=True):
            np.testing.assert_array_equal(own, same)
    for one, other in zip(neural_batch(1), neural_batch(1), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("strategy", "option"),
    [("neural", "hidden_share"), *(("sequential", option) for option in OPTIONS)],
)
def test_every_option_gives_another_model(strategy, option):
    X = histories(60, 12, density=0.5)
    recency = X.copy()
    recency.data = (1 / (1 + chance(0).integers(0, 9, X.nnz))).astype(np.float32)
    evidence = evidence_of(X, texts(12, 6), neighbours=likeness(12))
    evidence = replace(evidence, behaviour=replace(evidence.behaviour, recency=recency))
    own = STRATEGIES[strategy]
    plain, other = (
        own.learn(evidence, own.settings.model_validate({"width": 4, "epochs": 2} | changed))
        for changed in ({}, {option: OPTIONS[option]})
    )
    assert np.isfinite(other["items"]).all()
    assert not np.array_equal(plain["items"], other["items"])
