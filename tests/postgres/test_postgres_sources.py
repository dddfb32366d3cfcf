"""PostgreSQL as a source: read and nothing else, typed, from a watermark on, and never named."""

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import TypeAdapter, ValidationError

from recsys_dagster.catalog.files import read_catalog
from recsys_dagster.catalog.source import Source
from recsys_dagster.errors import UserError
from recsys_dagster.resources.sources import postgres, read_source
from recsys_dagster.resources.sources.watching import observe_source
from recsys_dagster.steps.prepare.columns import own_columns
from tests.conftest import TINY_SETTINGS, figures
from tests.postgres.conftest import PASSWORD

pytestmark = pytest.mark.postgres

WRITTEN = TypeAdapter(Source)


def read(previous=None, **source):
    settings = WRITTEN.validate_python({"postgres": "${SHOP}"} | source)
    return read_source(settings, Path(), previous)


def column(value, kind=""):
    """The type and value of one cell."""
    rows = read(sql=f"select {value}{f'::{kind}' if kind else ''} as v").rows
    return rows.schema.field("v").type, rows["v"][0].as_py()


@pytest.fixture
def orders(execute):
    execute(
        "create table orders (user_id text, item_id int, rating numeric(3,1), at timestamptz)",
        "insert into orders values ('ann', 1, 4.5, '2024-01-31 12:00+02'), "
        "('bob', 2, null, '2024-02-01 12:00+00')",
    )


