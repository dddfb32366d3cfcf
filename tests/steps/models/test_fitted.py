"""What stands in for a strategy."""

import numpy as np
from making import block_of, csr
from scipy import sparse

from recsys_dagster.steps.models import STRATEGIES
from recsys_dagster.steps.models.base import NOT_RANKED
from recsys_dagster.steps.models.fitted import Fitted
from recsys_dagster.steps.models.popular import PopularModel


def test_who_has_no_history_is_ranked_by_the_matrix_and_everybody_else_as_before():
    positives = sparse.csr_matrix(np.array([[1, 0, 0], [0, 0, 0], [0, 0, 0]], dtype=np.float32))
    kept = sparse.csr_matrix(([0.9, 0.5], ([0, 1], [1, 2])), shape=(3, 3)).astype(np.float32)
    own = PopularModel(np.array([3, 2, 1], dtype=np.float32))
    fitted = Fitted(STRATEGIES["ease"], own, own.popularity)
    scores = fitted.score(block_of(positives, similar=kept))
    nothing = [NOT_RANKED, NOT_RANKED, NOT_RANKED]
    np.testing.assert_array_equal(
        scores, np.array([[3, 2, 1], [NOT_RANKED, NOT_RANKED, 0.5], nothing], dtype=np.float32)
    )


def test_where_no_history_is_needed_everybody_is_ranked_alike():
    own = PopularModel(np.array([3, 2, 1], dtype=np.float32))
    fitted = Fitted(STRATEGIES["popular"], own, own.popularity)
    scores = fitted.score(block_of(csr([[1, 0, 0], [0, 0, 0]]), similar=csr([[0, 0, 1]] * 2)))
    assert scores.tolist() == [[3, 2, 1]] * 2
