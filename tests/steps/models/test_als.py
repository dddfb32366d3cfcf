"""als: users from their histories, as the library would have them."""

import sys

import numpy as np
import pytest
from making import (
    block_of,
    contributions,
    fitted,
    histories,
)
from scipy import sparse

from recsys_dagster.errors import UserError
from recsys_dagster.steps.models.base import NOT_RANKED


def fitted_als(positives):
    pytest.importorskip("implicit")
    return fitted("als", positives, factors=8, regularisation=2, confidence=5)


def test_als_solves_for_a_user_from_the_history():
    positives = histories(40, 20)
    model = fitted_als(positives)
    Y = model.item_factors.astype(np.float64)
    scores = model.score(block_of(positives))
    assert scores.dtype == np.float32
    for user, x in enumerate(positives.toarray()):
        if not x.any():
            assert (scores[user] == NOT_RANKED).all()
            continue
        # The minimum of Σ_i c_i (x_i − y_iᵀf)² + λ‖f‖², c_i = 5 for likes and 1 for the rest.
        C = np.diag(1 + 4 * x)
        factors = np.linalg.solve(Y.T @ C @ Y + 2 * np.eye(8), Y.T @ C @ x)
        np.testing.assert_allclose(scores[user], Y @ factors, atol=1e-4)


def test_als_gives_the_scores_and_reasons_of_implicit():
    implicit = pytest.importorskip("implicit.cpu.als")
    positives = histories(40, 20)
    model = fitted_als(positives)
    theirs = implicit.AlternatingLeastSquares(
        factors=8, regularization=2.0, alpha=5.0, num_threads=1
    )
    theirs.item_factors = model.item_factors
    found = model.score(block_of(positives))
    liking = np.flatnonzero(np.diff(positives.indptr))
    expected = theirs.recalculate_user(liking, positives[liking]) @ model.item_factors.T
    np.testing.assert_allclose(found[liking], expected, atol=1e-4)
    total, reasons, _ = theirs.explain(3, positives, 7, N=100)
    (parts,) = contributions(model, positives, [3], [7])
    history = positives[[3]].indices
    assert parts.sum() == pytest.approx(total, abs=1e-4) == pytest.approx(found[3, 7], abs=1e-4)
    by_item = dict(reasons)
    np.testing.assert_allclose(parts, [by_item[item] for item in history], atol=1e-4)


def test_als_contributions_come_pair_by_pair():
    positives = histories(20, 15)
    model = fitted_als(positives)
    scores = model.score(block_of(positives))
    rows, items = [0, 0, 4, 19], [3, 0, 14, 2]
    found = contributions(model, positives, rows, items)
    for row, item, parts in zip(rows, items, found, strict=True):
        assert len(parts) == positives[[row]].nnz
        if len(parts):
            assert parts.sum() == pytest.approx(scores[row, item], abs=1e-4)
    assert contributions(model, positives, [], [])[0].shape == (0,)


def test_als_without_a_like_ranks_nothing():
    model = fitted_als(sparse.csr_matrix((3, 4), dtype=np.float32))
    block = block_of(sparse.csr_matrix((3, 4), dtype=np.float32))
    assert (model.score(block) == NOT_RANKED).all()


def test_als_says_how_to_get_the_library_it_needs(monkeypatch):
    for name in [*(name for name in sys.modules if name.startswith("implicit.")), "implicit"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[als\]'"):
        fitted("als", histories(5, 4))
