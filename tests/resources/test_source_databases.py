"""Tables of databases and queries, and what a column that only grows spares reading again."""

import datetime as dt
import sqlite3
from typing import ClassVar

import duckdb
import pyarrow as pa
import pytest

from recsys_dagster.catalog.source import without_variables
from recsys_dagster.errors import UserError
from recsys_dagster.resources.sources import queries
from recsys_dagster.resources.sources.queries import tables_of
from recsys_dagster.resources.warehouse import (
    DATA_VERSION,
    StoredTable,
    Warehouse,
    with_comment,
)
from recsys_dagster.schemas import RAW_INTERACTIONS
from recsys_dagster.sql import literal


def own(data: pa.Table) -> list[tuple]:
    rows = data.drop_columns(["source_file", "source_row", "source_error"]).to_pylist()
    return [tuple(row.values()) for row in rows]


@pytest.fixture
def duck(tmp_path):
    """`duck(sql)` changes the file shop.duckdb."""

    def run(sql):
        with duckdb.connect(str(tmp_path / "shop.duckdb")) as connection:
            connection.execute(sql)

    run("create table orders (user_id integer, item_id varchar, bought timestamp)")
    run("insert into orders values (1, 'a', '2024-01-01'), (2, 'b', '2024-01-02')")
    return run


@pytest.fixture
def lite(tmp_path):
    """`lite(sql, rows)` changes the file shop.sqlite."""

    def run(sql, rows=((),)):
        connection = sqlite3.connect(tmp_path / "shop.sqlite")
        with connection:
            connection.executemany(sql, rows)
        connection.close()

    run("create table orders (user_id, item_id integer, price real)")
    return run


class TestDuckDB:
    TABLE: ClassVar = {"database": "shop.duckdb", "table": "orders"}

    @pytest.mark.usefixtures("duck")
    def test_a_table_keeps_its_types(self, read, tmp_path):
        found = read(self.TABLE, tmp_path)
        assert found.rows.schema.field("user_id").type == pa.int32()
        assert [row[:2] for row in own(found.rows)] == [(1, "a"), (2, "b")]
        assert found.rows["source_row"].to_pylist() == [1, 2]
        assert found.rows["source_file"].null_count == found.rows_read == 2

    def test_values_of_a_union_are_text(self, read, tmp_path, duck):
        duck("create type code as union(number integer, name varchar)")
        duck("create table codes as select union_value(number := 7)::code as item_id")
        duck("insert into codes values (union_value(name := 'x')), (null)")
        found = read({"database": "shop.duckdb", "table": "codes"}, tmp_path).rows
        assert found["item_id"].to_pylist() == ["7", "x", None]

    def test_a_view_and_a_name_that_needs_quotes(self, read, tmp_path, duck):
        duck('create view "sold ""now""" as select item_id from orders')
        view = {"database": "shop.duckdb", "table": 'sold "now"'}
        assert own(read(view, tmp_path).rows) == [("a",), ("b",)]

    @pytest.mark.usefixtures("duck")
    def test_a_query_inside_the_database(self, read, tmp_path):
        query = {"database": "shop.duckdb", "sql": "select item_id from orders where user_id = 2"}
        assert own(read(query, tmp_path).rows) == [("b",)]

    def test_the_same_rows_have_the_same_fingerprint(self, read, tmp_path, duck):
        first = read(self.TABLE, tmp_path)
        assert read(self.TABLE, tmp_path).fingerprint == first.fingerprint
        duck("update orders set item_id = 'z' where user_id = 1")
        assert read(self.TABLE, tmp_path).fingerprint != first.fingerprint

    @pytest.mark.usefixtures("duck")
    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ({"table": "order"}, r"there is no table 'order'\. Did you mean 'orders'"),
            ({"sql": "select nothing from orders"}, "source select nothing from orders: .*nothing"),
            ({"database": "shp.duckdb", "table": "orders"}, r"Did you mean 'shop\.duckdb'"),
        ],
    )
    def test_mistakes(self, read, tmp_path, source, message):
        with pytest.raises(UserError, match=message):
            read({"database": "shop.duckdb"} | source, tmp_path)

    @pytest.mark.parametrize("content", [b"", b"no database at all"])
    def test_a_file_that_is_no_database(self, read, tmp_path, content):
        (tmp_path / "shop.duckdb").write_bytes(content)
        with pytest.raises(UserError, match=r"shop\.duckdb: this is no DuckDB or SQLite file"):
            read(self.TABLE, tmp_path)

    @pytest.mark.usefixtures("duck")
    def test_two_columns_of_one_name_are_named(self, read, tmp_path):
        query = {"database": "shop.duckdb", "sql": "select item_id, item_id from orders"}
        with pytest.raises(UserError, match="item_id"):
            read(query, tmp_path)


