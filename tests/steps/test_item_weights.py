"""Item-item weights say the same of a history, however they are kept."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from recsys_dagster.steps.models.base import UserBlock
from recsys_dagster.steps.models.item_weights import ItemWeightsModel


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
