"""Metrics against ir-measures (trec_eval), against plain loops, and by slices."""

from itertools import combinations

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ir_measures import AP, RR, P, R, Success, nDCG
from scipy import sparse

from recsys_dagster.steps.evaluation import metrics as module
from recsys_dagster.steps.evaluation.metrics import (
    accuracy,
    catalogue_metrics,
    coverage,
    diversity,
    exposure,
    novelty,
    popularity_bias,
    self_information,
)
from recsys_dagster.steps.evaluation.slices import accuracy_by_slice, head_items, slices

THEIRS = {"recall": R, "precision": P, "ndcg": nDCG, "map": AP, "mrr": RR, "hit_rate": Success}
KS = (1, 3, 8)
ITEMS = 14
WIDTH = 8


def lists_of(*lists, width=WIDTH):
    ranked = np.full((len(lists), width), -1)
    for row, items in enumerate(lists):
        ranked[row, : len(items)] = items
    return ranked


def csr(sets, items=ITEMS):
    table = np.zeros((len(sets), items), dtype=np.float32)
    for row, held in enumerate(sets):
        table[row, list(held)] = 1
    return sparse.csr_matrix(table)


a_list = st.lists(st.integers(0, ITEMS - 1), unique=True, max_size=WIDTH)
some_users = st.lists(
    st.tuples(a_list, st.sets(st.integers(0, ITEMS - 1), max_size=ITEMS)), min_size=1, max_size=6
)


@given(some_users)
def test_equals_ir_measures(users):
    lists, sets = zip(*users, strict=True)
    figures = accuracy(lists_of(*lists), csr(sets), KS)
    asked = [user for user, held in enumerate(sets) if held]
    judged = {str(user): {str(item): 1 for item in sets[user]} for user in asked}
    run = {
        str(user): {str(item): float(-place) for place, item in enumerate(lists[user])}
        for user in asked
        if lists[user]
    }
    expected = {name: np.full(len(users), np.nan) for name in figures}
    for values in expected.values():
        values[asked] = 0  # what an empty list is worth
    measures = {THEIRS[name] @ k: f"{name}@{k}" for name in THEIRS for k in KS}
    if run:
        for one in ir_measures.iter_calc(list(measures), judged, run):
            expected[measures[one.measure]][int(one.query_id)] = one.value
    assert figures.keys() == expected.keys()
    for name, values in figures.items():
        assert values.dtype == np.float64
        np.testing.assert_allclose(values, expected[name], rtol=1e-9, atol=1e-12, err_msg=name)


def test_by_hand():
    figures = accuracy(lists_of([4, 2, 9, 1]), csr([{2, 1, 7}]), (2, 4))
    gain, ideal = 1 / np.log2(3) + 1 / np.log2(5), 1 + 1 / np.log2(3) + 1 / np.log2(4)
    expected = {
        "recall@2": 1 / 3,
        "recall@4": 2 / 3,
        "precision@2": 1 / 2,
        "precision@4": 2 / 4,
        "ndcg@4": gain / ideal,
        "ndcg@2": (1 / np.log2(3)) / (1 + 1 / np.log2(3)),
        "map@4": (1 / 2 + 2 / 4) / 3,
        "mrr@4": 1 / 2,
        "hit_rate@2": 1,
    }
    for name, value in expected.items():
        assert figures[name] == pytest.approx([value]), name


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    ranked = np.argsort(rng.random((50, ITEMS)), axis=1)[:, :WIDTH]
    ranked[rng.random(ranked.shape) < 0.2] = -1
    test = sparse.csr_matrix((rng.random((50, ITEMS)) < 0.1).astype(np.float32))
    vectors = rng.standard_normal((ITEMS, 3)).astype(np.float32)

    def everything():
        counts = np.arange(ITEMS)
        whole = catalogue_metrics(
            ranked,
            test,
            KS,
            train_counts=counts,
            train_users=20,
            item_vectors=vectors,
            candidates=counts > 1,
        )
        return {**accuracy(ranked, test, KS), **whole}

    at_once = everything()
    monkeypatch.setattr(module, "BLOCK_CELLS", 3 * WIDTH)
    for name, values in everything().items():
        np.testing.assert_allclose(values, at_once[name], rtol=1e-12, err_msg=name)


def test_no_users_and_nobody_asked():
    assert accuracy(lists_of(), csr([]), KS)["recall@1"].shape == (0,)
    assert np.isnan(accuracy(lists_of([1]), csr([[]]), KS)["recall@1"]).all()


@pytest.mark.parametrize("ks", [(), (0,), (WIDTH + 1,)])
def test_places_that_lists_do_not_have(ks):
    with pytest.raises(ValueError, match="8 places cannot be measured"):
        accuracy(lists_of([1]), csr([{1}]), ks)


# All lists together


