"""Which SQL a catalog may hold."""

import duckdb
import pytest

from recsys_dagster.sql import objection, without_end


@pytest.mark.parametrize(
    "query",
    [
        "select 'é;--' as é",
        "  select 'é;--' as é;  ",
        "select 'é;--' as é;; -- the end; of it",
        "select 'é;--' as é -- the end\n; /* ; */ ;",
    ],
)
def test_a_query_is_known_without_its_end(query):
    assert without_end(query) == "select 'é;--' as é"


@pytest.mark.parametrize(
    "query", ["select * from ${TABLE}", "select 'open", "", "select [a] from b"]
)
def test_what_is_not_right_is_left_as_it_is(query):
    assert without_end(query) == query


@pytest.mark.parametrize(
    "query",
    [
        "select 1",
        "SELECT 1 -- the end",
        "-- the beginning\nselect 1",
        "(select 1) union all (select 2)",
        "with recursive r(n) as (select 1 union all select n + 1 from r where n < 3) from r",
        "from read_csv('orders/*.csv') select user_id",
        "values (1), (2)",
        "pivot sales on month using sum(price)",
        "from (pivot sales on month using sum(price))",
        "unpivot sales on a, b into name n value v",
        "select 'copy (select 1) to x; drop table t' as text",
        'select \'"type":"COPY_QUERY_NODE"\' as text',
        'select "update", "copy" from t',
    ],
)
def test_a_query_may_be_run(query):
    assert objection(query, duckdb_only=True) is None
    assert objection(query, duckdb_only=False) is None


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("copy (select 1) to 'out.csv'", "COPY"),
        ("copy orders from 'in.csv'", "COPY"),
        ("insert into t values (1)", "INSERT"),
        ("delete from t returning *", "DELETE"),
        ("update t set a = 1", "UPDATE"),
        ("create table t as select 1", "CREATE"),
        ("drop table t", "DROP"),
        ("attach 'other.duckdb'", "ATTACH"),
        ("detach other", "DETACH"),
        ("install httpfs", "INSTALL"),
        ("load httpfs", "LOAD"),
        ("set threads = 1", "SET"),
        ("reset threads", "RESET"),
        ("use other", "USE"),
        ("call pragma_version()", "CALL"),
        ("pragma version", "PRAGMA"),
        ("export database 'out'", "EXPORT"),
        ("import database 'in'", "IMPORT"),
        ("prepare p as select 1", "PREPARE"),
        ("explain analyze select 1", "EXPLAIN"),
        ("vacuum", "VACUUM"),
        ("begin", "BEGIN"),
        ("/* select */ drop table t", "DROP"),
        ("select 1; drop table t", "2 statements"),
        ("select 1; select 2", "2 statements"),
        ("-- nothing but a comment", "nothing"),
        ("", "nothing"),
        ("with x as (copy (select 1) to 'out.csv') select * from x", "COPY within WITH"),
        ("with x as (insert into t values (1) returning *) from x", "INSERT within WITH"),
        ("with x as (delete from t returning *) select 1", "DELETE within WITH"),
        (
            "with x as (/* quiet */ copy (select 1) to 'out.csv') pivot t on a using sum(b)",
            "COPY within WITH",
        ),
    ],
)
def test_what_does_more_than_read_is_refused(statement, found):
    for duckdb_only in (True, False):
        said = objection(statement, duckdb_only=duckdb_only)
        assert said is not None
        assert said.startswith("expected one query that only reads: SELECT, ")
        assert said.endswith(f"found {found}")


def test_where_only_duckdb_can_be_meant_what_it_cannot_parse_is_a_fault():
    assert "syntax error" in (objection("select * form t", duckdb_only=True) or "")


@pytest.mark.parametrize(
    "query", ["select * from t indexed by i", "select * from ${TABLE}", "${QUERY}"]
)
def test_another_dialect_and_what_variables_hold_are_judged_when_they_are_run(query):
    assert objection(query, duckdb_only=False) is None


@pytest.mark.parametrize("statement", ["delete from ${TABLE}", "replace into t values (1)"])
def test_but_its_first_word_must_be_that_of_a_query(statement):
    said = objection(statement, duckdb_only=False) or ""
    assert said.endswith(f"found {statement.split()[0].upper()}")


def test_duckdb_runs_no_write_within_a_query_but_at_its_top(tmp_path):
    """What `objection` relies on: it looks at the text, and `query(…)` would hide another."""
    out = tmp_path / "out.csv"
    written = f"with x as (copy (select 1) to '{out}') select * from x"
    hidden = written.replace("'", "''")
    for query in (f"from ({written})", f"from query('{hidden}')", f"select ({written})"):
        with pytest.raises(duckdb.BinderException, match="must be at the top level"):
            duckdb.sql(query)
    assert not out.exists()