class TestSchemas:
    """What `table:` means in a DuckDB file with several schemas."""

    @pytest.fixture(autouse=True)
    def schemas(self, duck):
        duck('create schema mart; create schema old; create schema "x.y"')
        duck("create table mart.orders as select 'mart' as item_id")
        duck("create table mart.sales as select 'sales' as item_id")
        duck("create table mart.twice as select 1 as item_id")
        duck("create table old.twice as select 2 as item_id")
        duck('create view "x.y"."o.p" as select \'dots\' as item_id')

    @pytest.mark.parametrize(
        ("table", "item"),
        [
            ("mart.orders", "mart"),
            ('"mart"."orders"', "mart"),
            ("sales", "sales"),
            ("old.twice", 2),
            ('"x.y"."o.p"', "dots"),
            ('"o.p"', "dots"),
        ],
    )
    def test_a_table_of_another_schema(self, read, tmp_path, table, item):
        found = read({"database": "shop.duckdb", "table": table}, tmp_path)
        assert own(found.rows) == [(item,)]

    def test_without_a_schema_it_is_that_of_main(self, read, tmp_path):
        rows = read({"database": "shop.duckdb", "table": "orders"}, tmp_path).rows
        assert own(rows) == own(
            read({"database": "shop.duckdb", "table": "main.orders"}, tmp_path).rows
        )
        assert rows.num_rows == 2

    def test_a_table_of_main_with_a_dot_in_its_name(self, read, tmp_path, duck):
        duck("create table \"mart.orders\" as select 'main' as item_id")
        for table, item in [("mart.orders", "main"), ('"mart"."orders"', "mart")]:
            found = read({"database": "shop.duckdb", "table": table}, tmp_path)
            assert own(found.rows) == [(item,)]

    @pytest.mark.parametrize(
        ("table", "message"),
        [
            ("twice", r"in several schemas: write one of table: mart\.twice, table: old\.twice"),
            ("mart.order", r"no table 'mart\.order'\. Did you mean 'mart\.orders'"),
            ("nothing_like_it", r"Known: 'orders', 'mart\.orders', 'mart\.sales'"),
        ],
    )
    def test_mistakes(self, read, tmp_path, table, message):
        with pytest.raises(UserError, match=message):
            read({"database": "shop.duckdb", "table": table}, tmp_path)

    def test_every_name_that_is_listed_can_be_read(self, read, tmp_path, duck):
        duck('create table "sold ""now""" as select 1 as item_id')
        duck('create table mart."mart.orders" as select 1 as item_id')
        listed = tables_of(tmp_path / "shop.duckdb")
        assert listed[:2] == ["orders", 'sold "now"']
        assert len(set(listed)) == 8
        for table in listed:
            assert read({"database": "shop.duckdb", "table": table}, tmp_path).rows.num_rows

    def test_a_view_of_a_database_that_is_not_attached_says_so(self, read, tmp_path, duck):
        duck(
            "attach ':memory:' as other; create table other.t as select 1; "
            "create view away as select * from other.t"
        )
        with pytest.raises(UserError, match=r"table away: .*other"):
            read({"database": "shop.duckdb", "table": "away"}, tmp_path)


