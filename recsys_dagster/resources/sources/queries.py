"""A table of a DuckDB or SQLite file, or a query."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from recsys_dagster.catalog import SourceSettings, expand_variables
from recsys_dagster.errors import UserError, did_you_mean
from recsys_dagster.resources.sources.state import (
    SourceRead,
    numbered,
    state_of,
    united,
    with_state,
)
from recsys_dagster.resources.warehouse import quote, to_arrow
from recsys_dagster.versions import content_digest, digest

SQLITE_MAGIC = b"SQLite format 3\0"


def read_query(
    settings: SourceSettings, folder: Path, previous: Callable[[], pa.Table | None]
) -> SourceRead:
    """All rows, or with a watermark those known and those from the last known value on.

    Rows at the watermark's last value are fetched again, since more of them may have come.

    Args:
        settings: table or sql, database, watermark.
        folder: where the YAML file lies; relative paths in a query start there.
        previous: the rows of the last read, if there was one.

    Raises:
        UserError: no such database, table or column, or the query fails.
    """
    query = expand_variables(settings.sql) if settings.sql else _select(settings, folder)
    watermark = settings.watermark
    asked = digest(query, settings.database or "", watermark or "")
    before = previous() if watermark else None
    if watermark is not None and before is not None and state_of(before).get("query") == asked:
        rows, fetched = _appended(settings, folder, query, watermark, before)
    else:
        data = _run(settings, folder, query, ())
        if watermark is not None and watermark not in data.column_names:
            raise UserError(
                f"{settings.described}: there is no column {watermark!r} to be the watermark."
                f"{did_you_mean(watermark, data.column_names)}"
            )
        rows, fetched = numbered(data), data.num_rows
    return SourceRead(with_state(rows, {"query": asked}), content_digest(rows), fetched)


def _appended(
    settings: SourceSettings, folder: Path, query: str, watermark: str, before: pa.Table
) -> tuple[pa.Table, int]:
    last = pc.call_function("max", [before[watermark]])
    if last.is_valid:
        kept = before.filter(pc.field(watermark) < last)
        later = f"select * from ({query}) where {quote(watermark)} >= ?"
        new = _run(settings, folder, later, (last.as_py(),))
    else:
        kept, new = before.slice(0, 0), _run(settings, folder, query, ())
    first = kept.num_rows + 1
    numbers = pa.array(range(first, first + new.num_rows), pa.int64())
    kept = kept.set_column(
        kept.column_names.index("source_row"),
        "source_row",
        pa.array(range(1, first), pa.int64()),
    )
    return united([kept, numbered(new, row_numbers=numbers)]), new.num_rows


def _select(settings: SourceSettings, folder: Path) -> str:
    table = settings.table or ""
    tables = _tables(_database(settings, folder))
    if table not in tables:
        raise UserError(
            f"{settings.database}: there is no table {table!r}.{did_you_mean(table, tables)}"
        )
    return f"select * from {quote(table)}"


def _database(settings: SourceSettings, folder: Path) -> Path:
    path = folder / Path(expand_variables(settings.database or "")).expanduser()
    if not path.is_file():
        siblings = [file.name for file in path.parent.glob("*")] if path.parent.is_dir() else []
        raise UserError(f"{path}: there is no such database.{did_you_mean(path.name, siblings)}")
    return path


def _is_sqlite(database: Path) -> bool:
    with database.open("rb") as file:
        return file.read(len(SQLITE_MAGIC)) == SQLITE_MAGIC


def _tables(database: Path) -> list[str]:
    if _is_sqlite(database):
        with closing(_connect_sqlite(database)) as connection:
            rows = connection.execute(
                "select name from sqlite_master where type in ('table', 'view') order by name"
            ).fetchall()
    else:
        with _connect_duckdb(database) as connection:
            rows = connection.execute(
                "select table_name from information_schema.tables where table_schema = 'main' "
                "order by table_name"
            ).fetchall()
    return [name for (name,) in rows]


def _run(settings: SourceSettings, folder: Path, query: str, parameters: Sequence[Any]) -> pa.Table:
    database = _database(settings, folder) if settings.database else None
    try:
        if database is not None and _is_sqlite(database):
            with closing(_connect_sqlite(database)) as connection:
                cursor = connection.execute(query, [_for_sqlite(value) for value in parameters])
                names = [column[0] for column in cursor.description]
                return to_arrow(pd.DataFrame(cursor.fetchall(), columns=names))
        with _connect_duckdb(database) as connection:
            connection.execute("set file_search_path = $1", [str(folder)])
            return connection.sql(query, params=list(parameters)).to_arrow_table()
    except (duckdb.Error, sqlite3.Error) as error:
        raise UserError(f"source {settings.described}: {error}") from None


def _connect_duckdb(database: Path | None) -> duckdb.DuckDBPyConnection:
    try:
        return duckdb.connect(str(database), read_only=True) if database else duckdb.connect()
    except duckdb.IOException as error:
        raise UserError(
            f"{database}: the database cannot be opened for reading: another process may be "
            f"writing to it. ({error})"
        ) from None
    except duckdb.Error as error:
        raise UserError(f"{database}: this is no DuckDB or SQLite file: {error}") from None


def _connect_sqlite(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)


def _for_sqlite(value: Any) -> Any:
    return value.isoformat(sep=" ") if hasattr(value, "isoformat") else value
