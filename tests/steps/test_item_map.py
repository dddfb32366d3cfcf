"""Items on a plane: their two principal axes, within -1 and 1, and the same every time."""

import numpy as np
import pytest

from recsys_dagster.steps.similarity import item_map as module
from recsys_dagster.steps.similarity.item_map import item_map


def vectors_of(count, dimension=8, seed=0):
    """Vectors around a common direction, as those of texts are, longer along one axis."""
    spread = np.random.default_rng(seed).standard_normal((count, dimension))
    spread[:, 1] *= 3
    return (spread + 5).astype(np.float32)


def test_places_are_the_principal_components_in_one_scale():
    from sklearn.decomposition import PCA

    vectors = vectors_of(300)
    expected = PCA(n_components=2).fit(vectors.astype(np.float64))
    places = expected.transform(vectors)
    found = item_map(vectors)
    assert np.abs(found.places).max() == 1
    scale = np.abs(places).max()
    np.testing.assert_allclose(np.abs(found.places) * scale, np.abs(places), atol=1e-9)
    assert found.share == pytest.approx(expected.explained_variance_ratio_.sum(), rel=1e-5)


def test_an_axis_points_to_where_its_largest_loading_is_positive():
    vectors = vectors_of(200)
    # The second number of a vector makes nearly all of the first axis.
    assert np.corrcoef(item_map(vectors).places[:, 0], vectors[:, 1])[0, 1] > 0.9


def test_the_same_vectors_in_whatever_order_and_blocks_give_the_same_map(monkeypatch):
    vectors = vectors_of(100)
    expected = item_map(vectors).places
    np.testing.assert_array_equal(item_map(vectors).places, expected)
    order = np.random.default_rng(1).permutation(100)
    np.testing.assert_allclose(item_map(vectors[order]).places, expected[order], atol=1e-9)
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 7)
    np.testing.assert_allclose(item_map(vectors).places, expected, atol=1e-9)


def test_the_length_of_vectors_is_of_no_matter():
    vectors = vectors_of(50)
    np.testing.assert_allclose(item_map(vectors * 64).places, item_map(vectors).places, atol=1e-9)


@pytest.mark.parametrize(
    "vectors",
    [
        np.empty((0, 4)),
        np.full((1, 4), 3.7),
        np.full((2, 4), 3.7),
        np.tile(vectors_of(1), (999, 1)),
        np.zeros((5, 4)),
    ],
    ids=["none", "one", "twins", "many alike", "zero"],
)
def test_where_nothing_differs_all_are_in_the_middle(vectors):
    found = item_map(vectors.astype(np.float32))
    assert found.places.shape == (len(vectors), 2)
    assert not found.places.any()
    assert found.share == 1


def test_two_items_lie_at_the_ends_of_one_axis():
    found = item_map(vectors_of(2))
    np.testing.assert_allclose(np.sort(found.places[:, 0]), [-1, 1])
    assert not found.places[:, 1].any()


def test_vectors_of_one_number_have_one_axis():
    found = item_map(np.array([[0], [1], [5]], dtype=np.float32))
    np.testing.assert_allclose(found.places, [[-2 / 3, 0], [-1 / 3, 0], [1, 0]])