class TestWhatAQueryMayNotDo:
    def test_variables_of_this_program_are_no_tables(self, read, tmp_path):
        with pytest.raises(UserError, match="settings does not exist"):
            read({"sql": "select * from settings"}, tmp_path)

    def test_no_log_is_written(self, read, tmp_path):
        logs = tmp_path / "logs"
        query = f"from enable_logging(storage='file', storage_config={{'path': '{logs}'}})"
        with pytest.raises(UserError, match="locked"):
            read({"sql": query}, tmp_path)
        assert not logs.exists()

    @pytest.mark.parametrize(
        "held", ["select 1 as a; copy (select 1) to 'out.csv'", "copy (select 1) to 'out.csv'"]
    )
    def test_a_variable_holds_no_more_than_a_query(self, read, tmp_path, monkeypatch, held):
        monkeypatch.setenv("SHOP_QUERY", held)
        monkeypatch.chdir(tmp_path)
        with pytest.raises(UserError, match="expected one query that only reads"):
            read({"sql": "${SHOP_QUERY}"}, tmp_path)
        assert not list(tmp_path.iterdir())

    @pytest.mark.usefixtures("lite")
    def test_virtual_tables_of_sqlite_can_still_be_read(self, read, tmp_path, lite):
        lite("create virtual table words using fts5(body)")
        lite("insert into words values (?)", [("hello",)])
        query = "select body from words where body match 'hello' -- all"
        found = read({"database": "shop.sqlite", "sql": query}, tmp_path)
        assert own(found.rows) == [("hello",)]

    def test_a_text_of_sqlite_that_is_no_utf8_is_not_quoted_in_an_error(self, read, tmp_path, lite):
        lite("insert into orders values (cast(? as text), 1, 1)", [(b"Ann\xff",)])
        assert own(read({"database": "shop.sqlite", "table": "orders"}, tmp_path).rows) == [
            ("Ann\ufffd", 1, 1.0)
        ]

    def test_a_pivot(self, read, tmp_path, duck):
        query = {"database": "shop.duckdb", "sql": "pivot orders on item_id using count(*)"}
        assert read(query, tmp_path).rows.column_names[-2:] == ["a", "b"]


class TestSQLite:
    TABLE: ClassVar = {"database": "shop.sqlite", "table": "orders"}

    def test_a_table(self, read, tmp_path, lite):
        lite("insert into orders values (?, ?, ?)", [("007", 3, 1.5), ("8", 4, 2.0)])
        assert own(read(self.TABLE, tmp_path).rows) == [("007", 3, 1.5), ("8", 4, 2.0)]

    def test_a_column_of_several_types_is_text(self, read, tmp_path, lite):
        lite("insert into orders values (?, ?, ?)", [("007", 3, 1.5), (8, "x", None), (None, 5, 2)])
        rows = own(read(self.TABLE, tmp_path).rows)
        assert [row[0] for row in rows] == ["007", "8", None]
        assert [row[1] for row in rows] == ["3", "x", "5"]
        assert [row[2] for row in rows] == [1.5, None, 2.0]

    def test_bytes_among_text_do_not_stop_the_run(self, read, tmp_path, lite):
        lite("insert into orders values (?, ?, ?)", [("a", 1, 1.0), (b"\x00\xff", 2, 1.0)])
        assert own(read(self.TABLE, tmp_path).rows)[0] == ("a", 1, 1.0)

    @pytest.mark.parametrize("beside", ["a", None])
    def test_bytes_that_are_no_text_stay_told_apart(self, read, tmp_path, lite, beside):
        ids = [b"\xf1\x01", b"\xf2\x01", "käse".encode(), beside]
        lite("insert into orders values (?, ?, ?)", [(id, 1, 1.0) for id in ids])
        found = [row[0] for row in own(read(self.TABLE, tmp_path).rows)]
        assert found == ["f101", "f201", "käse", beside]

    def test_long_ids_keep_every_digit_also_beside_a_null(self, read, tmp_path, lite):
        ids = [2**62 + 1, 2**62 + 2, None]
        lite("insert into orders values (?, ?, ?)", [(id, 1, 1.0) for id in ids])
        assert [row[0] for row in own(read(self.TABLE, tmp_path).rows)] == ids

    @pytest.mark.usefixtures("lite")
    def test_an_empty_table_has_its_columns(self, read, tmp_path):
        data = read(self.TABLE, tmp_path).rows
        assert data.num_rows == 0
        assert data.column_names[3:] == ["user_id", "item_id", "price"]

    def test_a_query_and_a_view(self, read, tmp_path, lite):
        lite("insert into orders values (?, ?, ?)", [("007", 3, 1.5), ("8", 4, 2.0)])
        lite("create view dear as select user_id from orders where price > 1.7")
        query = {"database": "shop.sqlite", "sql": "select user_id from dear"}
        view = {"database": "shop.sqlite", "table": "dear"}
        assert own(read(query, tmp_path).rows) == own(read(view, tmp_path).rows) == [("8",)]

    @pytest.mark.usefixtures("lite")
    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ({"table": "order"}, r"there is no table 'order'\. Did you mean 'orders'"),
            (
                {"sql": "select colour from orders"},
                "source select colour from orders: no such column",
            ),
            # What DuckDB cannot parse is seen by its first word alone before it is run.
            ({"sql": "with x as (select 1) replace into orders select 1, 2, 3"}, "not authorized"),
            ({"sql": "select load_extension('x')"}, "not authorized"),
            ({"sql": "select user_id, user_id from orders"}, "user_id"),
        ],
    )
    def test_mistakes(self, read, tmp_path, source, message):
        with pytest.raises(UserError, match=message):
            read({"database": "shop.sqlite"} | source, tmp_path)


