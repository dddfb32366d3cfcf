"""What strategies of the form x·B share."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import block_of, contributions, csr
from scipy import sparse

from recsys_dagster.steps.models import item_weights
from recsys_dagster.steps.models.base import NOT_RANKED, UserBlock
from recsys_dagster.steps.models.item_weights import ItemWeightsModel, largest_of_items


def test_history_items_without_a_row_of_weights_say_nothing():
    model = ItemWeightsModel(np.array([[0, 0.5, 0.25]], np.float32), np.array([2]))
    positives = sparse.csr_matrix(np.array([[1, 0, 1], [1, 0, 0]], dtype=np.float32))
    scores = model.score(block_of(positives))
    assert scores.tolist() == [[NOT_RANKED, 0.5, 0.25], [NOT_RANKED] * 3]
    parts = contributions(model, positives, [0, 1], [1, 1])
    assert [part.tolist() for part in parts] == [[0, 0.5], [0]]


@pytest.mark.parametrize("dense", [True, False])
def test_likes_count_by_their_recency(dense):
    weights = np.array([[0, 2, 4], [3, 0, 5], [1, 1, 0]], np.float32)
    model = ItemWeightsModel(
        weights if dense else sparse.csr_matrix(weights),
        np.arange(3),
        recency_power=0.5,
    )
    positives, recency = csr([[1, 1, 0]]), csr([[1 / 4, 1, 0]])
    block = block_of(positives, recency=recency)
    assert model.score(block)[0, 2] == 0.5 * 4 + 5
    assert model.contributions(block, np.array([0]), np.array([2])).tolist() == [2, 5]
    # Where no order is known all count alike.
    assert model.score(block_of(positives))[0, 2] == 4 + 5


@given(seed=st.integers(0, 2**16), users=st.integers(1, 4), items=st.integers(1, 12))
def test_contributions_are_the_same_of_dense_and_of_sparse_weights(seed, users, items):
    random = np.random.default_rng(seed)
    dense = random.normal(size=(items, items)).astype(np.float32)
    dense[random.random((items, items)) < 0.6] = 0
    known = np.flatnonzero(random.random(items) < 0.8)
    liked = sparse.csr_matrix((random.random((users, items)) < 0.5).astype(np.float32))
    recency = liked.copy()
    recency.data = random.random(liked.nnz).astype(np.float32)
    block = UserBlock(liked, liked, recency, liked)
    rows = np.sort(random.integers(0, users, 6))
    asked = random.integers(0, items, 6)
    found = [
        ItemWeightsModel(weights, known, 0.3).contributions(block, rows, asked)
        for weights in (dense[known], sparse.csr_matrix(dense[known]))
    ]
    np.testing.assert_array_equal(*found)


@given(
    seed=st.integers(0, 2**16),
    users=st.integers(0, 9),
    items=st.integers(1, 12),
    together=st.sampled_from([1, 7, 1_000]),
)
def test_sums_of_sparse_weights_are_those_of_the_product(seed, users, items, together):
    random = np.random.default_rng(seed)
    dense = random.normal(size=(items, items)).astype(np.float32)
    weights = sparse.csr_matrix(np.where(random.random(dense.shape) < 0.6, 0, dense))
    histories = sparse.random(users, items, 0.5, "csr", np.float32, rng=random)
    with mock.patch.object(item_weights, "WEIGHTS_OF_BLOCK", together):
        found = ItemWeightsModel(weights, np.arange(items)).times(histories)
    np.testing.assert_array_equal(found, (histories @ weights).toarray())


def test_the_largest_weights_of_each_item_are_kept_with_their_signs():
    weights = np.array([[0.0, -5.0], [2.0, -1.0], [1.0, 3.0]], dtype=np.float32)
    kept, rest = largest_of_items(
        weights, np.array([0, 2]), items=4, number=2, counts=np.array([3, 1, 1])
    )
    assert rest.tolist() == [0, 0, -5, 0]
    assert (kept.toarray() + rest).tolist() == [[0, 0, -5, 0], [2, 0, -1, 0], [1, 0, 3, 0]]


def test_as_many_as_there_are_is_all_of_them():
    weights = np.array([[0.0, 1.0], [-2.0, 0.0]], dtype=np.float32)
    kept, rest = largest_of_items(
        weights, np.array([0, 1]), items=2, number=9, counts=np.ones(2, int)
    )
    assert kept.toarray().tolist() == weights.tolist()
    assert rest.tolist() == [0, 0]


@given(seed=st.integers(0, 999), users=st.integers(1, 50), number=st.integers(1, 9))
@settings(max_examples=40)
def test_what_is_left_out_stands_as_its_mean_for_few_users_as_for_many(seed, users, number):
    random = np.random.default_rng(seed)
    dense = random.normal(size=(7, 7)).astype(np.float32)
    counts = random.integers(1, 9, 7)
    meant = dense.copy()
    for column in meant.T:
        left_out = np.argsort(-column)[number:]
        if len(left_out):
            column[left_out] = np.average(column[left_out], weights=counts[left_out])
    everything = np.arange(7)
    largest, rest = largest_of_items(dense, everything, 7, number, counts)
    liked = sparse.csr_matrix((random.random((users, 7)) < 0.5).astype(np.float32))
    block = UserBlock(liked, liked, liked, liked)
    rows, asked = np.arange(users), random.integers(0, 7, users)
    found = ItemWeightsModel(largest, everything, rest=rest)
    expected = ItemWeightsModel(meant, everything)
    np.testing.assert_allclose(found.score(block), expected.score(block), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        found.contributions(block, rows, asked),
        expected.contributions(block, rows, asked),
        rtol=1e-4,
        atol=1e-5,
    )
