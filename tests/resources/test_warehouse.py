"""The warehouse: tables replaced whole and by name, connections that always close."""

import datetime as dt
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import duckdb
import pandas as pd
import pyarrow as pa
import pytest
from ranked_items import RANKED

from recsys_dagster.errors import UserError
from recsys_dagster.resources import warehouse as warehouse_module
from recsys_dagster.resources.warehouse import (
    DATA_VERSION,
    comment_of,
    kept_open,
    let_go,
    to_arrow,
    to_pandas,
    with_comment,
)
from recsys_dagster.schemas import ITEM_EMBEDDINGS, ITEMS, TABLES, TUNING
from recsys_dagster.sql import quoted


def ranked(score: float = 0.5) -> pa.Table:
    return pa.table({"item_id": ["a", "b"], "score": [score, 0.25], "rank": [1, 2]})


def rows(warehouse, table="ranked_items"):
    return warehouse.query("films", f"select * from {table} order by all")


def test_duckdb_takes_half_of_what_a_process_may(warehouse, monkeypatch):
    monkeypatch.setenv("RECSYS_MEMORY_LIMIT", "4GiB")
    assert warehouse.query("films", "select current_setting('memory_limit')") == [("2.0 GiB",)]


class TestReplace:
    def test_columns_are_matched_by_name(self, warehouse):
        data = ranked().select(["rank", "score", "item_id"])
        columns = warehouse.replace("films", RANKED, data)
        assert [(column.name, column.type) for column in columns] == [
            ("item_id", "VARCHAR"),
            ("score", "DOUBLE"),
            ("rank", "INTEGER"),
        ]
        assert rows(warehouse) == [("a", 0.5, 1), ("b", 0.25, 2)]
        assert warehouse.read("films", "ranked_items").column_names == ["item_id", "score", "rank"]

    def test_the_old_table_is_replaced_whole(self, warehouse):
        warehouse.replace("films", RANKED, ranked())
        warehouse.replace("films", RANKED, ranked(0.75).slice(0, 1))
        assert rows(warehouse) == [("a", 0.75, 1)]

    def test_a_failure_leaves_the_old_table(self, warehouse):
        warehouse.replace("films", RANKED, ranked())
        bad = ranked().set_column(2, "rank", pa.array(["1", "not a number"]))
        with pytest.raises(duckdb.ConversionException):
            warehouse.replace("films", RANKED, bad)
        assert rows(warehouse) == [("a", 0.5, 1), ("b", 0.25, 2)]

    def test_a_missing_column_is_named(self, warehouse):
        with pytest.raises(UserError, match="missing: score; not expected: none"):
            warehouse.replace("films", RANKED, ranked().drop_columns("score"))
        assert not warehouse.has("films", "ranked_items")

    def test_a_column_too_many_is_named_where_the_table_is_not_open(self, warehouse):
        data = ranked().append_column("colour", pa.array(["red", "blue"]))
        with pytest.raises(UserError, match="not expected: colour"):
            warehouse.replace("films", RANKED, data)

    def test_columns_that_only_case_tells_apart_are_named_and_the_old_table_stays(self, warehouse):
        table = TABLES["raw_items"]
        data = pa.table({"source_file": ["a"], "source_row": [1], "source_error": ["x"]})
        warehouse.replace("films", table, data)
        twice = data.append_column("Year", pa.array([1])).append_column("year", pa.array([2]))
        with pytest.raises(UserError, match=r"raw_items: only case tells .* 'Year' and 'year'"):
            warehouse.replace("films", table, twice)
        assert rows(warehouse, "raw_items") == [("a", 1, "x")]

    def test_open_tables_keep_the_columns_of_the_source(self, warehouse):
        data = pa.table(
            {
                'a "quoted" name': [7],
                "select": ["x"],
                "created_at": pa.array([None], pa.timestamp("us")),
                "available": [True],
                "category": ["Crime"],
                "title_source": ["title"],
                "title": ["Heat"],
                "item_id": ["1"],
            }
        )
        columns = warehouse.replace("films", ITEMS, data)
        assert [column.name for column in columns] == [
            "item_id",
            "title",
            "title_source",
            "category",
            "available",
            "created_at",
            'a "quoted" name',
            "select",
        ]
        assert rows(warehouse, "items") == [("1", "Heat", "title", "Crime", True, None, 7, "x")]

    def test_vectors_keep_their_length_and_bits(self, warehouse):
        vectors = pa.FixedSizeListArray.from_arrays(
            pa.array([0.1, -0.0, 3e-39, 1e30, 2, 3], pa.float32()), 3
        )
        data = pa.table({"item_id": ["a", "b"], "embedding": vectors})
        columns = warehouse.replace("films", ITEM_EMBEDDINGS, data)
        assert columns[1].type == "FLOAT[3]"
        assert warehouse.read("films", "item_embeddings")["embedding"].combine_chunks() == vectors

    def test_an_empty_table_keeps_its_types(self, warehouse):
        warehouse.replace("films", RANKED, ranked().slice(0, 0))
        frame = to_pandas(warehouse.read("films", "ranked_items"))
        assert frame.dtypes.astype(str).to_dict() == {
            "item_id": "str",
            "score": "float64",
            "rank": "int32",
        }