class TestQueries:
    def test_relative_paths_start_at_the_yaml_file(self, read, tmp_path, monkeypatch):
        (tmp_path / "data").mkdir()
        (tmp_path / "data/i.csv").write_text("user_id,item_id\n7,a\n8,b\n")
        monkeypatch.chdir("/")
        query = {"sql": "select item_id from 'data/i.csv' where user_id > 7"}
        assert own(read(query, tmp_path).rows) == [("b",)]

    def test_an_extension_is_not_downloaded_unasked(self, read, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        with pytest.raises(UserError, match=r"httpfs.* not installed here.*install httpfs"):
            read({"sql": "select * from 'https://shop.invalid/orders.parquet'"}, tmp_path)
        assert not (tmp_path / ".duckdb").exists()

    def test_a_query_that_fails_says_which(self, read, tmp_path):
        with pytest.raises(UserError, match=r"source select \* from 'no\.csv'"):
            read({"sql": "select *\n from 'no.csv'"}, tmp_path)


class TestWatermark:
    TABLE: ClassVar = {"database": "shop.duckdb", "table": "orders", "watermark": "bought"}

    @pytest.fixture
    def again(self, read, tmp_path):
        """Read on from what a warehouse remembers, as a run does."""
        warehouse = Warehouse(folder=str(tmp_path / "warehouse"))

        def again(source):
            known = warehouse.has("shop", "raw_interactions")
            previous = warehouse.stored("shop", "raw_interactions") if known else None
            found = read(source, tmp_path, previous=previous)
            version = {DATA_VERSION: found.fingerprint}
            warehouse.replace("shop", RAW_INTERACTIONS, with_comment(found.rows, version))
            return found

        return again

    def test_only_rows_from_the_last_value_on_are_fetched(self, again, duck):
        assert again(self.TABLE).rows_read == 2
        duck("insert into orders values (3, 'c', '2024-01-03'), (4, 'd', '2024-01-04')")
        found = again(self.TABLE)
        assert [row[1] for row in own(found.rows)] == ["a", "b", "c", "d"]
        assert found.rows["source_row"].to_pylist() == [1, 2, 3, 4]
        assert found.rows_read == 3

    def test_rows_at_the_last_value_are_there_once(self, again, duck):
        again(self.TABLE)
        duck("insert into orders values (2, 'b', '2024-01-02'), (9, 'late', '2024-01-02')")
        for _ in range(2):
            found = again(self.TABLE)
            assert sorted(row[1] for row in own(found.rows)) == ["a", "b", "b", "late"]
            assert found.rows_read == 3

    def test_nothing_new_is_the_same_fingerprint(self, again, duck):
        first = again(self.TABLE)
        assert again(self.TABLE).fingerprint == first.fingerprint
        duck("insert into orders values (3, 'c', '2024-01-03')")
        assert again(self.TABLE).fingerprint != first.fingerprint

    @pytest.mark.usefixtures("duck")
    def test_where_nothing_is_new_the_rows_before_the_last_value_are_not_taken(
        self, read, stored, tmp_path, monkeypatch
    ):
        first = read(self.TABLE, tmp_path)
        left = stored(first.rows, first.fingerprint)
        taken, arrow = [], StoredTable.arrow

        def noted(own, columns=(), only=None):
            taken.append((columns, only[1].to_pylist() if only else None))
            return arrow(own, columns, only)

        monkeypatch.setattr(StoredTable, "arrow", noted)
        again = read(self.TABLE, tmp_path, previous=left)
        assert again.fingerprint == first.fingerprint
        assert taken == [(("bought",), None), ((), [dt.datetime(2024, 1, 2)])]
        assert own(again.rows) == own(first.rows)

    @pytest.mark.parametrize(
        "change",
        [
            "update orders set item_id = 'B' where item_id = 'b'",
            "insert into orders values (9, 'n', null)",
            "delete from orders where item_id = 'b'",
        ],
    )
    def test_what_changed_at_the_last_value_is_seen(self, again, duck, change):
        first = again(self.TABLE)
        duck(change)
        assert again(self.TABLE).fingerprint != first.fingerprint

    def test_a_refresh_with_nothing_new_keeps_the_types_of_columns(self, again, lite):
        lite("create table scores (n, rating)")
        lite("insert into scores values (?, ?)", [(1, 5), (2, None)])
        source = {"database": "shop.sqlite", "table": "scores", "watermark": "n"}
        first = again(source)
        for _ in range(2):
            found = again(source)
            assert found.fingerprint == first.fingerprint
            assert found.rows.schema.field("rating").type == pa.int64()

    def test_the_rows_at_the_last_value_may_be_gone(self, again, lite):
        lite("create table scores (n, rating)")
        lite("insert into scores values (?, ?)", [(1, 5), (2, 4)])
        source = {"database": "shop.sqlite", "table": "scores", "watermark": "n"}
        again(source)
        lite("delete from scores where n = 2")
        assert own(again(source).rows) == [(1, 5)]
        lite("insert into scores values (?, ?)", [(3, 2)])
        assert own(again(source).rows) == [(1, 5), (3, 2)]

    def test_a_column_called_content_hides_no_change(self, again, duck):
        duck("create table posts as select 'ann' as author, 'x' as content, 7 as n")
        source = {"database": "shop.duckdb", "table": "posts", "watermark": "n"}
        again(source)
        duck("update posts set author = 'bob'")
        assert own(again(source).rows) == [("bob", "x", 7)]

    def test_a_value_that_is_no_number_is_read_again_each_time(self, again, duck):
        duck("create table marks (n double, item varchar)")
        duck("insert into marks values (1, 'a'), ('nan', 'b'), (2, 'c')")
        source = {"database": "shop.duckdb", "table": "marks", "watermark": "n"}
        again(source)
        duck("delete from marks where item = 'b'")
        assert [row[1] for row in own(again(source).rows)] == ["a", "c"]

    def test_infinity_as_the_last_value_is_refused(self, again, duck):
        duck("insert into orders values (3, 'z', 'infinity')")
        with pytest.raises(UserError, match=r"'bought' has a value that is infinity"):
            again(self.TABLE)

    def test_an_enum_beside_the_watermark_is_text_each_time(self, again, duck):
        duck("create table buys as select 'new'::enum('old', 'new') as state, 1 as n")
        source = {"database": "shop.duckdb", "table": "buys", "watermark": "n"}
        first = again(source)
        assert first.rows.schema.field("state").type == pa.string()
        assert again(source).fingerprint == first.fingerprint

    def test_another_query_reads_everything(self, again, duck):
        query = self.TABLE | {"table": None, "sql": "select user_id, bought from orders"}
        again(query)
        duck("update orders set user_id = user_id + 10")
        other = query | {"sql": "select user_id, item_id, bought from orders"}
        found = again(other)
        assert [row[:2] for row in own(found.rows)] == [(11, "a"), (12, "b")]
        assert found.rows_read == 2

    def test_another_watermark_reads_everything(self, again, duck):
        again(self.TABLE)
        duck("update orders set item_id = 'z' where user_id = 1")
        found = again(self.TABLE | {"watermark": "user_id"})
        assert [row[1] for row in own(found.rows)] == ["z", "b"]

    @pytest.mark.usefixtures("duck")
    def test_another_database_behind_a_variable_reads_everything(
        self, again, tmp_path, monkeypatch
    ):
        with duckdb.connect(str(tmp_path / "other.duckdb")) as connection:
            connection.execute(
                "create table orders as "
                "select 9 as user_id, 'o' as item_id, timestamp '2024-01-05' as bought"
            )
        source = self.TABLE | {"database": "${SHOP_DATABASE}"}
        monkeypatch.setenv("SHOP_DATABASE", "shop.duckdb")
        again(source)
        monkeypatch.setenv("SHOP_DATABASE", "other.duckdb")
        assert [row[1] for row in own(again(source).rows)] == ["o"]

    def test_an_empty_table_that_fills(self, again, duck):
        duck("delete from orders")
        assert again(self.TABLE).rows.num_rows == 0
        duck("insert into orders values (3, 'c', '2024-01-03')")
        assert [row[1] for row in own(again(self.TABLE).rows)] == ["c"]

    @pytest.mark.usefixtures("duck")
    @pytest.mark.parametrize("end", [";", " -- all of them"])
    def test_a_query_may_end_in_a_semicolon_or_a_comment(self, again, end):
        query = self.TABLE | {"table": None, "sql": "select * from orders" + end}
        assert again(query).rows.num_rows == again(query).rows.num_rows == 2

    def test_rows_without_a_value_are_not_lost(self, again, duck):
        duck("insert into orders values (5, 'n', null)")
        for _ in range(2):
            assert sorted(row[1] for row in own(again(self.TABLE).rows)) == ["a", "b", "n"]

    def test_a_column_that_is_not_there_is_named(self, again, duck):
        duck("select 1")
        with pytest.raises(UserError, match=r"no column 'bougt' .* Did you mean 'bought'"):
            again(self.TABLE | {"watermark": "bougt"})

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            (("2024-01-01", "2024-01-02"), "2024-01-03"),
            ((1, 2), 3),
            ((0.5, 1.5), 2.5),
        ],
    )
    def test_sqlite(self, again, lite, first, second):
        lite("create table clicks (item_id, moment)")
        source = {"database": "shop.sqlite", "table": "clicks", "watermark": "moment"}
        lite("insert into clicks values (?, ?)", list(zip("ab", first, strict=True)))
        assert again(source).rows_read == 2
        lite("insert into clicks values (?, ?)", [("c", second)])
        found = again(source)
        assert [row[0] for row in own(found.rows)] == ["a", "b", "c"]
        assert found.rows_read == 2

    def test_nanoseconds_are_read_once(self, again, duck):
        moments = "make_timestamp_ns(1700000000000000000 + i * 100)"
        duck(f"create table clicks as select i as n, {moments} as moment from range(25) r(i)")
        source = {"database": "shop.duckdb", "table": "clicks", "watermark": "moment"}
        assert again(source).rows.num_rows == 25
        duck(f"insert into clicks select i, {moments} from range(25, 27) r(i)")
        assert sorted(row[0] for row in own(again(source).rows)) == list(range(27))

    def test_what_another_version_of_the_reader_made_is_read_again(self, again, monkeypatch, duck):
        del duck
        with monkeypatch.context() as earlier:
            earlier.setattr(queries, "READER", "1")
            again(self.TABLE)
        assert again(self.TABLE).rows_read == 2
        assert again(self.TABLE).rows_read == 1

    @pytest.mark.parametrize(
        "moments",
        [
            [1, 2, "x"],
            ["9.5", "10.5"],
            ["2024-01-05", 7],
            ["2024-01-05T10:00", "2024-01-05 11:00"],
            ["2024-01-05T10:00:00Z", "2024-01-05T10:00:00.5Z"],
            ["2024-03-31T01:00:00+01:00", "2024-03-31T03:00:00+02:00"],
        ],
    )
    def test_texts_whose_order_is_another_one_are_refused(self, again, lite, moments):
        lite("create table clicks (item_id, moment)")
        lite("insert into clicks values (?, ?)", [("a", moment) for moment in moments])
        source = {"database": "shop.sqlite", "table": "clicks", "watermark": "moment"}
        with pytest.raises(UserError, match=r"'moment' is text, or .*another order") as told:
            again(source)
        assert "10" not in str(told.value)

    @pytest.mark.parametrize(
        "moments",
        [
            ["2024-01-05", "2024-01-06T10:00"],
            ["2024-01-05 10:00:00", "2024-01-05 10:00:00.25", None],
            ["2024-01-05T10:00:00+01:00", "2024-01-05T11:00:00+01:00"],
        ],
    )
    def test_texts_that_are_times_are_taken(self, again, lite, moments):
        lite("create table clicks (item_id, moment)")
        lite("insert into clicks values (?, ?)", [("a", moment) for moment in moments])
        source = {"database": "shop.sqlite", "table": "clicks", "watermark": "moment"}
        assert again(source).rows_read == len(moments)

    @pytest.mark.parametrize(
        "value", ["interval 1 day", "'a'::enum('b', 'a')", "true", "[1]", "'a'::blob"]
    )
    def test_types_without_an_order_are_refused(self, again, duck, value):
        duck(f"create table clicks as select 'a' as item_id, {value} as moment")
        source = {"database": "shop.duckdb", "table": "clicks", "watermark": "moment"}
        with pytest.raises(UserError, match=r"'moment' is of the type .*expected a number"):
            again(source)

    @pytest.mark.usefixtures("duck")
    def test_without_one_everything_is_fetched_and_compared(self, again):
        source = {"database": "shop.duckdb", "table": "orders"}
        first = again(source)
        second = again(source)
        assert (first.rows_read, second.rows_read) == (2, 2)
        assert second.fingerprint == first.fingerprint


