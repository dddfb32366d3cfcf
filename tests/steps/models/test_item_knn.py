"""item_knn against its formula."""

import numpy as np
import pytest
from making import assert_near, block_of, csr, fitted, histories

from recsys_dagster.steps.models.base import NOT_RANKED
from recsys_dagster.steps.models.item_knn import similarities


def test_item_knn_worked_example():
    # 0 and 1 share two users, 0 and 2 one; 3 is alone.
    X = csr([[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    both, lone = 2 / (np.sqrt(2 * 3) + 1), 1 / (np.sqrt(2 * 1) + 1)
    far = 1 / (np.sqrt(3 * 1) + 1)
    expected = [[0, both, lone, 0], [both, 0, far, 0], [lone, far, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(similarities(X, 3, 1).toarray(), expected, rtol=1e-6)
    # One neighbour an item: 0 ← 1, 1 ← 0, 2 ← 0, in the columns.
    kept = [[0, both, lone, 0], [both, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(similarities(X, 1, 1).toarray(), kept, rtol=1e-6)


@pytest.mark.parametrize("shrinkage", [0, 7.5])
@pytest.mark.parametrize("neighbours", [4, 100])
def test_item_knn_is_the_direct_formula(monkeypatch, neighbours, shrinkage):
    monkeypatch.setattr("recsys_dagster.steps.models.gram.GRAM_ROWS", 7)
    positives = histories(50, 30)
    X = positives.toarray().astype(np.float64)
    n, counts = X.sum(axis=0), X.T @ X
    np.fill_diagonal(counts, 0)
    S = counts / np.maximum(np.sqrt(np.outer(n, n)) + shrinkage, 1)
    B = np.zeros_like(S)
    for i, cosines in enumerate(S.astype(np.float32)):
        nearest = np.argsort(-cosines, kind="stable")[:neighbours]
        B[nearest, i] = S[nearest, i]
    model = fitted("item_knn", positives, neighbours=neighbours, shrinkage=shrinkage)
    assert_near(model.weights.toarray(), B)
    assert model.weights.dtype == np.float32
    assert model.weights.nnz == (B > 0).sum()
    scores = model.score(block_of(positives))
    assert ((scores == NOT_RANKED) == (X @ B == 0)).all()
