"""gfcf against its formula."""

import numpy as np
import pytest
from making import assert_near, fitted, histories

from recsys_dagster.steps.models import gfcf
from recsys_dagster.steps.models.gfcf import gfcf_weights


@pytest.mark.parametrize("rank", [5, 256])
def test_gfcf_is_the_direct_formula(monkeypatch, rank):
    monkeypatch.setattr(gfcf, "LOW_PASS_RANK", rank)
    monkeypatch.setattr(gfcf, "GRAM_ROWS", 7)
    monkeypatch.setattr(gfcf, "POWER_ITERATIONS", 20)
    positives = histories(80, 30)
    X = positives.toarray().astype(np.float64)
    n_u, n_i = (np.maximum(X.sum(axis=axis), 1) for axis in (1, 0))
    R = np.diag(n_u**-0.5) @ X @ np.diag(n_i**-0.5)
    V = np.linalg.svd(R)[2][:rank].T
    W = R.T @ R + 0.3 * np.diag(n_i**-0.5) @ V @ V.T @ np.diag(n_i**0.5)
    np.fill_diagonal(W, 0)
    assert_near(gfcf_weights(positives)[:-1, :-1], W[:-1, :-1], 1e-4)


def test_gfcf_leaves_items_out_that_nobody_likes():
    positives = histories(80, 30)
    model = fitted("gfcf", positives)
    assert model.history_items.tolist() == list(range(29))
    np.testing.assert_array_equal(model.weights[:, :29], gfcf_weights(positives[:, :29]))
    assert not model.weights[:, 29].any()
    assert fitted("gfcf", positives[:, 29:]).weights.shape == (0, 1)