def test_a_value_that_cannot_be_converted_is_not_told(read, tmp_path):
    (tmp_path / "people.csv").write_text("who\nann@example.org\n")
    sql = "select cast(who as bigint) as user_id from read_csv('people.csv')"
    with pytest.raises(UserError, match="Could not convert string") as told:
        read({"sql": sql}, tmp_path)
    assert "ann@example.org" not in str(told.value)


@pytest.mark.parametrize(
    ("value", "convert"),
    [
        ("ann@example.org", "strptime(who, '%Y')"),
        ("ann@example.org", "json_extract(who, '$.a')"),
        ("O'ann@example.org", "who::int"),
        ("+49\nann@example.org", "who::int"),
        ("999999999999", "who::bigint::int"),
    ],
)
def test_no_function_tells_a_value_that_it_cannot_convert(read, tmp_path, duck, value, convert):
    duck(f"create table people as select {literal(value)} as who")
    source = {"database": "shop.duckdb", "sql": f"select {convert} as user_id from people"}
    with pytest.raises(UserError, match="Error: ") as told:
        read(source, tmp_path)
    said = str(told.value)
    assert "ann@example.org" not in said
    assert "999999999999" not in said


def test_an_error_that_is_about_no_value_keeps_its_names(read, tmp_path):
    sql = "from enable_logging('QueryLog')"
    with pytest.raises(UserError, match=r'"enable_logging".*locked'):
        read({"sql": sql}, tmp_path)


