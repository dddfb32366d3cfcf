"""ease against its formula."""

import numpy as np
import pytest
from making import assert_near, block_of, contributions, fitted, histories

from recsys_dagster.steps.models.base import NOT_RANKED


@pytest.mark.parametrize("regularisation", [0.5, 20, 500])
def test_ease_is_the_textbook_formula(regularisation):
    positives = histories(80, 25)
    X = positives.toarray().astype(np.float64)
    P = np.linalg.inv(X.T @ X + regularisation * np.eye(25))
    B = -P / np.diag(P)
    np.fill_diagonal(B, 0)
    model = fitted("ease", positives, regularisation=regularisation)
    assert isinstance(model.weights, np.ndarray)
    assert model.weights.dtype == np.float32
    assert model.history_items.tolist() == np.flatnonzero(X.any(axis=0)).tolist()
    assert_near(model.weights, B[model.history_items])
    assert (model.weights[model.history_items, model.history_items] == 0).all()
    assert not B[24].any()  # nobody has the last item: it needs no row
    scores = model.score(block_of(positives))
    has_history = X.any(axis=1)
    assert_near(scores[has_history, :24], (X @ B)[has_history, :24])
    assert (scores[:, 24] == NOT_RANKED).all()
    assert (scores[~has_history] == NOT_RANKED).all()
    assert not has_history.all()


def test_ease_solves_its_least_squares_problem():
    # Column by column: ridge regression of an item on all the others.
    positives = histories(60, 12)
    X = positives.toarray().astype(np.float64)
    weights = fitted("ease", positives, regularisation=3).weights
    for item in range(11):
        others = np.delete(np.arange(11), item)
        A = X[:, others]
        expected = np.linalg.solve(A.T @ A + 3 * np.eye(10), A.T @ X[:, item])
        np.testing.assert_allclose(weights[others, item], expected, atol=1e-5)


def test_contributions_add_up_to_the_score():
    positives = histories(20, 15)
    model = fitted("ease", positives, regularisation=10)
    scores = model.score(block_of(positives))
    rows, items = np.repeat(np.arange(20), 3), np.tile([3, 0, 14], 20)
    for row, item, parts in zip(
        rows, items, contributions(model, positives, rows, items), strict=True
    ):
        assert len(parts) == positives[[row]].nnz
        if len(parts):
            score = scores[row, item] if item < 14 else 0  # nothing speaks of the last item
            assert parts.sum() == pytest.approx(score, abs=1e-5)
