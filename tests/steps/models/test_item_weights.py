"""What strategies of the form x·B share."""

import numpy as np
import pytest
from making import block_of, contributions, csr
from scipy import sparse

from recsys_dagster.steps.models.base import NOT_RANKED
from recsys_dagster.steps.models.item_weights import ItemWeightsModel


def test_history_items_without_a_row_of_weights_say_nothing():
    model = ItemWeightsModel(np.array([[0, 0.5, 0.25]], np.float32), np.array([2]))
    positives = sparse.csr_matrix(np.array([[1, 0, 1], [1, 0, 0]], dtype=np.float32))
    scores = model.score(block_of(positives))
    assert scores.tolist() == [[NOT_RANKED, 0.5, 0.25], [NOT_RANKED] * 3]
    parts = contributions(model, positives, [0, 1], [1, 1])
    assert [part.tolist() for part in parts] == [[0, 0.5], [0]]


@pytest.mark.parametrize("dense", [True, False])
def test_likes_count_by_their_recency(dense):
    weights = np.array([[0, 2, 4], [3, 0, 5], [1, 1, 0]], np.float32)
    model = ItemWeightsModel(
        weights if dense else sparse.csr_matrix(weights),
        np.arange(3),
        recency_power=0.5,
    )
    positives, recency = csr([[1, 1, 0]]), csr([[1 / 4, 1, 0]])
    block = block_of(positives, recency=recency)
    assert model.score(block)[0, 2] == 0.5 * 4 + 5
    assert model.contributions(block, np.array([0]), np.array([2])).tolist() == [2, 5]
    # Where no order is known all count alike.
    assert model.score(block_of(positives))[0, 2] == 4 + 5
