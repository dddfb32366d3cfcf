"""A warehouse file remembers with its tables, and which version of it can read it."""

import duckdb
import pyarrow as pa
import pytest
from ranked_items import RANKED

from recsys_dagster.errors import UserError
from recsys_dagster.resources.warehouse_format import FORMAT


def ranked(**metadata: str) -> pa.Table:
    table = pa.table({"item_id": ["a"], "score": [0.5], "rank": [1]})
    return table.replace_schema_metadata(metadata or None)


def written(warehouse, sql: str) -> None:
    with duckdb.connect(str(warehouse.path("films"))) as connection:
        connection.execute(sql)


class TestMemory:
    @pytest.mark.parametrize(
        "text",
        ["", "it's", "'; drop table ranked_items; --", "ä\n\\", '{"a": "b"}', "x" * 100_000],
    )
    def test_what_a_table_is_to_remember_comes_back_with_it(self, warehouse, text):
        warehouse.replace("films", RANKED, ranked(state=text))
        assert warehouse.read("films", "ranked_items").schema.metadata == {b"state": text.encode()}

    def test_a_table_that_is_replaced_forgets(self, warehouse):
        warehouse.replace("films", RANKED, ranked(state="old"))
        warehouse.replace("films", RANKED, ranked())
        assert warehouse.read("films", "ranked_items").schema.metadata is None

    def test_a_failed_replacement_keeps_rows_and_memory(self, warehouse):
        warehouse.replace("films", RANKED, ranked(state="old"))
        bad = ranked(state="new").set_column(2, "rank", pa.array(["x"]))
        with pytest.raises(duckdb.ConversionException):
            warehouse.replace("films", RANKED, bad)
        kept = warehouse.read("films", "ranked_items")
        assert kept.schema.metadata == {b"state": b"old"}
        assert kept["rank"].to_pylist() == [1]


class TestFormat:
    def test_a_new_file_is_of_this_one(self, warehouse):
        warehouse.replace("films", RANKED, ranked())
        assert warehouse.query("films", "select format from warehouse.format") == [(FORMAT,)]

    def test_an_older_file_loses_its_tables_and_keeps_its_encoded_texts(self, warehouse):
        warehouse.replace("films", RANKED, ranked())
        written(
            warehouse,
            "drop schema warehouse cascade; create schema encoded_texts; "
            "create table encoded_texts.model_1 as select 'hash' as text_hash; "
            'create table "odd ""name" (a integer)',
        )
        assert not warehouse.has("films", "ranked_items")
        assert not warehouse.has("films", 'odd "name')
        assert warehouse.query("films", "select * from encoded_texts.model_1") == [("hash",)]
        assert warehouse.query("films", "select format from warehouse.format") == [(FORMAT,)]

    def test_a_newer_file_is_refused_and_left_as_it_is(self, warehouse):
        warehouse.replace("films", RANKED, ranked())
        written(warehouse, f"update warehouse.format set format = {FORMAT + 1}")
        for use in (
            lambda: warehouse.read("films", "ranked_items"),
            lambda: warehouse.replace("films", RANKED, ranked()),
        ):
            with pytest.raises(UserError, match=rf"films\.duckdb.*format {FORMAT + 1}") as raised:
                use()
            assert "Install the newer version again, or move the file away" in str(raised.value)
        with duckdb.connect(str(warehouse.path("films"))) as connection:
            assert connection.execute("select rank from ranked_items").fetchall() == [(1,)]
