"""Raw items: one row an item_id, the last one of the source."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_dagster.errors import UserError
from recsys_dagster.steps.items import parse_items


def raw_of(**columns):
    length = len(next(iter(columns.values())))
    return pd.DataFrame({"source_row": np.arange(1, length + 1), **columns})


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", " a", "", None]),
            st.sampled_from(["A", "B", "", None]),
            st.sampled_from([1, 2.5, None]),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_every_row_is_accepted_merged_or_rejected(rows):
    raw = pd.DataFrame(rows, columns=["item_id", "title", "year"], dtype=object)
    raw.insert(0, "source_row", range(1, len(raw) + 1))
    parsed = parse_items(raw, columns={})
    assert len(raw) == len(parsed.accepted) + parsed.merged + len(parsed.rejected)
    assert parsed.merged >= 0
    assert parsed.accepted["item_id"].is_unique
    assert parsed.accepted["item_id"].is_monotonic_increasing
    assert parsed.accepted[["item_id", "title"]].notna().all(axis=None)
    assert (parsed.accepted["title"] != "").all()
    blank = raw["item_id"].isna() | (raw["item_id"].fillna("") == "")
    assert set(raw.loc[blank, "source_row"]) <= set(parsed.rejected["source_row"])


def test_the_last_row_wins_equal_rows_merge_and_others_are_rejected():
    raw = raw_of(
        item_id=["a", "a", "a", "b", None],
        title=["Old", "New", "New", "B", "Nobody"],
        year=[1, 2, 2, 3, 4],
    )
    parsed = parse_items(raw, columns={})
    assert parsed.accepted.to_dict("list") == {
        "item_id": ["a", "b"],
        "title": ["New", "B"],
        "year": [2, 3],
    }
    assert parsed.merged == 1
    assert parsed.rejected["source_row"].tolist() == [1, 5]
    assert parsed.rejected["reason"].tolist() == [
        "a later row has the same item_id and other values",
        "item_id is missing or blank",
    ]
    assert parsed.rejected["title"].tolist() == ["Old", "Nobody"]


def test_titles_are_clean_and_the_id_stands_in_for_a_missing_one():
    raw = raw_of(item_id=["a", "b", "c"], title=["Tom &amp; <b>Jerry</b>", None, " "])
    assert parse_items(raw, columns={}).accepted["title"].tolist() == ["Tom & Jerry", "b", "c"]
    assert parse_items(raw_of(item_id=["a"]), columns={}).accepted["title"].tolist() == ["a"]


@pytest.mark.parametrize("column", ["title", "name"])
def test_one_column_can_be_both_id_and_title(column):
    parsed = parse_items(raw_of(**{column: ["Heat", "Alien"]}), columns={"item_id": column})
    assert parsed.accepted["item_id"].tolist() == ["Alien", "Heat"]
    assert parsed.accepted["title"].tolist() == ["Alien", "Heat"]


def test_a_column_of_lists_is_kept():
    raw = raw_of(item_id=["a", "a"], genres=[["x", "y"], ["x", "y"]])
    parsed = parse_items(raw, columns={})
    assert parsed.merged == 1
    assert parsed.accepted["genres"].tolist() == [["x", "y"]]


def test_mapped_columns_stay_in_the_table_under_their_own_names():
    raw = raw_of(sku=["a"], label=["Heat"], title=["ignored"], note=["n"])
    accepted = parse_items(raw, columns={"item_id": "sku", "title": "label"}).accepted
    assert accepted.to_dict("records") == [
        {"item_id": "a", "title": "Heat", "label": "Heat", "note": "n"}
    ]


def test_no_rows_and_no_id():
    parsed = parse_items(raw_of(item_id=[], title=[]), columns={})
    assert len(parsed.accepted) == len(parsed.rejected) == parsed.merged == 0
    with pytest.raises(UserError, match="no column is known as item_id"):
        parse_items(raw_of(thing=["a"]), columns={})
