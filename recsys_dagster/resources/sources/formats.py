"""One file → Arrow. Rows that cannot be read stay in the table, empty and with the reason.

Delimited files are read as text: "007" stays "007", and each bad value is judged by its row.
"""

import csv
import glob
import gzip
import io
import json
import re
import tempfile
from bisect import bisect_left
from codecs import BOM_UTF8
from collections.abc import Callable
from pathlib import Path
from typing import IO, cast

import duckdb
import numpy as np
import pyarrow as pa

from recsys_dagster.errors import UserError
from recsys_dagster.resources.sources.state import numbered, require_distinct
from recsys_dagster.source import SourceSettings

LONGEST_HEADER = 1_000_000
DELIMITERS = (",", ";", "\t", "|")
BLANK_LINE = re.compile(rb"(?<=\n)\r?\n")
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
    try:
        if settings.encoding == "utf-16":  # the reader knows no characters beyond the first 65,536
            raise duckdb.InvalidInputException
        data, faults = _read_csv(path, names, delimiter, settings.encoding)
    except duckdb.InvalidInputException:
        with tempfile.TemporaryDirectory() as folder:
            plain = Path(folder) / "plain.csv"
            _write_plain(path, plain, settings.encoding)
            data, faults = _read_csv(plain, names, delimiter, "utf-8")
    return _with_faults(
        data, file, [(number, _row_fault(kinds, settings.encoding)) for number, kinds in faults]
    )


def _read_csv(
    path: Path, names: list[str], delimiter: str, encoding: str
) -> tuple[pa.Table, list[tuple[int, list[str]]]]:
    """The readable rows, and the numbers of the others with what is wrong with them."""
    columns = ", ".join(f"{_literal(name)}: 'VARCHAR'" for name in names)
    # Nothing is guessed: a sniffer that meets malformed lines settles on another format and
    # accepts them silently.
    options = (
        "auto_detect = false, header = true, quote = '\"', escape = '\"', store_rejects = true, "
        f"delim = {_literal(delimiter)}, encoding = '{encoding}', columns = {{{columns}}}"
    )
    with duckdb.connect() as connection:
        data = connection.sql(
            f"select * from read_csv(?, {options})", params=[glob.escape(str(path))]
        ).to_arrow_table()
        faults = connection.sql(
            "select line, min(line_byte_position), "
            "list(distinct error_type::varchar order by error_type::varchar) "
            "from reject_errors group by line order by line"
        ).fetchall()
    blank = _blank_lines(path, [position for _, position, _ in faults]) if faults else []
    return data, [
        (line - 1 - skipped, kinds) for (line, _, kinds), skipped in zip(faults, blank, strict=True)
    ]


def _blank_lines(path: Path, positions: list[int]) -> list[int]:
    """How many blank lines come before each byte position: they are lines and no rows."""
    with _open(path) as stream:
        ends = [match.start() for match in BLANK_LINE.finditer(stream.read(max(positions) + 1))]
    return [bisect_left(ends, position - 1) for position in positions]


def _write_plain(path: Path, plain: Path, encoding: str) -> None:
    """Copy a text file as UTF-8 with one kind of line end."""
    with _open(path) as stream:
        content = stream.read()
    if encoding != "utf-8":
        try:
            content = content.decode(encoding).encode()
        except UnicodeDecodeError as error:
            raise UserError(
                f"{path}: the file is not {encoding}: {error}. Say what it is under source: "
                "{path: …, encoding: latin-1}; utf-8, utf-16 and latin-1 are read."
            ) from None
    plain.write_bytes(content.removeprefix(BOM_UTF8).replace(b"\r\n", b"\n"))


def _open(path: Path) -> IO[bytes]:
    opener = gzip.open if path.suffix.lower() == ".gz" else Path.open
    return cast(IO[bytes], opener(path, "rb"))


def _header(path: Path, delimiter: str | None, encoding: str) -> tuple[list[str], str]:
    """The column names and the delimiter."""
    hint = (
        "Say what it is under source: {path: …, encoding: latin-1}; utf-8 and utf-16 are read too."
    )
    with _open(path) as stream:
        try:
            if encoding == "utf-16":
                line = io.TextIOWrapper(stream, encoding, newline="").readline(LONGEST_HEADER)
            else:
                # Not through a decoder, which looks far ahead and stumbles over later lines.
                line = stream.readline(LONGEST_HEADER).removeprefix(BOM_UTF8).decode(encoding)
        except UnicodeError as error:
            raise UserError(f"{path}: the first line is not {encoding}: {error}. {hint}") from None
        except (gzip.BadGzipFile, EOFError) as error:
            raise UserError(f"{path}: the file cannot be unpacked: {error}.") from None
        if not line.strip():
            fault = "the first line is blank" if stream.read(1) else "the file is empty"
            raise UserError(f"{path}: {fault}: expected a line with the column names.")
    if "\0" in line:
        raise UserError(f"{path}: the first line is not text in {encoding}. {hint}")
    if line.count('"') % 2:
        raise UserError(f"{path}: a quote in the line with the column names is not closed.")
    line = line.splitlines()[0]
    delimiter = delimiter or max(DELIMITERS, key=line.count)
    names = [
        name.strip() or f"column{position}"
        for position, name in enumerate(next(csv.reader([line], delimiter=delimiter)), start=1)
    ]
    require_distinct(names, str(path))
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
    with _open(path) as stream:
        marked = stream.read(len(BOM_UTF8)) == BOM_UTF8
    if not marked:
        return _read_json_objects(path, file, path)
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.jsonl"
        _write_plain(path, plain, "utf-8")
        return _read_json_objects(plain, file, path)


def _read_json_objects(readable: Path, file: str, path: Path) -> pa.Table:
    with duckdb.connect() as connection:
        connection.execute(
            "create temp table lines as select row_number() over () as number, json, "
            "json_type(json) = 'OBJECT' as readable "
            "from read_ndjson_objects(?, ignore_errors = true)",
            [glob.escape(str(readable))],
        )
        found = connection.execute(
            "select json_group_structure(json) from lines where readable"
        ).fetchall()[0][0]
        structure = json.loads(found) if found is not None else None
        if not isinstance(structure, dict):
            raise UserError(
                f"{path}: the file is empty, or no line of it is a JSON object with a value."
            )
        require_distinct(list(structure), str(path))
        # A column of several types is text.
        types = {
            name: "VARCHAR" if kind in ("JSON", "NULL") else kind
            for name, kind in structure.items()
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
