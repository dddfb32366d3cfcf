"""A query has names for files, and these are read as files are: in each encoding, line by line."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from recsys_dagster.catalog.source import SourceSettings
from recsys_dagster.errors import UserError
from recsys_dagster.resources.sources import read_source
from recsys_dagster.resources.sources.watching import observe_source


@pytest.fixture
def shop(tmp_path):
    text = "Kunde;Artikel;Name\n7;001;Käse für 5 €\n8;002\n9;001;Käse für 5 €\n"
    (tmp_path / "sales.csv").write_text(text, encoding="cp1252")
    return tmp_path


def query(sql: str) -> SourceSettings:
    sales = {"path": "sales.csv", "encoding": "cp1252"}
    return SourceSettings.model_validate({"sql": sql, "tables": {"sales": sales}})


def test_characters_that_duckdb_itself_cannot_read(shop):
    asked = query(
        'select "Artikel", mode("Name") as "Name" from sales where Name > \'\' group by 1'
    )
    rows = read_source(asked, shop).rows
    assert rows.select(["Artikel", "Name"]).to_pylist() == [
        {"Artikel": "001", "Name": "Käse für 5 €"}
    ]


def test_rows_that_cannot_be_read_are_handed_on(shop):
    rows = read_source(query("select * from sales order by source_row"), shop).rows
    assert rows["source_row"].to_pylist() == [1, 2, 3]
    assert rows["source_error"].to_pylist() == [
        None,
        "the line has fewer columns than the header",
        None,
    ]


def test_rows_that_a_query_does_not_hand_on_are_counted(shop):
    (remark,) = read_source(query("select Artikel from sales where Kunde > ''"), shop).remarks
    assert remark.startswith("1 of the 3 rows of sales could not be read")
    assert read_source(query("select * from sales"), shop).remarks == ()


def test_a_table_that_there_is_none_of(shop):
    with pytest.raises(UserError, match="orders"):
        read_source(query("select * from orders"), shop)


def test_another_content_of_a_file_is_another_fingerprint(shop: Path):
    asked = query("select * from sales")
    before = observe_source(asked, shop, {}, 0).fingerprint
    with (shop / "sales.csv").open("ab") as file:
        file.write(b"9;002;Brot\n")
    assert observe_source(asked, shop, {}, 0).fingerprint != before


@pytest.mark.parametrize(
    "settings",
    [
        {"path": "a.csv", "tables": {"a": "a.csv"}},
        {"sql": "select 1", "database": "a.db", "tables": {"a": "a.csv"}},
        {"sql": "select 1", "watermark": "id", "tables": {"a": "a.csv"}},
    ],
)
def test_names_for_files_are_of_a_query_alone(settings):
    with pytest.raises(ValidationError, match="tables"):
        SourceSettings.model_validate(settings)
