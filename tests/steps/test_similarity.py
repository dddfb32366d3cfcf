import sys
from subprocess import run

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recsys_dagster.steps.similarity import nearest as module
from recsys_dagster.steps.similarity.every_pair import pairwise
from recsys_dagster.steps.similarity.nearest import top_k
from recsys_dagster.steps.similarity.space import Space

SIMILARITIES = ("cosine", "euclidean", "dot")
USER = np.array([[0.1, 0.2, 0.3]])
ITEMS = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9]])


def brute(queries, items, similarity):
    """The definition, pair by pair in float64."""
    queries, items = queries.astype(np.float64)[:, None], items.astype(np.float64)[None]
    if similarity == "euclidean":
        return (1 / (1 + np.sqrt(np.square(queries - items).sum(axis=2)))).astype(np.float32)
    return (queries * items).sum(axis=2).astype(np.float32)


def ranked(values, k, exclude=None):
    values, k = values.copy(), min(k, values.shape[1] - (exclude is not None))
    if exclude is not None:
        values[np.arange(len(values)), exclude] = -np.inf
    order = np.argsort(-values, axis=1, kind="stable")[:, : max(k, 0)]
    return order, np.take_along_axis(values, order, axis=1)


def assert_exact(queries, items, k, similarity, *, exclude=None, tolerance=0.0):
    found = top_k(queries, items, k, similarity, exclude=exclude)
    positions, values = ranked(brute(queries, items, similarity), k, exclude)
    np.testing.assert_array_equal(found.positions, positions)
    np.testing.assert_allclose(found.similarities, values, rtol=tolerance, atol=tolerance)
    assert found.positions.dtype == np.int64
    assert found.similarities.dtype == np.float32
    assert (np.diff(found.similarities, axis=1) <= 0).all()


def random_vectors(count, dimension, seed=0):
    return np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)


@st.composite
def small_problems(draw):
    dimension = draw(st.integers(1, 4))
    whole = st.integers(-2, 2).map(float)
    items = draw(hnp.arrays(np.float32, (draw(st.integers(1, 40)), dimension), elements=whole))
    queries = draw(hnp.arrays(np.float32, (draw(st.integers(0, 5)), dimension), elements=whole))
    exclude = draw(
        st.none() | hnp.arrays(np.int64, len(queries), elements=st.integers(0, len(items) - 1))
    )
    return queries, items, draw(st.integers(1, 45)), exclude


# What the similarities are


@pytest.mark.parametrize(
    ("similarity", "expected"),
    [
        ("cosine", [1.0000, 0.9746, 0.9594]),
        ("dot", [0.14, 0.32, 0.50]),
        ("euclidean", [1.0, 1 / (1 + np.sqrt(0.27)), 1 / (1 + np.sqrt(1.08))]),
    ],
)
def test_worked_example(similarity, expected):
    space = Space.of(ITEMS, similarity, centre=False)
    values = pairwise(space.project(USER), space.project(ITEMS), similarity)
    np.testing.assert_allclose(values, [expected], atol=5e-5)


def test_each_similarity_has_an_order_of_its_own():
    items = np.array([[10, 4], [0.5, 0.05], [0.9, 0.3], [-1, 0]], dtype=np.float32)
    orders = {}
    for similarity in SIMILARITIES:
        space = Space.of(items, similarity, centre=False)
        user = space.project(np.array([[1.0, 0.0]]))
        orders[similarity] = top_k(user, space.project(items), 4, similarity).positions[0].tolist()
    assert orders == {"cosine": [1, 2, 0, 3], "euclidean": [2, 1, 3, 0], "dot": [0, 2, 1, 3]}


# Space


def test_cosine_vectors_have_unit_length_and_zero_stays_zero():
    vectors = np.array([[3, 4], [0, 0], [1e-30, 0], [1e30, 1e30]])
    projected = Space.of(vectors, "cosine", centre=False).project(vectors)
    np.testing.assert_allclose(np.linalg.norm(projected, axis=1), [1, 0, 1, 1], rtol=1e-6)
    assert projected.dtype == np.float32
    assert projected.flags.c_contiguous


@pytest.mark.parametrize("similarity", ["euclidean", "dot"])
def test_other_similarities_take_vectors_as_they_are(similarity):
    space = Space.of(ITEMS, similarity, centre=True)
    assert space.mean is None
    np.testing.assert_array_equal(space.project(ITEMS), ITEMS.astype(np.float32))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_centring_makes_an_item_that_equals_the_mean_zero(dtype):
    items = ITEMS.astype(dtype)
    projected = Space.of(items, "cosine", centre=True).project(items)
    corner = np.full(3, 1 / np.sqrt(3))
    np.testing.assert_allclose(projected, [-corner, np.zeros(3), corner], atol=1e-6)