class TestTypes:
    @pytest.mark.parametrize(
        ("value", "type_", "expected"),
        [
            ("7::smallint", pa.int64(), 7),
            ("9007199254740993::bigint", pa.int64(), 9007199254740993),
            ("1.5::real", pa.float64(), 1.5),
            ("'NaN'::float8", pa.float64(), pytest.approx(float("nan"), nan_ok=True)),
            ("true", pa.bool_(), True),
            ("12.5::numeric(10,2)", pa.decimal128(10, 2), Decimal("12.50")),
            ("12345678901234567890123::numeric", pa.string(), "12345678901234567890123"),
            ("'NaN'::numeric(10,2)", pa.string(), "NaN"),
            ("date '2024-01-31'", pa.date32(), date(2024, 1, 31)),
            ("date 'infinity'", pa.string(), "infinity"),
            ("timestamp '2024-01-31 10:00'", pa.timestamp("us"), datetime(2024, 1, 31, 10)),
            (
                "timestamptz '2024-01-31 10:00:00.25+02'",
                pa.timestamp("us"),
                datetime(2024, 1, 31, 8, 0, 0, 250_000),
            ),
            ("time '10:00'", pa.string(), "10:00:00"),
            ("interval '1 day 2 hours'", pa.string(), "P1DT2H"),
            ("'{\"a\": [1, 2]}'::json", pa.string(), '{"a": [1, 2]}'),
            ("'{\"a\": 1}'::jsonb", pa.string(), '{"a": 1}'),
            ("array['a', null, 'c,d']", pa.list_(pa.string()), ["a", None, "c,d"]),
            ("array[1, 2]", pa.list_(pa.int64()), [1, 2]),
            ("array[1.50, null]", pa.list_(pa.string()), ["1.50", None]),
            ("array['{\"a\": 1}'::jsonb]", pa.list_(pa.string()), ['{"a": 1}']),
            ("array[time '10:00']", pa.list_(pa.string()), ["10:00:00"]),
            ("array[array[1], array[2]]", pa.string(), "[['1'], ['2']]"),
            ("'\\x00ff'::bytea", pa.string(), "\\x00ff"),
            (
                "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid",
                pa.string(),
                "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            ),
            ("'Ä 名前'::varchar(20)", pa.string(), "Ä 名前"),
            ("null::text", pa.string(), None),
            ("null::int", pa.int64(), None),
            ("row(1, 'a')", pa.string(), "(1,a)"),
        ],
    )
    def test_every_type_is_one_that_steps_know(self, database, value, type_, expected):
        assert column(value) == (type_, expected)

    def test_an_enum(self, execute):
        execute("create type mood as enum ('glad', 'sad')")
        assert column("'sad'", "mood") == (pa.string(), "sad")
        assert column("'{sad,glad}'", "mood[]") == (pa.list_(pa.string()), ["sad", "glad"])

    def test_a_domain(self, execute):
        execute("create domain stars as int check (value between 1 and 5)")
        assert column("4", "stars") == (pa.int64(), 4)
        assert column("'{4,5}'", "stars[]") == (pa.list_(pa.string()), ["4", "5"])

    def test_settings_of_the_server_change_nothing(self, execute, database):
        execute(
            f"alter database {database} set timezone to 'Asia/Tokyo'",
            f"alter database {database} set datestyle to 'SQL, DMY'",
            f"alter database {database} set bytea_output to 'escape'",
        )
        assert column("timestamptz '2024-01-02 00:00+00'")[1] == datetime(2024, 1, 2)
        assert column("'\\x00'::bytea")[1] == "\\x00"

    def test_no_rows_have_the_types_too(self, orders):
        some, none = read(table="orders").rows, read(sql="select * from orders where false").rows
        assert none.schema.remove_metadata() == some.schema.remove_metadata()


class TestWhatIsRead:
    def test_a_table_in_batches(self, execute, monkeypatch):
        monkeypatch.setattr(postgres, "BATCH", 7)
        execute("create table numbers as select n from generate_series(1, 50) as n order by n")
        found = read(table="numbers")
        assert found.rows["n"].to_pylist() == list(range(1, 51))
        assert found.rows["source_row"].to_pylist() == list(range(1, 51))

    def test_names_are_quoted(self, execute):
        execute('create table "Odd "" name; drop" ("user" int)', 'create schema "Mart"')
        execute('create table "Mart".orders (a int)', "create table public.orders (b int)")
        assert own_columns(read(table='Odd " name; drop').rows.column_names) == ["user"]
        assert own_columns(read(table="Mart.orders").rows.column_names) == ["a"]
        assert own_columns(read(table="orders").rows.column_names) == ["b"]

    def test_a_misspelled_table(self, orders):
        with pytest.raises(UserError, match=r"\$\{SHOP\}: there is no table 'order'.*'orders'"):
            read(table="order")

    def test_views_and_the_dialect_of_the_server(self, execute, orders):
        execute("create view v as select distinct on (user_id) user_id, item_id::text from orders")
        assert read(table="v").rows.num_rows == 2
        query = "select $$ann's$$ as a, '{\"b\": 1}'::jsonb ->> 'b' as b; -- the end"
        assert read(sql=query).rows["a"].to_pylist() == ["ann's"]

    def test_the_content_decides_the_fingerprint(self, execute, orders):
        first = read(table="orders")
        assert read(table="orders").fingerprint == first.fingerprint
        execute("update orders set rating = 1 where user_id = 'bob'")
        assert read(table="orders").fingerprint != first.fingerprint


class TestWatermark:
    @pytest.mark.parametrize("watermark", ["item_id", "at", "rating"])
    def test_only_rows_from_the_last_value_on_are_fetched(self, execute, orders, watermark, stored):
        execute("update orders set rating = 5 where user_id = 'bob'")
        source = {"sql": "select * from orders where user_id not like 'x%%y%'"}
        first = read(**source, watermark=watermark)
        execute("insert into orders values ('eve', 3, 6, '2024-03-01')")
        again = read(stored(first.rows), **source, watermark=watermark)
        assert again.rows_read == 2
        assert again.rows["user_id"].to_pylist() == ["ann", "bob", "eve"]
        assert again.rows.schema.remove_metadata() == first.rows.schema.remove_metadata()
        assert again.fingerprint == read(**source).fingerprint

    def test_rows_without_a_value_are_fetched_each_time(self, execute, orders, stored):
        first = read(table="orders", watermark="rating")
        again = read(stored(first.rows), table="orders", watermark="rating")
        assert (again.rows_read, again.rows.num_rows) == (2, 2)

    def test_another_database_behind_the_variable_is_read_whole(
        self, server, orders, monkeypatch, execute, stored
    ):
        first = read(table="orders", watermark="item_id")
        execute("create database other template template0")
        monkeypatch.setenv("SHOP", server.dsn("other"))
        with pytest.raises(UserError, match="there is no table"):
            read(stored(first.rows), table="orders", watermark="item_id")


class TestOnlyReading:
    @pytest.mark.parametrize(
        "query",
        [
            "delete from orders",
            "with gone as (delete from orders returning *) select * from gone",
            "select 1; drop table orders",
            "select 1; commit; drop table orders",
            "select * into copied from orders",
            "select forget()",
            "select nextval('counter')",
            "copy orders to '/tmp/orders'",
            "select * from orders for update",
        ],
    )
    def test_what_would_write_does_not(self, execute, orders, query):
        execute(
            "create function forget() returns int language sql as 'delete from orders returning 1'",
            "create sequence counter",
        )
        with pytest.raises((UserError, ValidationError)):
            read(sql=query)
        assert read(table="orders").rows.num_rows == 2
        assert read(sql="select count(*) as n from pg_tables where tablename = 'copied'").rows[
            "n"
        ].to_pylist() == [0]

    def test_what_a_variable_holds_is_judged_too(self, orders, monkeypatch):
        monkeypatch.setenv("QUERY", "select 1; drop table orders")
        with pytest.raises(UserError):
            read(sql="${QUERY}")
        assert read(table="orders").rows.num_rows == 2


class TestFaults:
    def said(self, **source) -> str:
        with pytest.raises(UserError) as fault:
            read(**({"table": "orders"} | source))
        assert PASSWORD not in str(fault.value)
        assert "127.0.0.1" not in str(fault.value)
        return str(fault.value)

    def test_a_wrong_password(self, server, database, monkeypatch):
        monkeypatch.setenv("SHOP", server.with_password(database, "wrong-word"))
        said = self.said()
        assert said.startswith(
            "${SHOP}: PostgreSQL could not be asked: the server refuses the user"
        )
        assert "wrong-word" not in said

    def test_no_server(self, monkeypatch, database):
        monkeypatch.setenv("SHOP", f"postgresql://reader:{PASSWORD}@127.0.0.1:1/shop")
        assert "no server answers there" in self.said()

    def test_no_such_database(self, server, monkeypatch, database):
        monkeypatch.setenv("SHOP", server.with_password("nothing"))
        assert "there is no such database" in self.said()

    @pytest.mark.parametrize("written", [f"postgresql://u:{PASSWORD}@h:p p/d", PASSWORD, "x y=z"])
    def test_no_connection_in_the_variable(self, monkeypatch, written, database):
        monkeypatch.setenv("SHOP", written)
        assert "${SHOP}" in self.said()

    def test_a_variable_that_is_not_set(self, monkeypatch, database):
        monkeypatch.delenv("SHOP")
        assert "the environment variable SHOP is not set" in self.said()

    def test_no_right_to_read(self, server, database, orders, monkeypatch):
        monkeypatch.setenv("SHOP", server.with_password(database))
        assert "permission denied for table orders. Let somebody grant" in self.said()

    def test_a_misspelled_column(self, orders):
        said = self.said(table=None, sql="select user_idd from orders")
        assert 'column "user_idd" does not exist' in said
        assert "orders.user_id" in said

    def test_a_value_that_cannot_be_converted_is_not_quoted(self, execute, orders):
        execute("insert into orders values ('Anna Smith', 3)")
        said = self.said(table=None, sql="select user_id::int as id from orders")
        assert "invalid input syntax for type integer" in said
        assert "Anna" not in said

    @pytest.mark.parametrize("query", ["select", "select from orders"])
    def test_a_query_without_columns(self, orders, query):
        assert "the query gives no columns" in self.said(table=None, sql=query)

    def test_a_connection_that_is_lost_between_batches(self, execute, orders, monkeypatch):
        original = postgres._as_written

        def lost(values):
            monkeypatch.setattr(postgres, "_as_written", original)
            execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where application_name = 'recsys_dagster'"
            )
            return original(values)

        monkeypatch.setattr(postgres, "_as_written", lost)
        monkeypatch.setattr(postgres, "BATCH", 1)
        said = self.said()
        assert "the connection to PostgreSQL was lost while it was read" in said
        assert "terminating connection due to administrator command" in said
        assert read(table="orders").rows.num_rows == 2

    def test_a_password_stands_in_no_catalog(self, tmp_path):
        file = tmp_path / "shop.yaml"
        file.write_text(
            "name: shop\n"
            "interactions:\n"
            f"  source: {{postgres: 'postgresql://u:{PASSWORD}@h/d', table: orders}}\n"
            "items: {source: items.csv, text: title}\n"
        )
        with pytest.raises(UserError, match=r"postgres: .*environment variable") as fault:
            read_catalog(file)
        assert PASSWORD not in str(fault.value)


