"""The format of a warehouse file: older ones are brought up to date, newer ones are refused."""

from pathlib import Path

import duckdb

from recsys_dagster.errors import UserError
from recsys_dagster.sql import quoted

FORMAT = 5
"""5: what a search found goes by strategy, popular_items are the whole catalogue. 4: items have
title_source. 3: items have created_at. 2: sources are numbered by file, interactions have
positions. 1 had no number written in it."""


def bring_up_to_date(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Make the file one of this format.

    Tables of an older format are dropped: the next run makes them from the sources again. What is
    costly to make, the encoded texts, lies in a schema of its own and stays.

    Raises:
        UserError: a newer version of recsys_dagster wrote the file.
    """
    found = _format_of(connection)
    if found > FORMAT:
        raise UserError(
            f"{path}: written by a newer version of recsys_dagster, in format {found}; this one "
            f"reads up to {FORMAT}. Install the newer version again, or move the file away and run "
            "the catalog to make a new one."
        )
    if found == FORMAT:
        return
    connection.execute("begin")
    for (table,) in connection.execute(
        "select table_name from duckdb_tables() where schema_name = 'main'"
    ).fetchall():
        connection.execute(f"drop table {quoted(table)}")
    connection.execute("create schema if not exists warehouse")
    connection.execute("create or replace table warehouse.format as select $1 as format", [FORMAT])
    connection.execute("commit")


def _format_of(connection: duckdb.DuckDBPyConnection) -> int:
    try:
        return connection.execute("select format from warehouse.format").fetchall()[0][0]
    except duckdb.CatalogException:
        return 1
