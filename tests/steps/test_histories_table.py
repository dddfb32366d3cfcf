"""The table `histories`, made of interactions as a warehouse hands them over."""

import pandas as pd

from recsys_dagster.steps.prepare.histories import histories_table


def test_rows_that_are_in_order_already_may_come_in_several_chunks(interactions_of):
    whole = interactions_of(("a", "x"), ("a", "y"), ("b", "x"), ("b", "z"))
    chunks = pd.concat([whole.iloc[:2], whole.iloc[2:]], ignore_index=True)
    table = histories_table(chunks, pd.Series(["a", "b"], dtype="str"), 180, 50)
    assert table["item_ids"].to_pylist() == [["x", "y"], ["x", "z"]]
    assert chunks["item_id"].array.__arrow_array__().num_chunks == 2
