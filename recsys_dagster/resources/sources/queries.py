"""A table of a DuckDB or SQLite file, or a query."""

import re
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from recsys_dagster.errors import UserError, did_you_mean
from recsys_dagster.resources.sources.state import (
    SourceRead,
    numbered,
    require_distinct,
    state_of,
    united,
    with_state,
)
from recsys_dagster.resources.warehouse import quote
from recsys_dagster.schemas import SOURCE_NAMES
from recsys_dagster.source import SourceSettings, expand_variables
from recsys_dagster.versions import content_digest, digest

DUCKDB_MAGIC = b"DUCK"
SQLITE_MAGIC = b"SQLite format 3\0"
QUOTED = re.compile(r"""(column )?(["'])[^"']*\2""")
"""What an error of DuckDB quotes: names of columns, and values."""


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
    database = database_file(settings, folder) if settings.database else None
    query = _one_statement(settings) if settings.sql else _select(settings, database)
    watermark = settings.watermark
    asked = digest(query, str(database), watermark or "")
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
    own = rows.drop_columns(list(SOURCE_NAMES))
    return SourceRead(
        with_state(rows, {"query": asked}), content_digest(own, ordered=False), fetched
    )


def query_digest(settings: SourceSettings, folder: Path) -> str:
    """A fingerprint of what a query outside a database gives now; its rows stay in DuckDB.

    Raises:
        UserError: the query fails.
    """
    counted = f"select count(*), sum(hash(rows)) from (\n{_one_statement(settings)}\n) as rows"
    return digest(str(_run(settings, folder, counted, ()).to_pylist()))


def _one_statement(settings: SourceSettings) -> str:
    query = expand_variables(settings.sql or "").strip().rstrip(";")
    try:
        statements = len(duckdb.extract_statements(query))
    except duckdb.Error as error:
        raise UserError(f"source {settings.described}: {error}") from None
    if statements != 1:
        raise UserError(
            f"source {settings.described}: expected one query, found {statements} statements."
        )
    return query


def _appended(
    settings: SourceSettings, folder: Path, query: str, watermark: str, before: pa.Table
) -> tuple[pa.Table, int]:
    last = pc.call_function("max", [before[watermark]])
    if last.is_valid:
        kept = before.filter(pc.field(watermark) < last)
        # Without a value nothing says whether a row is new: all of those are fetched again.
        later = (
            f"select * from (\n{query}\n) "
            f"where {quote(watermark)} >= ? or {quote(watermark)} is null"
        )
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


def _select(settings: SourceSettings, database: Path | None) -> str:
    table = settings.table or ""
    tables = _tables(database) if database is not None else []
    if table not in tables:
        raise UserError(
            f"{settings.database}: there is no table {table!r}.{did_you_mean(table, tables)}"
        )
    return f"select * from {quote(table)}"


def database_file(settings: SourceSettings, folder: Path) -> Path:
    """The DuckDB or SQLite file of a source.

    Raises:
        UserError: there is no such file, or it is something else.
    """
    path = (folder / Path(expand_variables(settings.database or "")).expanduser()).resolve()
    if not path.is_file():
        siblings = [file.name for file in path.parent.glob("*")] if path.parent.is_dir() else []
        raise UserError(f"{path}: there is no such database.{did_you_mean(path.name, siblings)}")
    with path.open("rb") as file:
        start = file.read(len(SQLITE_MAGIC))
    if start != SQLITE_MAGIC and not start[8:].startswith(DUCKDB_MAGIC):
        raise UserError(f"{path}: this is no DuckDB or SQLite file.")
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
    database = database_file(settings, folder) if settings.database else None
    try:
        if database is not None and _is_sqlite(database):
            with closing(_connect_sqlite(database)) as connection:
                cursor = connection.execute(query, [_for_sqlite(value) for value in parameters])
                return _from_sqlite([column[0] for column in cursor.description], cursor.fetchall())
        with _connect_duckdb(database) as connection:
            connection.execute("set file_search_path = $1", [str(folder)])
            relation = connection.sql(query, params=list(parameters))
            require_distinct(relation.columns, settings.described)
            return relation.to_arrow_table()
    except (duckdb.Error, sqlite3.Error) as error:
        raise UserError(f"source {settings.described}: {_without_values(error)}") from None


def _without_values(error: Exception) -> str:
    # The value that could not be converted may name a person, and run logs cannot be erased by row.
    if not isinstance(error, duckdb.DataError | duckdb.InvalidInputException):
        return str(error)
    # After an empty line come advice and the reader's settings.
    about = str(error).partition("\n\n")[0]
    lines = [line for line in about.splitlines() if not line.startswith("Original Line")]
    return QUOTED.sub(lambda found: found[0] if found[1] else "'…'", " ".join(lines))


def _connect_duckdb(database: Path | None) -> duckdb.DuckDBPyConnection:
    try:
        return duckdb.connect(str(database), read_only=True) if database else duckdb.connect()
    except duckdb.IOException as error:
        raise UserError(
            f"{database}: the database cannot be opened for reading: another process may be "
            f"writing to it. ({error})"
        ) from None


def _connect_sqlite(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)


def _from_sqlite(names: list[str], rows: list[tuple[Any, ...]]) -> pa.Table:
    """Rows as Arrow; SQLite's columns may mix types, and are text then."""
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    require_distinct(names, "source")
    return pa.table(dict(zip(names, map(_array, columns), strict=True)))


def _array(values: Sequence[Any]) -> pa.Array:
    try:
        array = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None else _text(value) for value in values])
    if pa.types.is_binary(array.type):
        return pa.array([None if value is None else _text(value) for value in values])
    return array.cast(pa.string()) if pa.types.is_null(array.type) else array


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _for_sqlite(value: Any) -> Any:
    return value.isoformat(sep=" ") if hasattr(value, "isoformat") else value