class TestStored:
    def test_what_is_asked_for_is_read_with_what_is_kept_beside_it(self, warehouse):
        data = with_comment(ranked(), {DATA_VERSION: "v1"})
        warehouse.replace("films", RANKED, data)
        stored = warehouse.stored("films", "ranked_items")
        assert stored.version == "v1"
        found = stored.arrow(("rank", "item_id"), only=("item_id", pa.array(["b", "gone"])))
        assert found.to_pylist() == [{"rank": 2, "item_id": "b"}]
        assert comment_of(found) == {DATA_VERSION: "v1"}
        assert stored.arrow(only=("item_id", pa.array([], pa.string()))).num_rows == 0
        frame = stored.frame()
        assert frame["score"].tolist() == [0.5, 0.25]
        assert frame.attrs[DATA_VERSION] == "v1"

    def test_a_table_that_was_made_anew_meanwhile_is_refused(self, warehouse):
        warehouse.replace("films", RANKED, with_comment(ranked(), {DATA_VERSION: "v1"}))
        stored = warehouse.stored("films", "ranked_items")
        warehouse.replace("films", RANKED, with_comment(ranked(0.75), {DATA_VERSION: "v2"}))
        with pytest.raises(UserError, match=r"ranked_items was made anew by another run"):
            stored.arrow()

    def test_what_is_made_on_request_is_empty_until_then_and_else_an_error(self, warehouse):
        tuning = warehouse.stored("films", "tuning")
        assert tuning.arrow().column_names == TUNING.column_names
        assert tuning.frame().empty
        assert tuning.version is None
        with pytest.raises(UserError, match="the table items is not there yet: materialise films"):
            warehouse.stored("films", "items")


