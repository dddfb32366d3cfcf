"""Histories as blocks, and their order."""

import numpy as np
import pandas as pd
import pyarrow as pa
from making import (
    block_of,
)
from scipy import sparse

from recsys_dagster.steps.models.behaviour import Behaviour
from recsys_dagster.steps.prepare.histories import histories_table


def test_entries_are_the_histories_one_after_the_other():
    positives = sparse.csr_matrix(np.array([[1, 1, 0], [0, 0, 0], [0, 1, 1]], dtype=np.float32))
    block = block_of(positives)
    assert block.lengths.tolist() == [2, 0, 2]
    assert positives.indices[block.entries(np.array([0, 0, 1, 2]))].tolist() == [0, 1, 0, 1, 1, 2]
    assert block.entries(np.empty(0, dtype=np.int64)).tolist() == []


def test_recency_counts_the_likes_that_came_later_and_ages_the_days_since(behaviour_of):
    pairs = [
        ("u", "a", 1.0, True, pd.Timestamp("2026-01-01")),
        ("u", "b", 1.0, True, pd.Timestamp("2026-01-08")),
        ("u", "c", 1.0, True, pd.Timestamp("2026-01-08")),
        ("u", "d", 1.0, False, pd.Timestamp("2026-01-09")),
        ("v", "a"),
    ]
    behaviour = behaviour_of(pairs, ["u", "v"], list("abcd"))
    np.testing.assert_allclose(behaviour.recency.toarray(), [[1 / 3, 1, 1, 0], [1, 0, 0, 0]])
    np.testing.assert_array_equal(behaviour.ages.data, np.float32([8, 1, 1, np.nan]))
    for matrix in (behaviour.recency, behaviour.ages):
        assert matrix.dtype == np.float32
        np.testing.assert_array_equal(matrix.indices, behaviour.positives.indices)
        np.testing.assert_array_equal(matrix.indptr, behaviour.positives.indptr)


def test_positions_order_a_history_where_there_are_no_times(behaviour_of):
    pairs = [("u", "a"), ("u", "b"), ("u", "c")]
    behaviour = behaviour_of(pairs, ["u"], list("abc"), position=[5.0, 1.0, 9.0])
    np.testing.assert_allclose(behaviour.recency.toarray(), [[1 / 2, 1 / 3, 1]])
    assert np.isnan(behaviour.ages.data).all()


def test_nothing_interacted_with_has_neither_recency_nor_age(behaviour_of):
    behaviour = behaviour_of([], ["u"], ["a"])
    assert behaviour.recency.nnz == behaviour.ages.nnz == 0


def test_ids_are_in_one_piece_whatever_the_tables_are_in(interactions_of):
    pairs = interactions_of(("u", "a"), ("v", "b"), ("v", "c"))
    histories = histories_table(pairs, pd.Series(["u", "v"], dtype="str"), 180.0, 50.0)
    pieces = pa.concat_tables([histories.slice(0, 1), histories.slice(1)])
    catalogue = pa.chunked_array([["b"], ["d", "a"]], pa.string()).to_pandas()
    assert isinstance(pa.array(pieces["user_id"].to_pandas(), pa.string()), pa.ChunkedArray)
    found = Behaviour.of(pieces, catalogue)
    for ids, expected in ((found.user_ids, ["u", "v"]), (found.item_ids, ["a", "b", "c", "d"])):
        assert ids.tolist() == expected
        assert isinstance(pa.array(ids, pa.string()), pa.StringArray)
    whole = Behaviour.of(histories, catalogue)
    np.testing.assert_array_equal(found.weights.toarray(), whole.weights.toarray())
