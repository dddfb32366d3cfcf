"""The similarity matrix keeps enough unseen items for everybody; neighbours leave out oneself."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_dagster.steps.similarity.every_pair import pairwise
from recsys_dagster.steps.similarity.space import Space
from recsys_dagster.steps.similarity.tables import item_neighbours, similarity_matrix, to_sparse


def vectors_of(count, dimension=4, seed=0):
    return np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)


def assert_ranked(entries, count):
    """Sorted by row, ranks 1..k within a row, similarities never rising."""
    for row in range(count):
        own = entries.rows == row
        assert entries.ranks[own].tolist() == list(range(1, own.sum() + 1))
        assert (np.diff(entries.similarities[own]) <= 0).all()
        assert len(set(entries.columns[own])) == own.sum()
    assert (np.diff(entries.rows) >= 0).all()


@given(data=st.data(), items=st.integers(1, 30), width=st.integers(1, 12), seed=st.integers(0, 99))
def test_width_unseen_items_are_left_whatever_was_seen(data, items, width, seed):
    users = data.draw(st.integers(0, 6))
    seen = [
        data.draw(st.sets(st.integers(0, items - 1), max_size=items), label=f"seen by {user}")
        for user in range(users)
    ]
    counts = np.array([len(some) for some in seen], dtype=np.int64)
    people, things = vectors_of(users, seed=seed), vectors_of(items, seed=seed + 1)
    entries = similarity_matrix(people, things, counts, width, "dot")
    assert_ranked(entries, users)
    dense = pairwise(people, things, "dot")
    for user in range(users):
        kept = entries.columns[entries.rows == user]
        assert len(kept) == min(width + counts[user], items)
        unseen = [item for item in kept if item not in seen[user]]
        assert len(unseen) >= min(width, items - counts[user])
        best = np.argsort(-dense[user], kind="stable")[: len(kept)]
        np.testing.assert_array_equal(kept, best)


@pytest.mark.parametrize("similarity", ["cosine", "euclidean", "dot"])
def test_the_matrix_holds_the_similarity_of_its_space(similarity):
    space = Space.of(vectors_of(50), similarity, centre=True)
    people, things = space.project(vectors_of(7, seed=1)), space.project(vectors_of(50))
    entries = similarity_matrix(people, things, np.arange(7) * 6, 3, similarity)
    dense = pairwise(people, things, similarity)
    np.testing.assert_allclose(
        entries.similarities, dense[entries.rows, entries.columns], rtol=1e-6, atol=1e-6
    )
    assert entries.similarities.dtype == np.float32


@pytest.mark.parametrize(("users", "items"), [(0, 5), (3, 0), (0, 0)])
def test_nobody_or_nothing(users, items):
    entries = similarity_matrix(
        vectors_of(users), vectors_of(items), np.zeros(users, dtype=np.int64), 3, "cosine"
    )
    assert len(entries.rows) == len(entries.columns) == len(entries.ranks) == 0
    assert len(item_neighbours(vectors_of(items), 3, "cosine").rows) == (items * 3)


def test_progress_counts_every_user():
    calls = []
    similarity_matrix(
        vectors_of(5), vectors_of(40), np.array([0, 30, 0, 7, 2]), 2, "dot",
        lambda done, total: calls.append((done, total)),
    )  # fmt: skip
    assert calls[-1] == (5, 5)
    assert calls == sorted(calls)


@pytest.mark.parametrize("count", [1, 4, 100])
def test_neighbours_are_the_nearest_others(count):
    things = Space.of(vectors_of(20), "cosine", centre=False).project(vectors_of(20))
    things[3] = things[8]
    entries = item_neighbours(things, count, "cosine")
    assert_ranked(entries, 20)
    assert (entries.rows != entries.columns).all()
    assert np.bincount(entries.rows).tolist() == [min(count, 19)] * 20
    assert entries.columns[entries.rows == 3][0] == 8


# Stored and read again


def ids(*values):
    return pa.array(values, pa.string())


@pytest.mark.parametrize("decoded", [False, True])
def test_a_table_becomes_the_matrix_again(decoded):
    people, things = vectors_of(3), vectors_of(6, seed=1)
    entries = similarity_matrix(people, things, np.array([0, 1, 5]), 2, "dot")
    row_ids, column_ids = ids("u", "v", "w"), ids(*"abcdef")
    names = ("user_id", "item_id")
    table = entries.table(row_ids, column_ids, names)
    assert table.column_names == ["user_id", "item_id", "similarity", "rank"]
    if decoded:
        for position, name in enumerate(names):
            table = table.set_column(position, name, table[name].cast(pa.string()))
    # Other positions than those of the vectors, and one id that is not wanted.
    matrix = to_sparse(table, ids("w", "x", "v", "u"), ids(*"fedcbz"), names)
    expected = np.zeros((4, 6), dtype=np.float32)
    for row, column, value in zip(entries.rows, entries.columns, entries.similarities, strict=True):
        user, item = "uvw"[row], "abcdef"[column]
        if item != "a":
            expected["wxvu".index(user), "fedcbz".index(item)] = value
    np.testing.assert_array_equal(matrix.toarray(), expected)
    assert matrix.dtype == np.float32


def test_a_similarity_of_zero_stays_an_entry():
    table = pa.table(
        {"user_id": ["u"], "item_id": ["a"], "similarity": pa.array([0.0], pa.float32())}
    )
    assert to_sparse(table, ids("u"), ids("a", "b"), ("user_id", "item_id")).nnz == 1
    assert to_sparse(table.slice(1), ids("u"), ids("a"), ("user_id", "item_id")).nnz == 0