class TestWatching:
    def observe(self, **source):
        settings = WRITTEN.validate_python({"postgres": "${SHOP}"} | source)
        return observe_source(settings, Path(), {}, 0).fingerprint

    @pytest.mark.parametrize("source", [{"table": "orders"}, {"sql": "select * from orders"}])
    def test_a_change_is_seen(self, execute, orders, source):
        first = self.observe(**source)
        assert self.observe(**source) == first
        execute("update orders set rating = 1 where user_id = 'bob'")
        assert self.observe(**source) != first

    def test_of_a_watermark_its_last_value_and_the_number_of_rows(self, execute, orders):
        first = self.observe(table="orders", watermark="item_id")
        execute("update orders set rating = 1 where user_id = 'bob'")
        assert self.observe(table="orders", watermark="item_id") == first
        execute("insert into orders values ('eve', 3)")
        assert self.observe(table="orders", watermark="item_id") != first


def test_a_whole_catalog_and_nothing_of_the_connection_anywhere(
    tiny, server, database, execute, monkeypatch
):
    lines = [line.split(",") for line in (tiny().data / "interactions.csv").read_text().split()[1:]]
    values = ", ".join(f"('{u}', '{i}', {r}, '{t}')" for u, i, r, t in lines)
    execute(
        "create table likes (user_id text, item_id text, rating int, timestamp timestamptz)",
        f"insert into likes values {values}",
        "grant select on likes to reader",
    )
    monkeypatch.setenv("SHOP", server.with_password(database))
    source = {"postgres": "${SHOP}", "table": "likes", "watermark": "timestamp"}
    place = tiny()
    place.write_catalog(
        "tiny", TINY_SETTINGS | {"interactions": {"source": source, "positive": "rating >= 4"}}
    )
    first = place.run("tiny")
    assert first.success
    execute("insert into likes values ('new', 'love1', 5, '2024-05-01')")
    second = place.run("tiny")
    assert second.success
    newest = max(time for *_, time in lines)
    again = sum(time == newest for *_, time in lines)
    assert figures(second, "tiny", "raw_interactions")["rows_read"] == again + 1
    events = " ".join(str(event) for run in (first, second) for event in run.all_events)
    assert PASSWORD not in events
    written = [path for path in place.home.rglob("*") if path.is_file()]
    assert [path for path in written if PASSWORD.encode() in path.read_bytes()] == []
