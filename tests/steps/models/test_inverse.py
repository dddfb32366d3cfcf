"""The inverse of a large matrix in place."""

import numpy as np
import pytest

from recsys_dagster.steps.models import inverse as inverse_module
from recsys_dagster.steps.models.inverse import regularised_inverse


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("n", "leaf"), [(0, 4), (1, 4), (4, 4), (5, 4), (37, 4), (64, 1), (90, 16)]
)
def test_the_inverse_is_the_inverse(monkeypatch, dtype, n, leaf):
    monkeypatch.setattr(inverse_module, "LEAF", leaf)
    half = np.random.default_rng(n).standard_normal((n, n + 3))
    matrix = half @ half.T
    expected = np.linalg.inv(matrix + 2.5 * np.eye(n))
    given_matrix = matrix.astype(dtype)
    found = regularised_inverse(given_matrix, 2.5)
    assert found is given_matrix
    np.testing.assert_allclose(found, expected, atol=1e-4 if dtype == np.float32 else 1e-11)
    np.testing.assert_allclose(found, found.T, atol=1e-7)


@pytest.mark.parametrize("leaf", [2, 1024])
@pytest.mark.parametrize("where", [0, 5, 9])
def test_a_matrix_that_is_not_positive_definite_is_refused(monkeypatch, leaf, where):
    monkeypatch.setattr(inverse_module, "LEAF", leaf)
    matrix = np.eye(10)
    matrix[where, where] = -1
    with pytest.raises(ValueError, match="not positive definite"):
        regularised_inverse(matrix, 0.5)
    with pytest.raises(ValueError, match="not positive definite"):
        regularised_inverse(np.ones((10, 10)), 0)
