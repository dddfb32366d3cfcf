"""An index in place of comparing all: nearly all of the nearest, the same every time."""

import numpy as np
import pytest

from recsys_dagster.steps.similarity import approximate
from recsys_dagster.steps.similarity.approximate import approximate_index, shared
from recsys_dagster.steps.similarity.nearest import index_for, top_k
from recsys_dagster.steps.similarity.space import Space
from recsys_dagster.steps.similarity.tables import item_neighbours, similarity_matrix

ITEMS, DIMENSION, TOPICS = 3_000, 16, 60


@pytest.fixture(scope="module")
def vectors():
    """Of topics, as those of texts are."""
    random = np.random.default_rng(0)
    topics = random.standard_normal((TOPICS, DIMENSION))
    own = random.standard_normal((ITEMS, DIMENSION))
    found = topics[random.integers(0, TOPICS, ITEMS)] + 0.4 * own
    return found.astype(np.float32)


@pytest.mark.parametrize("similarity", ["cosine", "euclidean", "dot"])
def test_nearly_all_of_the_nearest_in_their_order(vectors, similarity):
    items = Space.of(vectors, similarity, centre=True).project(vectors)
    exact = item_neighbours(items, 10, similarity)
    found = item_neighbours(items, 10, similarity, max_exact_pairs=0)
    assert exact.search == "exact"
    if similarity == "dot":  # lists group by direction: long vectors are everybody's nearest
        return
    assert found.search.startswith("approximate: ")
    rows = (exact.columns.reshape(ITEMS, 10), found.columns.reshape(ITEMS, 10))
    assert shared(rows[1], rows[0]) > 0.98
    assert (np.diff(found.similarities.reshape(ITEMS, 10)) <= 0).all()
    assert (found.columns != found.rows).all()


def test_the_same_vectors_give_the_same_neighbours(vectors):
    first, second = (item_neighbours(vectors, 10, "cosine", max_exact_pairs=0) for _ in range(2))
    np.testing.assert_array_equal(first.columns, second.columns)


def test_users_who_need_more_than_their_lists_hold_are_compared_with_all(vectors):
    items = Space.of(vectors, "cosine", centre=True).project(vectors)
    seen = np.array([0, 1, 2_500])
    found = similarity_matrix(items[:3], items, seen, 20, "cosine", max_exact_pairs=0)
    assert np.bincount(found.rows).tolist() == [20, 21, 2_520]
    exact = top_k(items[2:3], items, 2_520, "cosine")
    np.testing.assert_array_equal(found.columns[found.rows == 2], exact.positions[0])


def test_no_index_where_it_would_have_to_look_at_most_lists(vectors, monkeypatch):
    monkeypatch.setattr(approximate, "MIN_RECALL", 1.01)
    assert approximate_index(vectors, vectors, 10, is_distance=False) is None
    assert item_neighbours(vectors, 10, "cosine", max_exact_pairs=0).search == "exact"


def test_few_pairs_are_all_compared(vectors):
    assert index_for(vectors, vectors, 10, "cosine", ITEMS**2) is None
    assert index_for(vectors, vectors, 10, "cosine", ITEMS**2 - 1) is not None
    assert index_for(vectors, vectors, ITEMS, "cosine", 0) is None


def test_what_is_shared():
    nearest = np.array([[0, 1], [0, 2]])
    assert shared(np.array([[1, 0], [-1, 0]]), nearest) == 0.75
