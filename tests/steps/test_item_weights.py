"""Item-item weights say the same of a history, however they are kept."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from recsys_dagster.steps.models.base import UserBlock
from recsys_dagster.steps.models.item_weights import ItemWeightsModel, largest_of_items


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


def test_the_largest_weights_of_each_item_are_kept_with_their_signs():
    weights = np.array([[0.0, -5.0], [2.0, -1.0], [1.0, 3.0]], dtype=np.float32)
    kept = largest_of_items(weights, np.array([0, 2]), items=4, number=2)
    assert kept.toarray().tolist() == [[0, 0, 0, 0], [2, 0, -1, 0], [1, 0, 3, 0]]


def test_as_many_as_there_are_is_all_of_them():
    weights = np.array([[0.0, 1.0], [-2.0, 0.0]], dtype=np.float32)
    kept = largest_of_items(weights, np.array([0, 1]), items=2, number=9)
    assert kept.toarray().tolist() == weights.tolist()
