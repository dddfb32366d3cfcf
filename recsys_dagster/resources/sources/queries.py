"""A table of a database, or a query: DuckDB and SQLite files, PostgreSQL."""

import re
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys_dagster.catalog.source import SourceSettings, expand_variables
from recsys_dagster.errors import UserError, did_you_mean
from recsys_dagster.resources.sources import postgres
from recsys_dagster.resources.sources.databases import (
    connect_duckdb,
    connect_sqlite,
    database_file,
    is_sqlite,
    relation,
    tables_of,
)
from recsys_dagster.resources.sources.kinds import as_texts
from recsys_dagster.resources.sources.state import (
    READER,
    SourceRead,
    numbered,
    require_distinct,
    state_of,
    united,
)
from recsys_dagster.resources.warehouse import StoredTable
from recsys_dagster.schemas import SOURCE_NAMES
from recsys_dagster.sql import objection, quoted, without_end
from recsys_dagster.versions import content_digest, digest

__all__ = ["query_digest", "read_query", "table_of_values", "tables_of"]

ISO_TIME = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}([.,]\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?$"
ORDERED = (
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_decimal,
    pa.types.is_date,
    pa.types.is_timestamp,
    pa.types.is_time,
)
"""Kinds of values whose order is the same here and in the database."""
EXTENSION = re.compile(r'Install it first using "INSTALL (\w+)"')
LOCKED_SETTING = "the configuration has been locked"
"""What a query that changes a setting is told; it quotes the setting."""
QUOTED = re.compile(r"""(?P<name>column "[^"]*")|(?<!\w)(["']).*(?:\2|$)|(?<=with value )\S+""")
"""What an error of DuckDB quotes: names of columns, and values, which may have quotes in them."""


def read_query(settings: SourceSettings, folder: Path, previous: StoredTable | None) -> SourceRead:
    """All rows, or with a watermark those known and those from the last known value on.

    Rows at the watermark's last value are fetched again, since more of them may have come. Where
    none came, the known ones are not read from the warehouse before they are asked for.

    Args:
        settings: table or sql, database, watermark.
        folder: where the YAML file lies; relative paths in a query start there.
        previous: what the last read left, if there was one.

    Raises:
        UserError: no such database, table or column, or the query fails.
    """
    database = database_file(settings, folder) if settings.database else None
    query = query_of(settings, database)
    watermark = settings.watermark
    place = postgres.whereabouts(settings) if settings.postgres else str(database)
    state = {"query": digest(READER, query, place, watermark or "")}
    if watermark and previous is not None and state_of(previous.memory) == state:
        return _read_on(settings, folder, query, watermark, previous, state)
    data = _run(settings, folder, query, ())
    if watermark is not None and watermark not in data.column_names:
        raise UserError(
            f"{settings.described}: there is no column {watermark!r} to be the watermark."
            f"{did_you_mean(watermark, data.column_names)}"
        )
    if watermark is not None:
        _require_order(data[watermark], settings)
    return _whole(numbered(data), data.num_rows, state)


def _read_on(
    settings: SourceSettings,
    folder: Path,
    query: str,
    watermark: str,
    previous: StoredTable,
    state: Mapping[str, str],
) -> SourceRead:
    """What is known, and what came from the watermark's last known value on."""
    known = previous.arrow((watermark,))[watermark]
    last = _bound(known, settings)
    new = numbered(_from_last(settings, folder, query, watermark, last))
    new = _with_known_types(new, previous.schema())
    if previous.version and _are_known(new, previous, watermark, known, last):
        return SourceRead(previous.version, new.num_rows, previous.arrow, state)
    rows = _appended(previous.arrow(), new, watermark, last)
    _require_order(rows[watermark], settings)
    return _whole(rows, new.num_rows, state)


def _whole(rows: pa.Table, fetched: int, state: Mapping[str, str]) -> SourceRead:
    return SourceRead(_content(rows), fetched, lambda: rows, state)


def _content(rows: pa.Table) -> str:
    """A fingerprint of the source's own columns; their numbers and their order say nothing."""
    return content_digest(rows.drop_columns(list(SOURCE_NAMES)), ordered=False)


def query_digest(settings: SourceSettings, folder: Path) -> str:
    """A fingerprint of what a query gives now, outside a file; its rows stay in the database.

    Raises:
        UserError: the query fails.
    """
    query = query_of(settings, None)
    if settings.postgres:
        return postgres.fingerprint(settings, query)
    # A column with the name of the rows would be taken for them.
    counted = f"select count(*), sum(hash(row(*columns(*)))) from (\n{query}\n) as recsys_rows"
    return digest(str(_run(settings, folder, counted, ()).to_pylist()))


def query_of(settings: SourceSettings, database: Path | None) -> str:
    """What a source asks for, in SQL.

    Raises:
        UserError: there is no such table, or the query is none that only reads.
    """
    if settings.table is not None and database is not None:
        place = relation(settings.table, database, settings.database or "")
        return f"select * from {place}"
    if settings.table is not None:
        return f"select * from {postgres.relation(settings)}"
    query = without_end(expand_variables(settings.sql or ""))
    is_foreign = settings.postgres is not None or (database is not None and is_sqlite(database))
    fault = objection(query, duckdb_only=not is_foreign)
    if fault is not None:
        raise UserError(f"source {settings.described}: {fault}")
    return query


def _from_last(
    settings: SourceSettings, folder: Path, query: str, watermark: str, last: pa.Scalar
) -> pa.Table:
    """The rows from the last known value on; all where no value is known."""
    if not last.is_valid:
        return _run(settings, folder, query, ())
    # Without a value nothing says whether a row is new: all of those are fetched again.
    column, value = quoted(watermark), "?"
    if settings.postgres:  # where the sign of a parameter is doubled to be itself
        query, column, value = query.replace("%", "%%"), column.replace("%", "%%"), "%s"
    later = (
        f"select * from (\n{query}\n) as recsys_rows where {column} >= {value} or {column} is null"
    )
    return _run(settings, folder, later, (last.as_py(),))


def _with_known_types(new: pa.Table, known: pa.Schema) -> pa.Table:
    """Columns without any value have the type that is known of them: they say nothing else."""
    for position, column in enumerate(new.columns):
        place = known.get_field_index(new.field(position).name)
        if place >= 0 and column.null_count == len(column):
            field = known.field(place)
            new = new.set_column(position, field, pa.nulls(len(column), field.type))
    return new


def _are_known(
    new: pa.Table,
    previous: StoredTable,
    watermark: str,
    known: pa.ChunkedArray,
    last: pa.Scalar,
) -> bool:
    """Whether fetched rows are those that are known from the last value on, and no others.

    Not where a value is null or NaN: of such a row nothing says whether it is new.
    """
    if not last.is_valid:
        return False
    is_before = pc.call_function("less", [known, last])
    is_from_last = pc.call_function("greater_equal", [known, last])
    is_ordered = pc.call_function("or", [is_before, is_from_last])
    options = pc.ScalarAggregateOptions(skip_nulls=False)
    if not pc.call_function("all", [is_ordered], options).as_py():
        return False
    values = known.filter(is_from_last).unique()
    return _content(new) == _content(previous.arrow(only=(watermark, values)))


def _appended(before: pa.Table, new: pa.Table, watermark: str, last: pa.Scalar) -> pa.Table:
    kept = before.filter(pc.field(watermark) < last) if last.is_valid else before.slice(0, 0)
    rows = united([kept, new])
    place = rows.column_names.index("source_row")
    return rows.set_column(place, "source_row", pa.array(range(1, rows.num_rows + 1), pa.int64()))


def _bound(known: pa.ChunkedArray, settings: SourceSettings) -> pa.Scalar:
    """The largest known value of a watermark as a query can be given it; null where none is known.

    Times are cut to microseconds, as DuckDB binds them. PostgreSQL tells a `real` in fewer digits
    than it compares: what is bound is no larger than it.

    Raises:
        UserError: it is a date that Python has not.
    """
    last = pc.call_function("max", [known])
    if not last.is_valid:
        return last
    _value_of(last, settings)
    if settings.postgres and pa.types.is_floating(last.type):
        return pa.scalar(min(last.as_py(), float(np.float32(last.as_py()))), last.type)
    if not pa.types.is_timestamp(last.type) or last.type.unit != "ns":
        return last
    cut = pc.call_function("floor_temporal", [last], pc.RoundTemporalOptions(unit="microsecond"))
    return cut.cast(pa.timestamp("us", last.type.tz))


def _value_of(last: pa.Scalar, settings: SourceSettings) -> Any:
    try:
        return last.as_py()
    except (OverflowError, ValueError):
        raise UserError(
            f"{settings.described}: the watermark {settings.watermark!r} has a value that is "
            "infinity or after the year 9999, and nothing comes after it: leave such rows out by a "
            "query (source: {sql: …}), or leave watermark out."
        ) from None


def _require_order(values: pa.ChunkedArray, settings: SourceSettings) -> None:
    """See that a watermark's values have one order, here and in the database.

    Raises:
        UserError: they are texts that are no times, or of a type that has no order.
    """
    here = f"{settings.described}: the watermark {settings.watermark!r}"
    kind = values.type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if is_text and not _is_one_form_of_time(values):
        raise UserError(
            f"{here} is text, or has values of several types, and is not written throughout as "
            "2024-01-31 or 2024-01-31T23:59:59: text has another order than what it stands for, "
            "and new rows would be missed. Let a query make a number or a time of it (source: "
            f'{{sql: "select *, cast({settings.watermark} as …) as grows from …", watermark: '
            "grows}), or leave watermark out: then all rows are read each time."
        )
    if not (is_text or any(is_kind(kind) for is_kind in ORDERED)):
        raise UserError(
            f"{here} is of the type {kind}: expected a number, a date or a time that only grows."
        )
    _value_of(pc.call_function("max", [values]), settings)


def _is_one_form_of_time(values: pa.ChunkedArray) -> bool:
    known = pc.call_function("drop_null", [values])
    match = pc.MatchSubstringOptions(ISO_TIME)
    if not pc.call_function("all", [pc.call_function("match_substring_regex", [known], match)]):
        return False
    digits = pc.ReplaceSubstringOptions(r"\d", "0")
    forms = pc.call_function("replace_substring_regex", [known], digits).unique().to_pylist()
    # What only goes on where the other ends is sorted behind it.
    longest: str = max(forms, key=len) if forms else ""
    zone = pc.ExtractRegexOptions(r"(?P<zone>[+-]\d{2}:?\d{2})$")
    zones = pc.call_function("extract_regex", [known], zone).combine_chunks().field("zone").unique()
    return len(zones.drop_null()) <= 1 and all(longest.startswith(form) for form in forms)


def _run(settings: SourceSettings, folder: Path, query: str, parameters: Sequence[Any]) -> pa.Table:
    if settings.postgres:
        return postgres.read_rows(settings, query, parameters)
    database = database_file(settings, folder) if settings.database else None
    if database is None or not is_sqlite(database):
        return run_duckdb(settings, folder, query, database=database, parameters=parameters)
    try:
        with closing(connect_sqlite(database)) as connection:
            cursor = connection.execute(query, [_for_sqlite(value) for value in parameters])
            names = [column[0] for column in cursor.description]
            require_distinct(names, "source")
            return table_of_values(names, cursor.fetchall())
    except sqlite3.Error as error:
        raise UserError(f"source {settings.described}: {_without_values(error)}") from None


def run_duckdb(
    settings: SourceSettings,
    folder: Path,
    query: str,
    *,
    database: Path | None = None,
    parameters: Sequence[Any] = (),
    tables: Mapping[str, pa.Table] = MappingProxyType({}),
) -> pa.Table:
    """The rows of a query that DuckDB runs.

    Args:
        settings: the source whose query it is.
        folder: where relative paths in the query start.
        query: in SQL.
        database: a DuckDB file to run it in.
        parameters: what stands for the `?` in it.
        tables: what it has names for beside what is in the database.

    Raises:
        UserError: the query fails, or gives two columns of one name.
    """
    try:
        with connect_duckdb(database, folder) as connection:
            for name, rows in tables.items():
                connection.register(name, rows)
            found = connection.sql(query, params=list(parameters))
            require_distinct(found.columns, settings.described)
            return found.to_arrow_table()
    except duckdb.Error as error:
        raise UserError(f"source {settings.described}: {_without_values(error)}") from None


def _without_values(error: Exception) -> str:
    """What an error of a database says, without what people's data say."""
    # The value that could not be converted may name a person, and run logs cannot be erased by row.
    needed = EXTENSION.search(str(error))
    if needed:
        return (
            f"the query needs DuckDB's extension {needed[1]}, which is not installed here. Install "
            f"it once, which downloads it: python -c \"import duckdb; duckdb.sql('install "
            f"{needed[1]}')\"."
        )
    if not isinstance(error, duckdb.DataError | duckdb.InvalidInputException):
        return str(error)
    first, *others = str(error).partition("\n\n")[0].splitlines()
    if LOCKED_SETTING in first:
        return first
    # Between these a reader's error quotes the line, and a function's its argument.
    lines = [first, *(line for line in others if line.startswith("Error when "))]
    return " ".join(QUOTED.sub(lambda found: found["name"] or "'…'", line) for line in lines)


def table_of_values(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> pa.Table:
    """Rows of plain values as Arrow; a column may mix types, and is text then."""
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    return pa.table(dict(zip(names, map(_array, columns), strict=True)))


def _array(values: Sequence[Any]) -> pa.Array:
    try:
        array = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return as_texts(values)
    return array.cast(pa.string()) if pa.types.is_null(array.type) else array


def _for_sqlite(value: Any) -> Any:
    return value.isoformat(sep=" ") if hasattr(value, "isoformat") else value
