"""Behaviour as matrices, and users as vectors in the space of the items."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from recsys_dagster.errors import UserError
from recsys_dagster.steps.embed.user_vectors import (
    distinct_texts,
    mean_cosine,
    norms_of,
    user_vectors,
)
from recsys_dagster.steps.models.behaviour import align

DAY = pd.Timedelta(days=1)
LAST = pd.Timestamp("2024-01-01")
LONG_AGO = pd.Timestamp("1999-01-01")


# Matrices


def test_positions_are_sorted_ids_and_cover_everything(behaviour_of):
    behaviour = behaviour_of([("b", "z"), ("a", "y")], users=["c", "b", "a"], items=["y", "x"])
    assert behaviour.user_ids.tolist() == ["a", "b", "c"]
    assert behaviour.item_ids.tolist() == ["x", "y", "z"]
    assert behaviour.in_catalogue.tolist() == [True, True, False]
    assert behaviour.seen.toarray().tolist() == [[0, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert behaviour.weights.dtype == behaviour.positives.dtype == np.float32


def test_what_is_not_positive_is_seen_but_not_learned_from(behaviour_of):
    behaviour = behaviour_of([("u", "a", 2.0, True), ("u", "b", 1.0, False)], ["u"], ["a", "b"])
    assert behaviour.seen.toarray().tolist() == [[True, True]]
    assert behaviour.weights.toarray().tolist() == [[2, 0]]
    assert behaviour.positives.toarray().tolist() == [[1, 0]]


def test_a_positive_pair_of_weight_zero_stays_a_pair(behaviour_of):
    behaviour = behaviour_of([("u", "a", 0.0), ("u", "b", 3.0)], ["u"], ["a", "b"])
    assert behaviour.positives.toarray().tolist() == [[1, 1]]
    assert behaviour.weights.nnz == behaviour.positives.nnz == 2


def test_a_weight_halves_with_every_half_life(behaviour_of):
    pairs = [("u", str(age), 4.0, True, LAST - age * DAY) for age in (0, 10, 20, 30, 35)]
    behaviour = behaviour_of(pairs, ["u"], [], half_life_days=10)
    weights = dict(zip(behaviour.item_ids, behaviour.weights.toarray()[0], strict=True))
    expected = {"0": 4, "10": 2, "20": 1, "30": 0.5, "35": 4 * 0.5**3.5}
    assert weights == pytest.approx(expected)


def test_decay_is_anchored_to_the_users_own_last_event(behaviour_of):
    pairs = [
        ("old", "a", 1.0, True, LONG_AGO),
        ("old", "b", 1.0, True, LONG_AGO - 10 * DAY),
        ("new", "a", 1.0, True, LAST),
        # The last event counts even if nothing is learned from it.
        ("turned", "a", 1.0, True, LAST - 10 * DAY),
        ("turned", "b", 1.0, False, LAST),
    ]
    behaviour = behaviour_of(pairs, ["old", "new", "turned"], ["a", "b"], half_life_days=10)
    assert behaviour.user_ids.tolist() == ["new", "old", "turned"]
    np.testing.assert_allclose(behaviour.weights.toarray(), [[1, 0], [1, 0.5], [0.5, 0]])


def test_no_likes_are_so_old_that_their_user_has_no_vector(behaviour_of):
    pairs = [("u", "a", 1.0, True, LONG_AGO), ("u", "b", 1.0, False, LAST)]
    behaviour = behaviour_of(pairs, ["u"], ["a", "b"], half_life_days=1)
    found = user_vectors(behaviour.weights, np.eye(2, dtype=np.float32), None, "history", 0.5)
    np.testing.assert_allclose(found.vectors, [[1, 0]])


def test_a_pair_without_a_time_is_not_decayed(behaviour_of):
    pairs = [("u", "a", 1.0, True, LAST), ("u", "b"), ("v", "a"), ("v", "b")]
    behaviour = behaviour_of(pairs, ["u", "v"], ["a", "b"], half_life_days=1)
    assert behaviour.weights.toarray().tolist() == [[1, 1], [1, 1]]


def test_where_there_is_no_time_a_weight_halves_with_every_so_many_steps(behaviour_of):
    pairs = [("u", item, 4.0) for item in "abcd"] + [("v", "a", 4.0)]
    behaviour = behaviour_of(
        pairs, ["u", "v"], [], half_life_positions=2, position=[7, 10, 400, 400, 1]
    )
    expected = [[4 / 2, 4 / 2**0.5, 4, 4], [4, 0, 0, 0]]
    np.testing.assert_allclose(behaviour.weights.toarray(), expected, rtol=1e-6)


def test_a_pair_with_a_time_decays_by_it_and_not_by_its_position(behaviour_of):
    pairs = [("u", "a", 1.0, True, LAST), ("u", "b", 1.0, True, LAST - 10 * DAY)]
    behaviour = behaviour_of(
        pairs, ["u"], [], half_life_days=10, half_life_positions=1, position=[1, 99]
    )
    assert behaviour.weights.toarray().tolist() == [[1, 0.5]]


def test_what_is_not_available_is_in_the_catalogue_and_not_recommendable(behaviour_of):
    behaviour = behaviour_of([("u", "a"), ("u", "x")], ["u"], ["a", "b", "c"], unavailable=["b"])
    assert behaviour.item_ids.tolist() == ["a", "b", "c", "x"]
    assert behaviour.in_catalogue.tolist() == [True, True, True, False]
    assert behaviour.recommendable.tolist() == [True, False, True, False]


def test_an_item_is_cold_where_no_pair_that_counts_speaks_of_it(behaviour_of):
    behaviour = behaviour_of(
        [("u", "liked"), ("u", "disliked", 1.0, False), ("u", "rare", 1.0, False)],
        ["u"],
        ["disliked", "liked", "new", "rare"],
        left_out=[False, False, True],
    )
    assert dict(zip(behaviour.item_ids, behaviour.cold.tolist(), strict=True)) == {
        "disliked": False,
        "liked": False,
        "new": True,
        "rare": True,
    }
    assert behaviour.seen.nnz == 3


def test_no_interactions(behaviour_of):
    behaviour = behaviour_of([], ["u"], ["a"])
    assert behaviour.seen.shape == behaviour.weights.shape == (1, 1)
    assert behaviour.seen.nnz == 0


def test_align_puts_vectors_in_order_and_zeros_where_there_is_none():
    vectors = np.array([[1, 2], [3, 4]], dtype=np.float64)
    aligned = align(pd.Index(["a", "b", "c"]), pd.Series(["c", "a"]), vectors)
    assert aligned.tolist() == [[3, 4], [0, 0], [1, 2]]
    assert aligned.dtype == np.float32
    assert align(pd.Index(["a"]), pd.Series([], dtype="str"), np.empty((0, 2))).tolist() == [[0, 0]]


# User vectors

ITEMS = np.array([[1, 0], [0, 1], [0, 0]], dtype=np.float32)
# both, history only, text only, neither, and one whose only item has no vector
WEIGHTS = sparse.csr_matrix(
    np.array([[3, 1, 5], [0, 2, 0], [0, 0, 0], [0, 0, 0], [0, 0, 7]], dtype=np.float32)
)
TEXTS = np.array([[0, 4], [0, 0], [2, 2], [0, 0], [0, 0]], dtype=np.float32)
HISTORY = {0: [0.75, 0.25], 1: [0, 1]}
TEXT = {0: [0, 4], 2: [2, 2]}


@pytest.mark.parametrize(
    ("kind", "share", "vectors", "sources"),
    [
        ("history", 0.5, HISTORY | {2: TEXT[2]}, ["history", "history", "text"]),
        ("text", 0.5, {1: HISTORY[1]} | TEXT, ["text", "history", "text"]),
        ("blend", 0.5, HISTORY | TEXT | {0: [0.375, 2.125]}, ["blend", "history", "text"]),
        ("blend", 0.2, HISTORY | TEXT | {0: [0.6, 1.0]}, ["blend", "history", "text"]),
        ("blend", 0.0, HISTORY | {2: TEXT[2]}, ["blend", "history", "text"]),
        ("blend", 1.0, HISTORY | TEXT, ["blend", "history", "text"]),
    ],
)
def test_a_user_who_lacks_one_gets_the_other_and_who_lacks_both_gets_none(
    kind, share, vectors, sources
):
    found = user_vectors(WEIGHTS, ITEMS, TEXTS, kind, share)
    assert found.has_vector.tolist() == [True, True, True, False, False]
    np.testing.assert_allclose(found.vectors, [vectors[user] for user in (0, 1, 2)], atol=1e-6)
    assert found.sources.tolist() == sources
    assert found.vectors.dtype == np.float32


def test_history_alone_needs_no_texts():
    found = user_vectors(WEIGHTS, ITEMS, None, "history", 0.5)
    assert found.has_vector.tolist() == [True, True, False, False, False]
    np.testing.assert_allclose(found.vectors, [HISTORY[0], HISTORY[1]])


@pytest.mark.parametrize("kind", ["text", "blend"])
def test_texts_that_are_asked_for_must_be_there(kind):
    with pytest.raises(UserError, match="needs profile texts"):
        user_vectors(WEIGHTS, ITEMS, None, kind, 0.5)


def test_history_is_the_weighted_mean_whatever_the_scale_of_weights():
    rng = np.random.default_rng(0)
    weights = rng.random((20, 30)).astype(np.float32) * (rng.random((20, 30)) < 0.3)
    items = rng.standard_normal((30, 5)).astype(np.float32)
    found = user_vectors(sparse.csr_matrix(weights), items, None, "history", 0.5)
    some = weights.any(axis=1)
    expected = [np.average(items, axis=0, weights=row) for row in weights[some]]
    np.testing.assert_allclose(found.vectors, expected, atol=1e-6)
    scaled = user_vectors(sparse.csr_matrix(1000 * weights), items, None, "history", 0.5)
    np.testing.assert_allclose(scaled.vectors, found.vectors, rtol=1e-4, atol=1e-6)


# Texts to encode, and what vectors look like


def test_texts_are_encoded_once_and_only_when_new():
    texts = pd.DataFrame({"text_hash": ["1", "2", "1", "3"], "text": ["a", "b", "a", "c"]})
    assert distinct_texts(texts, {"2"}).to_numpy().tolist() == [["1", "a"], ["3", "c"]]
    assert len(distinct_texts(texts, {"1", "2", "3"})) == 0


def test_mean_cosine_is_the_mean_over_all_pairs():
    vectors = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)
    unit = vectors / norms_of(vectors)[:, None]
    pairs = (unit @ unit.T)[np.triu_indices(40, 1)]
    assert mean_cosine(np.vstack([vectors, np.zeros((3, 6))])) == pytest.approx(pairs.mean())
    assert mean_cosine(np.ones((5, 3))) == pytest.approx(1)
    assert mean_cosine(np.ones((1, 3))) == mean_cosine(np.zeros((4, 3))) == 0