class TestVariables:
    """What a variable holds may be a password: errors have its name in the place of it."""

    @pytest.mark.parametrize(
        "source",
        [
            {"sql": "select * from read_csv('/nowhere/${SHOP_WORD}.csv')"},
            {"sql": "select ${SHOP_WORD}"},
            {"sql": "select 1 frm ${SHOP_WORD}"},
            {"sql": "select '${SHOP_WORD}"},
            {"sql": "select nosuch('${SHOP_WORD}')"},
            {"sql": "select x as y, '${SHOP_WORD}' as z, " + "1 as w, " * 30 + "${SHOP_WORD}"},
            {"path": "${SHOP_WORD}/x.csv"},
            {"database": "${SHOP_WORD}.duckdb", "table": "t"},
            {"sql": "select * from t", "tables": {"t": "${SHOP_WORD}.csv"}},
        ],
    )
    def test_errors_do_not_tell_it(self, read, tmp_path, monkeypatch, source):
        monkeypatch.setenv("SHOP_WORD", "Hunter2")
        with pytest.raises(UserError) as told:
            read(source, tmp_path)
        assert "hunter2" not in str(told.value).lower()
        assert "SHOP_WORD" in str(told.value)

    def test_the_longest_is_replaced_first(self, monkeypatch):
        monkeypatch.setenv("SHOP_A", "data")
        monkeypatch.setenv("SHOP_B", "data/today")
        monkeypatch.setenv("SHOP_C", "1")
        said = without_variables("data/today, data, 1 of 11", "${SHOP_A}${SHOP_B}${SHOP_C}")
        assert said == "${SHOP_B}, ${SHOP_A}, ${SHOP_C} of 11"
