"""One file → Arrow. Rows that cannot be read stay in the table, empty and with the reason.

Delimited files are read as text: "007" stays "007", and each bad value is judged by its row.
"""

import csv
import glob
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import IO, cast

import duckdb
import numpy as np
import pyarrow as pa

from recsys_dagster.catalog import SourceSettings
from recsys_dagster.errors import UserError
from recsys_dagster.resources.sources.state import numbered

LONGEST_HEADER = 1_000_000
DELIMITERS = (",", ";", "\t", "|")
ROW_FAULTS = {
    "MISSING COLUMNS": "the line has fewer columns than the header",
    "TOO MANY COLUMNS": "the line has more columns than the header",
    "UNQUOTED VALUE": "a quote in the line is not closed, or closed too early",
    "LINE SIZE OVER MAXIMUM": "the line is longer than 2 MB",
}


def read_file(path: Path, file: str, settings: SourceSettings) -> pa.Table:
    """A whole file with the columns of `schemas.SOURCE`.

    Args:
        path: where it lies.
        file: what it is called in the table.
        settings: delimiter and encoding.

    Raises:
        UserError: the file cannot be read as what its name says.
    """
    try:
        return READERS[suffix_of(path)](path, file, settings)
    except duckdb.Error as error:
        raise UserError(f"{path}: cannot be read: {_without_data(error)}") from None


def suffix_of(path: Path) -> str:
    """What a file's name says about its format: ".csv" of "orders.csv.gz"."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".gz"] and suffixes[-2:-1] != [".parquet"]:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _read_parquet(path: Path, file: str, _: SourceSettings) -> pa.Table:
    with duckdb.connect() as connection:
        data = connection.sql(
            "select * from read_parquet(?)", params=[glob.escape(str(path))]
        ).to_arrow_table()
    return numbered(data, file)


def _read_delimited(path: Path, file: str, settings: SourceSettings) -> pa.Table:
    delimiter = "\t" if suffix_of(path) == ".tsv" else settings.delimiter
    names, delimiter = _header(path, delimiter, settings.encoding)
    columns = ", ".join(f"{_literal(name)}: 'VARCHAR'" for name in names)
    # Nothing is guessed: a sniffer that meets malformed lines settles on another format and
    # accepts them silently.
    options = (
        "auto_detect = false, header = true, quote = '\"', escape = '\"', store_rejects = true, "
        f"delim = {_literal(delimiter)}, encoding = '{settings.encoding}', columns = {{{columns}}}"
    )
    with duckdb.connect() as connection:
        data = connection.sql(
            f"select * from read_csv(?, {options})", params=[glob.escape(str(path))]
        ).to_arrow_table()
        faults = connection.sql(
            "select line, list(distinct error_type::varchar order by error_type::varchar) "
            "from reject_errors group by line order by line"
        ).fetchall()
    return _with_faults(
        data, file, [(line - 1, _row_fault(kinds, settings.encoding)) for line, kinds in faults]
    )


def _header(path: Path, delimiter: str | None, encoding: str) -> tuple[list[str], str]:
    """The column names and the delimiter."""
    opened = gzip.open if path.suffix.lower() == ".gz" else Path.open
    with opened(path, "rb") as stream:
        codec = "utf-8-sig" if encoding == "utf-8" else encoding
        text = io.TextIOWrapper(cast(IO[bytes], stream), codec, newline="")
        try:
            line = text.readline(LONGEST_HEADER)
        except (UnicodeError, gzip.BadGzipFile, EOFError) as error:
            raise UserError(
                f"{path}: the first line is not {encoding}: {error}. Say what it is under source: "
                "{path: …, encoding: latin-1}; utf-8, utf-16 and latin-1 are read."
            ) from None
    if not line.strip():
        raise UserError(f"{path}: the file is empty: expected a line with the column names first.")
    if "\0" in line:
        raise UserError(
            f"{path}: the first line is not text in {encoding}. Say what it is under source: "
            "{path: …, encoding: utf-16}; utf-8, utf-16 and latin-1 are read."
        )
    delimiter = delimiter or max(DELIMITERS, key=line.count)
    names = [
        name.strip() or f"column{position}"
        for position, name in enumerate(next(csv.reader([line], delimiter=delimiter)), start=1)
    ]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UserError(
            f"{path}: the header names {', '.join(map(repr, repeated))} more than once: every "
            "column needs a name of its own."
        )
    return names, delimiter


def _row_fault(kinds: list[str], encoding: str) -> str:
    if "INVALID ENCODING" in kinds:
        return f"the line is not {encoding}: see encoding under source"
    return ROW_FAULTS.get(kinds[0], f"the line cannot be read ({kinds[0].lower()})")


def _with_faults(data: pa.Table, file: str, faults: list[tuple[int, str]]) -> pa.Table:
    """Put the unreadable rows, which the reader left out, back at their numbers."""
    numbers = np.array([number for number, _ in faults], dtype=np.int64)
    total = data.num_rows + len(faults)
    readable = np.setdiff1d(np.arange(1, total + len(faults) + 1), numbers)[: data.num_rows]
    rows = numbered(data, file, pa.array(readable))
    if not faults:
        return rows
    empty = pa.table({field.name: pa.nulls(len(faults), field.type) for field in data.schema})
    reasons = pa.array([reason for _, reason in faults], pa.string())
    unreadable = numbered(empty, file, pa.array(numbers), reasons)
    return pa.concat_tables([rows, unreadable]).sort_by("source_row")


def _read_json_lines(path: Path, file: str, _: SourceSettings) -> pa.Table:
    with duckdb.connect() as connection:
        connection.execute(
            "create temp table lines as select row_number() over () as number, json, "
            "json_type(json) = 'OBJECT' as readable "
            "from read_ndjson_objects(?, ignore_errors = true)",
            [glob.escape(str(path))],
        )
        structure = connection.execute(
            "select json_group_structure(json) from lines where readable"
        ).fetchall()[0][0]
        if structure is None:
            raise UserError(f"{path}: the file is empty, or no line of it is a JSON object.")
        # A column of several types is text.
        types = {
            name: "VARCHAR" if kind in ("JSON", "NULL") else kind
            for name, kind in json.loads(structure).items()
        }
        data = connection.sql(
            "select unnest(json_transform(case when readable then json end, $types)) "
            "from lines order by number",
            params={"types": json.dumps(types)},
        ).to_arrow_table()
        errors = connection.sql(
            "select case when readable is not true then 'the line is not a JSON object' end "
            "as error from lines order by number"
        ).to_arrow_table()["error"]
    return numbered(data, file, errors=errors.combine_chunks())


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _without_data(error: duckdb.Error) -> str:
    # The line that DuckDB quotes may name a person, and run logs cannot be erased by row.
    lines = [line.strip() for line in str(error).splitlines()]
    return " ".join(line for line in lines[:4] if line and not line.startswith("Original Line"))


READERS: dict[str, Callable[[Path, str, SourceSettings], pa.Table]] = {
    ".parquet": _read_parquet,
    ".csv": _read_delimited,
    ".tsv": _read_delimited,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
}