def test_users_are_centred_by_the_items_mean():
    items = random_vectors(50, 6) + 3
    space = Space.of(items, "cosine", centre=True)
    user = random_vectors(1, 6, seed=1)
    expected = user - items.mean(axis=0)
    np.testing.assert_allclose(space.project(user), expected / np.linalg.norm(expected), atol=1e-6)


def test_projection_does_not_depend_on_the_other_rows():
    vectors = random_vectors(9_000, 384)
    space = Space.of(vectors, "cosine", centre=True)
    np.testing.assert_array_equal(
        space.project(vectors)[4_321:4_322], space.project(vectors[4_321:4_322])
    )


def test_space_of_no_items():
    space = Space.of(np.empty((0, 3)), "cosine", centre=True)
    assert space.mean is None
    assert space.project(np.empty((0, 3))).shape == (0, 3)


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_projection_refuses_what_is_not_finite(similarity):
    with pytest.raises(ValueError, match="2 vectors are not finite"):
        Space(similarity, None).project(np.array([[np.nan, 1], [0, 1], [np.inf, 0]]))


def test_space_refuses_wrong_input():
    with pytest.raises(ValueError, match="similarity must be one of"):
        Space.of(ITEMS, "manhattan", centre=False)  # ty: ignore[invalid-argument-type]
    with pytest.raises(ValueError, match="must be a matrix"):
        Space.of(ITEMS[0], "cosine", centre=False)
    with pytest.raises(ValueError, match="not finite"):
        Space.of(np.array([[np.nan]]), "cosine", centre=True)
    with pytest.raises(ValueError, match="3 dimensions, the space has 2"):
        Space.of(np.ones((2, 2)), "cosine", centre=True).project(ITEMS)


# Nearest items


@pytest.mark.parametrize("similarity", SIMILARITIES)
@given(problem=small_problems())
def test_top_k_equals_brute_force_where_ties_are_everywhere(similarity, problem):
    queries, items, k, exclude = problem
    space = Space.of(items, similarity, centre=False)
    # Integers are exact in float32, unit vectors are not; the order is exact for both.
    tolerance = 3e-7 if similarity == "cosine" else 0
    queries, items = space.project(queries), space.project(items)
    assert_exact(queries, items, k, similarity, exclude=exclude, tolerance=tolerance)


@pytest.mark.parametrize("similarity", SIMILARITIES)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.tuples(st.integers(1, 300), st.integers(1, 70)),
    k=st.integers(1, 60),
    offset=st.sampled_from([0, 5, 1000]),
)
def test_top_k_equals_brute_force_on_random_vectors(similarity, seed, sizes, k, offset):
    n, dimension = sizes
    items = random_vectors(n, dimension, seed) + np.float32(offset)
    queries = random_vectors(30, dimension, seed + 1) + np.float32(offset)
    space = Space.of(items, similarity, centre=False)
    assert_exact(space.project(queries), space.project(items), k, similarity, tolerance=2e-6)


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_several_query_blocks(similarity, monkeypatch):
    monkeypatch.setattr(module, "_QUERY_BLOCK", 64)
    space = Space.of(random_vectors(1_500, 48), similarity, centre=True)
    items = space.project(random_vectors(1_500, 48))
    items[::50] = items[0]
    exclude = np.arange(len(items))
    assert_exact(items, items, 20, similarity, exclude=exclude, tolerance=2e-6)


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("copies", [4, 12, 300])
def test_identical_vectors_tie_across_the_boundary(similarity, copies):
    rng = np.random.default_rng(copies)
    vectors = random_vectors(3_000, 384)
    clones = np.sort(rng.choice(len(vectors), copies, replace=False))
    vectors[clones] = vectors[clones[0]]
    items = Space.of(vectors, similarity, centre=False).project(vectors)
    queries = items[clones[0]] + 0.02 * random_vectors(40, 384, seed=1)
    queries[0] = items[clones[0]]
    for k in (copies - 2, copies, copies + 2):
        found = top_k(queries, items, k, similarity)
        shown = min(k, copies)
        np.testing.assert_array_equal(
            found.positions[:, :shown], np.tile(clones[:shown], (len(queries), 1))
        )
        assert (np.ptp(found.similarities[:, :shown], axis=1) == 0).all()
    if similarity == "euclidean":
        assert found.similarities[0, 0] == 1


