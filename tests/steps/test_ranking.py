import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recsys_dagster.steps.similarity.ranking import top_n


def full_sort(scores, n_top):
    order = np.argsort(-scores, axis=1, kind="stable")[:, :n_top]
    return order, np.take_along_axis(scores, order, axis=1)


def assert_ranked(scores, n_top):
    positions, best = top_n(scores, n_top)
    expected, expected_best = full_sort(scores, n_top)
    np.testing.assert_array_equal(positions, expected)
    np.testing.assert_array_equal(best, expected_best)
    assert positions.dtype == np.int64
    assert best.dtype == np.float32


def test_best_first_with_ties_by_position():
    positions, best = top_n(np.array([[1, 3, 2, 3, 0]], dtype=np.float32), 3)
    assert positions.tolist() == [[1, 3, 2]]
    assert best.tolist() == [[3, 3, 2]]


def test_minus_infinity_ranks_last_but_stays():
    positions, best = top_n(np.array([[-np.inf, 1, -np.inf]], dtype=np.float32), 3)
    assert positions.tolist() == [[1, 0, 2]]
    assert best.tolist() == [[1, -np.inf, -np.inf]]


@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(0, 6), st.integers(0, 120)),
        elements=st.sampled_from([-np.inf, -2.0, -0.0, 0.0, 0.5, 1.0, 2.0, 3.0]),
    ),
    st.integers(1, 130),
)
def test_equals_a_full_stable_sort_when_ties_are_everywhere(scores, n_top):
    assert_ranked(scores, n_top)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 900), st.integers(1, 12))
def test_equals_a_full_stable_sort_on_random_scores(seed, n_top, n, decimals):
    scores = np.random.default_rng(seed).standard_normal((5, n)).round(decimals)
    assert_ranked(scores.astype(np.float32), n_top)


@pytest.mark.parametrize("n_top", [1, 10, 100])
def test_mixed_rows_in_several_blocks(n_top):
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((700, 9_001)).astype(np.float32)
    scores[::3] = np.maximum(scores[::3], 2.5)  # mass ties at the bottom
    scores[::5, ::2] = -np.inf
    scores[1] = 0
    scores[2] = -np.inf
    assert_ranked(scores, n_top)


def test_strided_scores():
    scores = np.random.default_rng(0).standard_normal((900, 40)).astype(np.float32)
    assert_ranked(scores.T, 5)


def test_leaves_its_input_alone():
    scores = np.random.default_rng(0).standard_normal((3, 500)).astype(np.float32)
    before = scores.copy()
    top_n(scores, 5)
    np.testing.assert_array_equal(scores, before)


@pytest.mark.parametrize("shape", [(0, 5), (0, 0), (4, 0)])
def test_nothing_to_rank(shape):
    positions, best = top_n(np.zeros(shape, dtype=np.float32), 3)
    assert positions.shape == best.shape == (shape[0], min(3, shape[1]))


@pytest.mark.parametrize("n", [7, 5_000])
@pytest.mark.parametrize("where", [0, -1])
def test_nan_is_refused_and_counted(n, where):
    scores = np.zeros((3, n), dtype=np.float32)
    scores[:2, where] = np.nan
    with pytest.raises(ValueError, match="2 scores are NaN"):
        top_n(scores, 2)


@pytest.mark.parametrize(
    ("scores", "n_top", "message"),
    [(np.zeros(3), 1, "must be a matrix"), (np.zeros((1, 3)), 0, "at least 1")],
)
def test_wrong_arguments(scores, n_top, message):
    with pytest.raises(ValueError, match=message):
        top_n(scores, n_top)
