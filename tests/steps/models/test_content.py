"""content: what the similarity matrix keeps, and why."""

import numpy as np
from making import block_of, contributions, texts
from scipy import sparse

from recsys_dagster.steps.models.base import NOT_RANKED
from recsys_dagster.steps.models.content import ContentModel


def test_content_ranks_what_the_matrix_keeps_and_nothing_else():
    kept = sparse.csr_matrix(([0.5, 0.0, -0.2], ([0, 0, 1], [1, 2, 0])), shape=(2, 3))
    model = ContentModel(np.eye(3, dtype=np.float32))
    scores = model.score(
        block_of(sparse.csr_matrix((2, 3), dtype=np.float32), similar=kept.astype(np.float32))
    )
    expected = np.array([[NOT_RANKED, 0.5, 0], [-0.2, NOT_RANKED, NOT_RANKED]], dtype=np.float32)
    np.testing.assert_array_equal(scores, expected)


def test_contents_contributions_are_parts_of_the_inner_product():
    rng = np.random.default_rng(0)
    vectors = texts(8, 4)
    weights = sparse.csr_matrix(
        (rng.random((3, 8)) * (rng.random((3, 8)) < 0.5)).astype(np.float32)
    )
    model = ContentModel(vectors)
    rows, items = [0, 0, 2], [0, 5, 5]
    for row, item, parts in zip(
        rows, items, contributions(model, weights, rows, items), strict=True
    ):
        expected = weights.toarray()[row] * (vectors @ vectors[item])
        np.testing.assert_allclose(parts, expected[weights[[row]].indices], atol=1e-6)
    assert contributions(model, weights, [], [])[0].shape == (0,)