def test_near_vectors_far_from_the_origin_keep_their_distances():
    items = (1_000 + 1e-2 * random_vectors(500, 16)).astype(np.float32)
    assert_exact(items[:50], items, 10, "euclidean", tolerance=1e-7)
    assert (top_k(items, items, 1, "euclidean").similarities == 1).all()


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_zero_vectors(similarity):
    items = random_vectors(400, 8)
    items[10:200] = 0
    space = Space.of(items, similarity, centre=False)
    queries = space.project(np.vstack([np.zeros((2, 8)), random_vectors(3, 8, seed=1)]))
    assert_exact(queries, space.project(items), 30, similarity, tolerance=2e-6)


def test_negative_zero_is_zero():
    items = np.zeros((50, 2), dtype=np.float32)
    items[::2] = -0.0
    found = top_k(np.ones((1, 2), np.float32), items, 5, "dot")
    assert found.positions.tolist() == [[0, 1, 2, 3, 4]]


def test_tiny_vectors_are_told_apart():
    items = 1e-22 * random_vectors(100, 4)
    assert_exact(items[:5], items, 10, "dot", tolerance=1e-40)


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize(("m", "n", "width"), [(0, 5, 3), (4, 0, 0), (0, 0, 0), (2, 1, 1)])
def test_empty_and_tiny(similarity, m, n, width):
    found = top_k(np.ones((m, 2), np.float32), np.ones((n, 2), np.float32), 3, similarity)
    assert found.positions.shape == found.similarities.shape == (m, width)
    values = pairwise(np.ones((m, 2), np.float32), np.ones((n, 2), np.float32), similarity)
    assert values.shape == (m, n)


def test_a_lone_item_has_no_neighbours():
    one = np.ones((1, 2), np.float32)
    assert top_k(one, one, 3, "dot", exclude=np.array([0])).positions.shape == (1, 0)


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_pairwise_equals_brute_force(similarity):
    queries, items = random_vectors(20, 384), random_vectors(3_000, 384, seed=1)
    items[1_500:] = items[:1_500]
    values = pairwise(queries, items, similarity)
    np.testing.assert_allclose(values, brute(queries, items, similarity), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(values[:, 1_500:], values[:, :1_500])
    assert values.dtype == np.float32


def test_progress_reaches_the_end(monkeypatch):
    monkeypatch.setattr(module, "_QUERY_BLOCK", 4)
    seen = []
    top_k(
        random_vectors(10, 3),
        random_vectors(50, 3),
        2,
        "dot",
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(4, 10), (8, 10), (10, 10)]


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_torch_finds_the_same(similarity, monkeypatch):
    queries, items = random_vectors(40, 32), random_vectors(900, 32, seed=1)
    items[::30] = items[0]
    expected = top_k(queries, items, 25, similarity)
    torch_search = module._torch_search
    monkeypatch.setattr(module, "_torch_search", lambda *args: torch_search(*args[:3], "cpu"))
    found = top_k(queries, items, 25, similarity, device="cuda")
    np.testing.assert_array_equal(found.positions, expected.positions)
    np.testing.assert_allclose(found.similarities, expected.similarities, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 0}, "at least 1"),
        ({"similarity": "manhattan"}, "must be one of"),
        ({"queries": np.ones((2, 3), np.float32)}, "queries have 3 dimensions, items have 2"),
        ({"queries": np.ones(2, np.float32)}, "must be a matrix"),
        ({"queries": np.full((1, 2), np.nan, np.float32)}, "not finite"),
        ({"items": np.full((1, 2), 1e30, np.float32)}, "too large"),
        ({"exclude": np.array([0])}, "one item a query"),
        ({"exclude": np.array([0, 5])}, "outside the 5 items"),
    ],
)
def test_wrong_arguments(change, message):
    right = {
        "queries": np.ones((2, 2), np.float32),
        "items": np.ones((5, 2), np.float32),
        "k": 1,
        "similarity": "dot",
    }
    with pytest.raises(ValueError, match=message):
        top_k(**(right | change))


def test_importing_the_step_loads_neither_faiss_nor_torch():
    code = (
        "import sys, recsys_dagster.steps.similarity.nearest;"
        "sys.exit(bool({'faiss', 'torch', 'dagster', 'duckdb'} & set(sys.modules)))"
    )
    assert run([sys.executable, "-c", code], check=False).returncode == 0
