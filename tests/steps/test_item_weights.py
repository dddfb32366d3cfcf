"""Item-item weights: what is kept of them."""

import numpy as np

from recsys_dagster.steps.models.item_weights import largest_of_items


def test_the_largest_weights_of_each_item_are_kept_with_their_signs():
    weights = np.array([[0.0, -5.0], [2.0, -1.0], [1.0, 3.0]], dtype=np.float32)
    kept = largest_of_items(weights, np.array([0, 2]), items=4, number=2)
    assert kept.toarray().tolist() == [[0, 0, 0, 0], [2, 0, -1, 0], [1, 0, 3, 0]]


def test_as_many_as_there_are_is_all_of_them():
    weights = np.array([[0.0, 1.0], [-2.0, 0.0]], dtype=np.float32)
    kept = largest_of_items(weights, np.array([0, 1]), items=2, number=9)
    assert kept.toarray().tolist() == weights.tolist()
