"""Raw items: one row an item_id, the last one of the source."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_dagster.errors import UserError
from recsys_dagster.schemas import ITEMS, REJECTED_ITEMS, SOURCE_NAMES
from recsys_dagster.steps.prepare.items import parse_available, parse_items


def raw_of(**columns):
    length = len(next(iter(columns.values())))
    source = pd.DataFrame({"source_row": np.arange(1, length + 1)}).assign(
        source_file="m.csv", source_error=pd.Series(None, index=range(length), dtype="str")
    )
    return pd.concat([source[list(SOURCE_NAMES)], pd.DataFrame(columns)], axis="columns")


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
    raw = raw_of(**pd.DataFrame(rows, columns=["item_id", "title", "year"], dtype=object))
    parsed = parse_items(raw, columns={})
    assert len(raw) == len(parsed.accepted) + parsed.merged + len(parsed.rejected)
    assert parsed.merged >= 0
    assert parsed.accepted["item_id"].is_unique
    assert parsed.accepted["item_id"].is_monotonic_increasing
    assert parsed.accepted[["item_id", "title"]].notna().all(axis=None)
    assert (parsed.accepted["title"] != "").all()
    assert list(parsed.accepted.columns) == [*ITEMS.column_names, "year"]
    assert list(parsed.rejected.columns) == REJECTED_ITEMS.column_names
    blank = raw["item_id"].isna() | (raw["item_id"].fillna("") == "")
    assert set(raw.loc[blank, "source_row"]) <= set(parsed.rejected["source_row"])


def test_the_last_row_wins_equal_rows_merge_and_others_are_rejected():
    raw = raw_of(
        item_id=["a", "a", "a", "b", None],
        title=["Old", "New", "New", "B", "Nobody"],
        year=[1, 2, 2, 3, 4],
    )
    parsed = parse_items(raw, columns={})
    accepted = parsed.accepted[["item_id", "title", "available", "year"]]
    assert accepted.to_dict("list") == {
        "item_id": ["a", "b"],
        "title": ["New", "B"],
        "available": [True, True],
        "year": [2, 3],
    }
    assert parsed.merged == 1
    assert parsed.rejected["source_row"].tolist() == [1, 5]
    assert parsed.rejected["reason"].tolist() == [
        "a later row has the same item_id and other values",
        "item_id is missing or blank",
    ]
    assert parsed.rejected["title"].tolist() == ["Old", "Nobody"]


def test_no_item_is_called_null():
    parsed = parse_items(raw_of(item_id=["NULL", "\\N", "Null Island"]), columns={})
    assert parsed.accepted["item_id"].tolist() == ["Null Island"]
    assert set(parsed.rejected["reason"]) == {"item_id is a word for a missing value, such as NULL"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([["a"], ["b", "c"]], r"holds lists\..*unnest\(item_id\)"),
        ([{"id": 1}], r"holds structures with 'id'\..*\{item_id: item_id\.id\}"),
        ([True, False], "holds true and false, which tell nobody from anybody"),
    ],
)
def test_what_can_be_no_id_is_refused_with_what_to_write(values, message):
    with pytest.raises(
        UserError, match=f"raw_items: the column 'item_id', taken as item_id, {message}"
    ):
        parse_items(raw_of(item_id=pd.Series(values, dtype=object)), columns={})


def test_titles_are_clean_and_the_id_stands_in_for_a_missing_one():
    raw = raw_of(item_id=["a", "b", "c"], title=["Tom &amp; <b>Jerry</b>", None, " "])
    accepted = parse_items(raw, columns={}).accepted
    assert accepted["title"].tolist() == ["Tom & Jerry", "b", "c"]
    assert accepted["title_source"].tolist() == ["title", "item_id", "item_id"]
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


def test_a_column_of_ours_in_other_case_is_there_once():
    raw = raw_of(ItemID=["a"], Title=["Heat"], CATEGORY=["film"], Available=["no"], Year=[1995])
    accepted = parse_items(raw, columns={}).accepted
    assert accepted.columns.to_list() == [*ITEMS.column_names, "Year"]
    assert accepted[["title", "category", "available", "Year"]].to_numpy().tolist() == [
        ["Heat", "film", False, 1995]
    ]


def test_mapped_columns_stay_in_the_table_under_their_own_names():
    raw = raw_of(sku=["a"], label=["Heat"], title=["ignored"], note=["n"])
    accepted = parse_items(raw, columns={"item_id": "sku", "title": "label"}).accepted
    assert accepted[["item_id", "title", "label", "note"]].to_dict("records") == [
        {"item_id": "a", "title": "Heat", "label": "Heat", "note": "n"}
    ]


def test_no_rows_and_no_id():
    parsed = parse_items(raw_of(item_id=[], title=[]), columns={})
    assert len(parsed.accepted) == len(parsed.rejected) == parsed.merged == 0
    with pytest.raises(UserError, match="no column is known as item_id"):
        parse_items(raw_of(thing=["a"]), columns={})


# Availability and category


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (["yes", "Y", " True ", "t", "1", "7", "in stock", "Available"], True),
        (["no", "N", "FALSE", "f", "0", "0.0", "-3", "out of stock", "unavailable"], False),
        (["", " ", None, np.nan], True),
        ([True, np.True_, 1, 12.0, 0.5], True),
        ([False, 0, 0.0, -1], False),
        (["maybe", "n/a", "10 pieces", "vielleicht"], None),
        (["Ja", "sí", "да", "是", "Auf Lager"], True),
        (["Nein", "non", "нет", "否", "ausverkauft", "AGOTADO"], False),
        (["12.0", "1,5", "1.234,0", "1,234.00"], True),
        (["0,0", "0.00", "-1,5"], False),
        (["\\N", "NULL", "nan"], True),
    ],
    ids=str,
)
def test_available_is_yes_or_no_or_a_stock_count_and_silence_means_yes(found, expected):
    read = parse_available(pd.Series(found, dtype=object))
    assert [None if pd.isna(value) else bool(value) for value in read] == [expected] * len(found)


@pytest.mark.parametrize("column", ["available", "is_available", "isAvailable", "in_stock"])
def test_known_names_of_availability(column):
    accepted = parse_items(raw_of(item_id=["a", "b"], **{column: ["no", "yes"]}), columns={})
    assert accepted.accepted["available"].tolist() == [False, True]
    assert accepted.accepted["available"].dtype == bool


def test_a_stock_count_is_mapped_by_the_catalog_and_stays_a_column():
    raw = raw_of(item_id=["a", "b", "c"], stock=[3, 0, None])
    accepted = parse_items(raw, columns={"available": "stock"}).accepted
    assert accepted["available"].tolist() == [True, False, True]
    assert accepted["stock"].tolist()[:2] == [3, 0]


def test_an_availability_that_cannot_be_read_rejects_its_row_and_no_other():
    parsed = parse_items(raw_of(item_id=["a", "b"], available=["perhaps", "no"]), columns={})
    assert parsed.accepted["item_id"].tolist() == ["b"]
    (row,) = parsed.rejected.to_dict("records")
    assert row["reason"] == "available is not yes, no or a stock count"
    assert (row["source_file"], row["source_row"], row["item_id"]) == ("m.csv", 1, "a")
    assert not row["by_setting"]


def test_without_a_column_everything_is_available_and_nothing_has_a_category():
    accepted = parse_items(raw_of(item_id=["a", "b"]), columns={}).accepted
    assert accepted["available"].tolist() == [True, True]
    assert accepted["category"].isna().all()


def test_a_category_is_a_clean_text_or_null():
    raw = raw_of(item_id=list("abcd"), category=["Sci&amp;Fi", " ", None, "<b>Drama</b>"])
    category = parse_items(raw, columns={}).accepted["category"]
    assert category.dropna().tolist() == ["Sci&Fi", "Drama"]
    assert category.isna().tolist() == [False, True, True, False]


def test_a_category_is_mapped_by_the_catalog():
    raw = raw_of(item_id=["a"], department=["Toys"], category=["ignored"])
    accepted = parse_items(raw, columns={"category": "department"}).accepted
    assert accepted["category"].tolist() == ["Toys"]


@pytest.mark.parametrize(
    "column",
    [
        "created_at",
        "creation_timestamp",
        "CREATION_TIMESTAMP",
        "added_at",
        "released",
        "release_date",
        "publishedAt",
    ],
)
def test_known_names_of_when_an_item_was_made(column):
    raw = raw_of(item_id=["a", "b"], **{column: ["2024-03-01T12:00:00+02:00", None]})
    created = parse_items(raw, columns={}).accepted["created_at"]
    assert created.dtype == "datetime64[us]"
    assert created.tolist() == [pd.Timestamp("2024-03-01 10:00"), pd.NaT]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (["2024-03-01", "1 March", ""], ["2024-03-01", None, None]),
        ([1709251200, 1709337600, 0], ["2024-03-01", "2024-03-02", "1970-01-01"]),
        (["1995", "1996", "1997"], [None, None, None]),
        ([pd.Timestamp("2024-03-01", tz="UTC"), pd.NaT, pd.NaT], ["2024-03-01", None, None]),
    ],
    ids=["texts", "unix", "years", "dates"],
)
def test_a_date_that_cannot_be_read_is_null_and_rejects_nothing(found, expected):
    raw = raw_of(item_id=["a", "b", "c"], made=found)
    parsed = parse_items(raw, columns={"created_at": "made"})
    assert parsed.rejected.empty
    created = parsed.accepted["created_at"]
    assert created.tolist() == [pd.NaT if day is None else pd.Timestamp(day) for day in expected]
    assert "made" in parsed.accepted


def test_without_a_column_nobody_knows_when_items_were_made():
    created = parse_items(raw_of(item_id=["a", "b"]), columns={}).accepted["created_at"]
    assert created.dtype == "datetime64[us]"
    assert created.isna().all()


def test_the_last_row_of_an_item_says_whether_it_is_available():
    raw = raw_of(item_id=["a", "a"], title=["A", "A"], available=["yes", "no"])
    parsed = parse_items(raw, columns={})
    assert parsed.accepted["available"].tolist() == [False]
    assert parsed.rejected["source_row"].tolist() == [1]


def test_a_row_that_could_not_be_read_is_rejected_with_what_the_reader_said():
    raw = raw_of(item_id=["a", None], title=["A", None])
    raw.loc[1, "source_error"] = "the line has fewer columns than the header"
    parsed = parse_items(raw, columns={})
    assert parsed.accepted["item_id"].tolist() == ["a"]
    assert parsed.rejected["reason"].tolist() == ["the line has fewer columns than the header"]


def test_columns_that_say_where_a_row_was_read_are_not_the_items():
    accepted = parse_items(raw_of(item_id=["a"], note=["n"]), columns={}).accepted
    assert list(accepted.columns) == [*ITEMS.column_names, "note"]


def test_ids_that_are_floats_too_large_to_be_exact_are_rejected():
    parsed = parse_items(raw_of(item_id=[1234567890123456789.0, 12.0]), columns={})
    assert parsed.accepted["item_id"].tolist() == ["12"]
    (reason,) = parsed.rejected["reason"]
    assert reason.startswith("item_id is a number too large to be exact: keep ids as text")
