"""XᵀX, weighting and dropout."""

import numpy as np
from making import assert_near, histories
from scipy import sparse

from recsys_dagster.steps.models.gram import gram, regularised_gram_inverse
from recsys_dagster.steps.models.weighting import weighted


def test_the_gram_matrix_does_not_depend_on_its_blocks(monkeypatch):
    positives = histories(40, 23)
    X = positives.toarray()
    monkeypatch.setattr("recsys_dagster.steps.models.gram.GRAM_ROWS", 5)
    np.testing.assert_array_equal(gram(positives), X.T @ X)
    assert gram(positives[:, :0]).shape == (0, 0)


def test_weighting_scales_rows_and_columns_and_keeps_the_norm():
    positives = histories(30, 12, density=0.4)
    X = positives.toarray().astype(np.float64)
    n_u, n_j = (np.maximum(X.sum(axis=axis), 1) for axis in (1, 0))
    expected = X * n_u[:, None] ** -0.25 * n_j**-0.4
    expected *= np.sqrt((X**2).sum() / (expected**2).sum())
    found = weighted(positives, 0.5, 0.4)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.toarray(), expected, rtol=1e-5)
    np.testing.assert_array_equal(weighted(positives, 0, 0).toarray(), X)
    assert weighted(sparse.csr_matrix((3, 2), dtype=np.float32), 0.5, 0.5).nnz == 0


def test_dropout_regularises_popular_items_more():
    positives = histories(60, 10, density=0.4)[:, :-1]
    X = positives.toarray().astype(np.float64)
    gram = X.T @ X
    expected = np.linalg.inv(gram + 5 * np.eye(9) + np.diag(np.diag(gram)) * 0.25 / 0.75)
    assert_near(regularised_gram_inverse(positives, 5.0, 0.25), expected)


def test_dropout_is_what_hiding_a_share_of_histories_comes_to():
    # With Z = X ∘ D / (1 − p), D Bernoulli(1 − p): E‖X − ZB‖² needs E[ZᵀZ] and E[ZᵀX] alone.
    positives, p = histories(400, 8, density=0.4)[:, :-1], 0.5
    X = positives.toarray().astype(np.float64)
    rng = np.random.default_rng(0)
    products, cross = np.zeros((7, 7)), np.zeros((7, 7))
    for _ in range(3000):
        hidden = X * (rng.random(X.shape) >= p) / (1 - p)
        products += hidden.T @ hidden / 3000
        cross += hidden.T @ X / 3000
    np.testing.assert_allclose(cross, gram(positives), rtol=0.05)
    inverted = np.linalg.inv(regularised_gram_inverse(positives, 5.0, p).astype(np.float64))
    np.testing.assert_allclose(products, inverted - 5 * np.eye(7), rtol=0.05, atol=1)