class TestConnections:
    def test_closed_at_the_end_and_after_an_exception(self, warehouse):
        with warehouse.connect("films") as connection:
            connection.execute("select 1")
        with pytest.raises(duckdb.ConnectionException):
            connection.execute("select 1")
        with pytest.raises(ZeroDivisionError), warehouse.connect("films") as connection:
            raise ZeroDivisionError
        with pytest.raises(duckdb.ConnectionException):
            connection.execute("select 1")

    @pytest.mark.parametrize("damage", ["cut off", "overwritten"])
    def test_a_file_that_is_damaged_further_on_is_named_with_what_to_do(self, warehouse, damage):
        with warehouse.connect("shop") as connection:
            connection.execute(
                "create table texts as select md5(range::varchar) as text from range(300_000)"
            )
        path = warehouse.path("shop")
        size = path.stat().st_size
        if damage == "cut off":
            os.truncate(path, size // 2)
        else:
            with path.open("r+b") as file:
                file.seek(size // 2)
                file.write(b"overwritten" * 1_000)
        for kept in (nullcontext, kept_open):
            with kept(), pytest.raises(UserError, match=r"shop\.duckdb: .*damaged, move it away"):
                warehouse.query("shop", "select max(text) from texts")

    def test_an_open_transaction_is_rolled_back(self, warehouse):
        warehouse.replace("films", RANKED, ranked())
        with pytest.raises(ZeroDivisionError), warehouse.connect("films") as connection:
            connection.execute("begin")
            connection.execute("delete from ranked_items")
            raise ZeroDivisionError
        assert len(rows(warehouse)) == 2

    def test_looking_does_not_make_a_file(self, warehouse):
        assert not warehouse.has("films", "items")
        with pytest.raises(UserError, match=r"materialise films/items first.*recsys run films"):
            warehouse.read("films", "items")
        assert not warehouse.path("films").exists()

    def test_catalogs_have_files_of_their_own(self, warehouse):
        warehouse.replace("films", RANKED, ranked())
        warehouse.replace("books", RANKED, ranked())
        assert warehouse.path("films").is_file()
        assert warehouse.path("books").is_file()


class TestKeptOpen:
    """What a run does: its warehouse is opened once, and closed wherever a stage works."""

    def others_can_open(self, warehouse) -> bool:
        """Whether another process gets in, which DuckDB lets one alone."""
        opening = "import duckdb, sys; duckdb.connect(sys.argv[1]).close()"
        command = [sys.executable, "-c", opening, str(warehouse.path("films"))]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def test_connections_within_share_one_opening(self, warehouse, monkeypatch):
        opened = []
        opening = warehouse_module.bring_up_to_date
        monkeypatch.setattr(
            warehouse_module,
            "bring_up_to_date",
            lambda *given: opened.append(given) or opening(*given),
        )
        with kept_open():
            warehouse.replace("films", RANKED, ranked())
            with kept_open():
                assert len(rows(warehouse)) == 2
            assert warehouse.comments("films", ["ranked_items", "items"]) == {
                "ranked_items": {},
                "items": {},
            }
        assert len(opened) == 1
        assert len(rows(warehouse)) == 2
        assert len(opened) == 2

    def test_others_come_in_where_it_is_let_go_and_at_the_end(self, warehouse):
        warehouse.replace("films", RANKED, ranked())
        with kept_open():
            assert len(rows(warehouse)) == 2
            assert not self.others_can_open(warehouse)
            with let_go():
                assert self.others_can_open(warehouse)
                assert len(rows(warehouse)) == 2
                assert self.others_can_open(warehouse)
            assert len(rows(warehouse)) == 2
        assert self.others_can_open(warehouse)

    def test_an_exception_closes_it(self, warehouse):
        warehouse.replace("films", RANKED, ranked())
        with pytest.raises(ZeroDivisionError), kept_open():
            assert len(rows(warehouse)) == 2
            raise ZeroDivisionError
        assert self.others_can_open(warehouse)

    def test_after_an_error_of_the_database_it_is_opened_again(self, warehouse):
        warehouse.replace("films", RANKED, ranked())
        with kept_open():
            with pytest.raises(duckdb.Error), warehouse.connect("films") as connection:
                connection.execute("begin")
                connection.execute("delete from ranked_items")
                connection.execute("select * from nowhere")
            assert self.others_can_open(warehouse)
            assert len(rows(warehouse)) == 2

    def test_it_makes_no_file(self, warehouse):
        with kept_open():
            assert warehouse.comments("films", ["items"]) == {"items": {}}
            assert not warehouse.has("films", "items")
        assert not warehouse.path("films").exists()

    def test_another_thread_is_not_disturbed_by_the_end(self, warehouse):
        warehouse.replace("films", RANKED, ranked())
        with ThreadPoolExecutor(1) as threads, warehouse.connect("films") as connection:
            with kept_open():
                assert len(rows(warehouse)) == 2
                found = threads.submit(rows, warehouse)
            assert len(found.result()) == 2
            assert connection.execute("select count(*) from ranked_items").fetchall() == [(2,)]


class TestQuote:
    @pytest.mark.parametrize("name", ["plain", 'a"b', '"', "a; drop table x; --", "名前", "A b"])
    def test_any_name_is_one_identifier(self, name):
        with duckdb.connect() as connection:
            connection.execute(f"create table t ({quoted(name)} integer)")
            assert connection.sql("select * from t").columns == [name]


class TestFrames:
    def test_mixed_objects_become_text(self):
        frame = pd.DataFrame({"mixed": ["a", 1, None], "whole": [1, 2, 3]})
        data = to_arrow(frame)
        assert data["mixed"].to_pylist() == ["a", "1", None]
        assert data["whole"].to_pylist() == [1, 2, 3]

    def test_text_that_is_all_null_stays_text(self):
        frame = to_pandas(pa.table({"title": pa.array([None, None], pa.string())}))
        assert frame["title"].dtype == "str"

    @pytest.mark.parametrize("kind", [pa.int64(), pa.uint64()])
    def test_integers_that_floats_cannot_tell_apart_stay_integers_beside_a_null(self, kind):
        values = [2**60 + 1, 2**60, None]
        frame = to_pandas(pa.table({"user_id": pa.array(values, kind)}))
        assert frame["user_id"].dropna().tolist() == values[:2]
        assert to_arrow(frame)["user_id"].to_pylist() == values

    def test_other_integers_beside_a_null_are_floats(self):
        frame = to_pandas(pa.table({"n": pa.array([1, None]), "none": pa.nulls(2, pa.int64())}))
        assert frame["n"].dtype == "float64"
        assert frame["none"].isna().all()

    def test_dates_that_python_has_not_are_text_beside_the_others(self):
        with duckdb.connect() as connection:
            dates = connection.sql(
                "select unnest(['infinity', '-infinity', '0044-03-15 (BC)', '12024-01-01', "
                "'2024-01-31', null]::date[]) as valid_to"
            ).to_arrow_table()
        frame = to_pandas(dates)
        odd = ["infinity", "-infinity", "-0043-03-15", "12024-01-01"]
        assert frame["valid_to"].tolist() == [*odd, dt.date(2024, 1, 31), None]
        assert to_arrow(frame)["valid_to"].to_pylist() == [*odd, "2024-01-31", None]

    def test_every_table_says_what_its_columns_mean(self):
        for table in TABLES.values():
            assert all(column.description for column in table.columns)
            assert set(table.key) <= set(table.column_names)
