"""recent: what was liked lately."""

import numpy as np
from making import block_of, csr, fitted

from recsys_dagster.steps.models.base import NOT_RANKED


def test_recent_is_popularity_within_the_days_before_the_newest_interaction():
    positives = csr([[1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 1, 1], [1, 0, 0, 0]])
    ages = positives.copy()
    ages.data = np.array([10, 31, 30, 0, 2, np.nan, 100], np.float32)
    model = fitted("recent", positives, ages=ages, days=30)
    scores = model.score(block_of(positives[:1]))
    np.testing.assert_allclose(scores, [[2 / 3, NOT_RANKED, 2 / 3, NOT_RANKED]], rtol=1e-6)
    assert scores.dtype == np.float32
    assert positives.nnz == 7  # what it was given is not changed


def test_without_times_recent_leaves_all_to_popular():
    positives = csr([[1, 1], [1, 0]])
    ages = positives * np.float32(np.nan)
    assert (fitted("recent", positives, ages=ages, days=30).popularity == NOT_RANKED).all()
