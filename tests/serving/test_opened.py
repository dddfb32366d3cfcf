"""A snapshot in memory answers as its files do."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_dagster.errors import UnknownNameError, UserError
from recsys_dagster.serving.held import HeldHistories
from recsys_dagster.serving.sorted_ids import SortedIds


def users_of(snapshot):
    return [*snapshot.some_users(100), "nobody"]


def assert_same_rows(found, expected):
    assert [vars(row) | {"because": None} for row in found] == [
        vars(row) | {"because": None} for row in expected
    ]
    for own, other in zip(found, expected, strict=True):
        assert [reason.item_id for reason in own.because] == [
            reason.item_id for reason in other.because
        ]
        assert [reason.share for reason in own.because] == pytest.approx(
            [reason.share for reason in other.because], rel=1e-6
        )


@pytest.mark.parametrize("n", [1, 3, 5, 100])
def test_lists_neighbours_and_popular_items_are_those_of_the_files(snapshot, opened, n):
    for user in users_of(snapshot):
        assert opened.knows(user) == snapshot.knows(user)
        assert_same_rows(opened.recommend(user, n), snapshot.recommend(user, n))
    for item in snapshot.items().item_ids:
        assert_same_rows(opened.similar(item, n), snapshot.similar(item, n))
    assert_same_rows(opened.popular(n), snapshot.popular(n))


def test_histories_are_those_of_the_files(snapshot, opened):
    assert opened.history("nobody") is None
    assert opened.history("zzzz") is None
    for user in snapshot.some_users(100):
        own, other = opened.history(user), snapshot.history(user)
        for name, values in vars(other).items():
            np.testing.assert_array_equal(getattr(own, name), values)


def test_the_history_of_somebody_with_a_very_long_id_is_found(tmp_path):
    users = ["a", "b" * 5_000, "c"]
    table = pa.table({"user_id": users, "number": [1, 2, 3]})
    pq.write_table(table, tmp_path / "histories.parquet", row_group_size=1)
    held = HeldHistories(tmp_path / "histories.parquet")
    assert [held.of(user)["number"].to_pylist() for user in users] == [[1], [2], [3]]
    assert held.of("bb").num_rows == 0


def test_an_item_is_found_by_id_and_title(snapshot, opened):
    for name in ("space1", "star voyage", "Paris Kiss"):
        assert opened.find_item(name) == snapshot.find_item(name)
    with pytest.raises(UnknownNameError) as found:
        opened.find_item("Star Voyager")
    with pytest.raises(UnknownNameError) as expected:
        snapshot.find_item("Star Voyager")
    assert str(found.value) == str(expected.value)
    assert "space1 (Star Voyage)" in str(found.value)


def test_a_search_finds_beginnings_first_then_words_then_parts(opened):
    def titles(words):
        return [title for _, title in opened.search(words, 10)]

    assert titles("wedding")[0] == "Wedding Day"
    assert set(titles("WEDDING")) == {"Wedding Day", "Second Wedding"}
    assert set(titles("lové")) == {"Love Letters", "Summer Love"}
    assert "Rocket Home" in titles("ocket")
    assert [item for item, _ in opened.search("space", 10)] != []
    assert titles("nothing like it") == []
    assert len(titles("")) == 10


@given(st.sets(st.text(max_size=5), max_size=30), st.text(max_size=5))
def test_sorted_ids_know_their_places(ids, other):
    ordered = sorted(ids, key=lambda name: name.encode())
    found = SortedIds([pa.array(ordered[:7], pa.string()), pa.array(ordered[7:], pa.string())], "f")
    assert list(found) == ordered
    assert [found.position(name) for name in ordered] == list(range(len(ordered)))
    assert found.position(other) == (ordered.index(other) if other in ids else None)
    assert found.beginning_with(other, 100) == [name for name in ordered if name.startswith(other)]


def test_ids_out_of_order_are_a_damaged_snapshot():
    with pytest.raises(UserError, match="not sorted"):
        SortedIds([pa.array(["b", "a"])], "lists.parquet")