def test_exposure_and_coverage():
    shown = exposure(lists_of([0, 1], [1], []), 4)
    assert shown.tolist() == [1, 2, 0, 0]
    assert coverage(shown) == 0.5
    assert np.isnan(coverage(shown[:0]))


def test_novelty_counts_an_unknown_item_as_if_one_user_liked_it():
    surprise = self_information(np.array([8, 4, 1, 0]), 16)
    assert surprise.tolist() == [1, 2, 4, 4]
    np.testing.assert_array_equal(novelty(lists_of([0, 1], [3], []), surprise), [1.5, 4, np.nan])


@given(st.integers(0, 2**32 - 1), st.lists(a_list, min_size=1, max_size=4))
def test_diversity_is_the_mean_over_pairs(seed, lists):
    vectors = np.random.default_rng(seed).standard_normal((ITEMS, 3)).astype(np.float32)
    vectors[::5] = 0
    units = vectors.astype(np.float64) / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-9)
    for values, items in zip(diversity(lists_of(*lists), vectors), lists, strict=True):
        cosines = [units[i] @ units[j] for i, j in combinations(items, 2) if i % 5 and j % 5]
        np.testing.assert_allclose(values, 1 - np.mean(cosines) if cosines else np.nan, atol=1e-5)


def test_a_list_of_the_same_thing_has_no_diversity():
    vectors = np.random.default_rng(0).standard_normal((1, 50)).astype(np.float32)
    assert diversity(lists_of([0, 1, 2]), np.repeat(vectors, 3, axis=0)) == pytest.approx(
        [0], abs=1e-6
    )


def test_popularity_bias_compares_what_is_shown_with_what_was_chosen():
    counts = np.array([10, 4, 2])
    test = csr([{1, 2}, {2}, {0}, set()], 3)
    ranked = lists_of([0], [0, 1], [], [0])
    assert popularity_bias(ranked, test, counts) == pytest.approx(((10 + 7) / 2) / ((3 + 2) / 2))
    assert np.isnan(popularity_bias(ranked, csr([set()] * 4, 3), counts))


def test_catalogue_metrics_by_name():
    figures = catalogue_metrics(
        lists_of([0, 1], [2, 0]),
        csr([{1}, {2}], 4),
        (1, 2),
        train_counts=np.array([2, 1, 1, 0]),
        train_users=2,
        item_vectors=np.eye(4, dtype=np.float32),
        candidates=np.array([True, True, True, False]),
    )
    assert figures == {
        "coverage@1": pytest.approx(2 / 3),
        "gini@1": pytest.approx(1 / 3),
        "novelty@1": 0.5,
        "diversity@1": pytest.approx(np.nan, nan_ok=True),
        "popularity_bias@1": 1.5,
        "coverage@2": 1,
        "gini@2": pytest.approx(1 / 6),
        "novelty@2": 0.5,
        "diversity@2": 1,
        "popularity_bias@2": 1.5,
    }


# Slices


def test_the_head_is_the_fewest_items_that_make_half():
    assert head_items(np.array([1, 3, 2, 2, 0])).tolist() == [False, True, True, False, False]
    assert head_items(np.array([1, 5, 4])).tolist() == [False, True, False]
    assert not head_items(np.zeros(3, dtype=int)).any()


def test_slices(behaviour_of):
    pairs = [
        *(("u1", item) for item in "abcde"),
        *(("u2", item) for item in "ab"),
        ("u3", "a"),
        ("u4", "f", 0.0, False),
    ]
    behaviour = behaviour_of(pairs, ["u1", "u2", "u3", "u4"], "abcdefgh")
    found = slices(behaviour, np.array([3, 1, 0, 2]))
    named = {
        name: ("".join(behaviour.item_ids[part.items]), part.users.tolist())
        for name, part in found.items()
    }
    everybody = [True] * 4
    assert named == {
        "all": ("abcdefgh", everybody),
        "cold_items": ("gh", everybody),
        "no_history": ("abcdefgh", [True, False, False, False]),
        "short_histories": ("abcdefgh", [False, True, False, True]),
        "head_items": ("ab", everybody),
        "tail_items": ("cdef", everybody),
    }


def test_a_slice_counts_its_test_items_only(behaviour_of):
    behaviour = behaviour_of([("u1", "a"), ("u2", "a"), ("u2", "b")], ["u1", "u2"], "abcd")
    of = slices(behaviour, np.array([0, 1]))
    test = csr([{1, 2}, {3}], 4)
    figures = accuracy_by_slice(lists_of([2, 3, 1], [0, 3]), test, (2,), of)
    assert figures["all", "recall@2"].tolist() == [0.5, 1]
    assert figures["cold_items", "recall@2"].tolist() == [1, 1]
    np.testing.assert_array_equal(figures["tail_items", "recall@2"], [0, np.nan])
    np.testing.assert_array_equal(figures["head_items", "recall@2"], [np.nan, np.nan])
