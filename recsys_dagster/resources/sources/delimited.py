"""One delimited text file → Arrow. Rows that cannot be read stay, empty and with the reason.

DuckDB reads what has one record a line. What has not is read by `records`: only the number of
lines tells a value that spans lines from lines swallowed by a quote that is not closed.
"""

import codecs
import glob
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys_dagster.catalog.source import SourceSettings
from recsys_dagster.errors import UserError
from recsys_dagster.resources.sources import records
from recsys_dagster.resources.sources.plain import first_line, write_plain
from recsys_dagster.resources.sources.sniffing import (
    CHUNK,
    DELIMITER_OF_SUFFIX,
    cells,
    first_lines,
    marked_encoding,
    open_text,
    places_of_data,
    sniff_delimiter,
    suffix_of,
)
from recsys_dagster.resources.sources.state import numbered, require_distinct
from recsys_dagster.sql import literal

ENCODINGS_OF_DUCKDB = {"utf-8": "utf-8", "iso8859-1": "latin-1"}
ROW_FAULTS = {
    "MISSING COLUMNS": records.MISSING_COLUMNS,
    "TOO MANY COLUMNS": records.TOO_MANY_COLUMNS,
    "UNQUOTED VALUE": records.STRAY_QUOTE,
    "LINE SIZE OVER MAXIMUM": records.TOO_LONG,
    "INVALID ENCODING": records.UNDECODABLE,
}
CELLS_KNOWN = 5_000


class _Text(NamedTuple):
    """A text file and how to read it; `header` is how many lines come before the first row."""

    path: Path
    encoding: str
    delimiter: str
    names: list[str]
    header: int


class _NotOneRecordALineError(Exception):
    """Some record has several lines, or none: where each begins must be found line by line."""

    def __init__(self, first_cells: Sequence[str | None]) -> None:
        super().__init__()
        self.first_cells = first_cells


def read_delimited(path: Path, file: str, settings: SourceSettings) -> pa.Table:
    """A whole text file with the columns of `schemas.SOURCE`.

    Args:
        path: where it lies.
        file: what it is called in the table.
        settings: delimiter, encoding, names.

    Raises:
        UserError: the first line does not name the columns, or is not in the encoding.
        OSError: the file cannot be read, or there is no room for a plain copy.
    """
    text, is_plain = _described(path, settings)
    with tempfile.TemporaryDirectory() as folder:
        try:
            if not is_plain:
                raise duckdb.InvalidInputException
            data, errors = _read(text)
        except duckdb.InvalidInputException:
            plain = Path(folder) / "plain.csv"
            write_plain(path, plain, text.encoding)
            copy = text._replace(path=plain, encoding="utf-8")
            try:
                data, errors = _read(copy)
            except duckdb.InvalidInputException:  # its parser gives up on the whole file
                data, errors = _read_by_record(copy, ())
    reason = f"the line is not {text.encoding}: see encoding under source"
    is_undecodable = pc.call_function("equal", [errors, pa.scalar(records.UNDECODABLE)])
    told = pc.call_function("if_else", [is_undecodable, pa.scalar(reason), errors])
    return numbered(data, file, errors=told)


def _described(path: Path, settings: SourceSettings) -> tuple[_Text, bool]:
    """How to read a file, and whether it can be read without a plain copy."""
    encoding = marked_encoding(path) or settings.encoding.removesuffix("-sig")
    line, end = first_line(path, encoding)
    delimiter = settings.delimiter or sniff_delimiter(
        first_lines(path, encoding), DELIMITER_OF_SUFFIX.get(suffix_of(path))
    )
    if settings.names is None:
        names, header = _header(path, line, delimiter), 1
    else:
        names, header = list(settings.names), 0
        _require_width(path, first_lines(path, encoding), delimiter, len(names))
    require_distinct(names, str(path))
    is_plain = end != "\r" and encoding in ENCODINGS_OF_DUCKDB
    return _Text(path, encoding, delimiter, names, header), is_plain


def _header(path: Path, line: str, delimiter: str) -> list[str]:
    if line.count('"') % 2:
        raise UserError(f"{path}: a quote in the line with the column names is not closed.")
    header = cells(line, delimiter)
    places = places_of_data(header)
    if places:
        shown = ", ".join(f"column{place}" for place in range(1, min(len(header), 9) + 1))
        raise UserError(
            f"{path}: the first line is no header: its column {places[0]} is a number or a date, "
            f"which is no name. If it is a row, name the {len(header)} columns under source: "
            f"{{path: …, names: [{shown}{', …' if len(header) > 9 else ''}]}}; if it is the "
            "header, give that column a name, or read the file by a query (source: {sql: …})."
        )
    return [name.strip() or f"column{place}" for place, name in enumerate(header, start=1)]


def _require_width(path: Path, lines: list[str], delimiter: str, width: int) -> None:
    # Any line will do: the first may be broken, which is a fault of a row.
    widths = [len(cells(line, delimiter)) for line in lines]
    if widths and width not in widths:
        raise UserError(
            f"{path}: names has {width} name{'s' if width > 1 else ''}, and the first line has "
            f"{widths[0]} columns between {delimiter!r}: every column needs a name."
        )


def _read(text: _Text) -> tuple[pa.Table, pa.Array | pa.ChunkedArray]:
    """The rows, those that cannot be read being empty, and the reasons why they cannot."""
    try:
        return _read_by_line(text)
    except _NotOneRecordALineError as found:
        return _read_by_record(text, found.first_cells)


def _read_by_line(text: _Text) -> tuple[pa.Table, pa.Array]:
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in text.names)
    # Nothing is guessed: a sniffer that meets malformed lines settles on another format and
    # accepts them silently.
    options = (
        f"auto_detect = false, header = {bool(text.header)}, quote = '\"', escape = '\"', "
        f"store_rejects = true, delim = {literal(text.delimiter)}, "
        f"encoding = '{ENCODINGS_OF_DUCKDB[text.encoding]}', columns = {{{columns}}}"
    )
    with duckdb.connect() as connection:
        data = connection.sql(
            f"select * from read_csv(?, {options})", params=[glob.escape(str(text.path))]
        ).to_arrow_table()
        faults = connection.sql(
            "select line, max(error_type::varchar), bool_or(error_type::varchar = "
            "'INVALID ENCODING') from reject_errors group by line order by line"
        ).fetchall()
    lines, blank = _count_lines(text.path)
    # A single column may be empty.
    expected = lines - text.header - (blank if len(text.names) > 1 else 0)
    # What follows a stray quote may be torn out of a text.
    is_torn = any(ROW_FAULTS.get(kind) == records.STRAY_QUOTE for _, kind, _ in faults)
    if data.num_rows + len(faults) != expected or (faults and blank) or is_torn:
        # Few rows behind the first fault may be torn out of texts; among many those are rare.
        sound = faults[0][0] - text.header - 1 if faults else data.num_rows
        known = sound if data.num_rows < CELLS_KNOWN else CELLS_KNOWN
        raise _NotOneRecordALineError(data[0].slice(0, known).to_pylist())
    if not faults:
        return data, pa.nulls(data.num_rows, pa.string())
    reasons = np.full(expected, None, dtype=object)
    is_broken = np.zeros(expected, dtype=bool)
    for line, kind, is_undecodable in faults:
        known = ROW_FAULTS.get("INVALID ENCODING" if is_undecodable else kind)
        place = line - text.header - 1
        reasons[place] = known or f"the line cannot be read ({kind.lower()})"
        is_broken[place] = True
    places = pa.array(np.cumsum(~is_broken) - 1, mask=is_broken)
    return data.take(places), pa.array(reasons, pa.string())


def _count_lines(path: Path) -> tuple[int, int]:
    """How many lines a file has, and how many of them are blank."""
    lines = blank = 0
    before = b"\n"
    with open_text(path) as stream:
        while chunk := stream.read(CHUNK):
            known = before + chunk
            content = np.frombuffer(known, np.uint8)
            ends = np.flatnonzero(content == ord("\n"))
            lengths = np.diff(ends)
            returns = content[ends[1:] - 1] == ord("\r")
            blank += int(np.count_nonzero((lengths == 1) | ((lengths == 2) & returns)))
            lines += len(ends) - (before[:1] == b"\n")
            # From the last line end on: what comes next may be a blank line's.
            before = known[ends[-1] :][:3] if len(ends) else before[:3]
    return lines + (before != b"\n"), blank


def _read_by_record(
    text: _Text, first_cells: Sequence[str | None]
) -> tuple[pa.Table, pa.ChunkedArray]:
    known = [cell or "" for cell in first_cells if "\n" not in (cell or "")]
    reader = records.Records(len(text.names), text.delimiter, known)
    batches = list(records.tables_of(reader.read(_lines(text)), text.names))
    schema = pa.schema([(name, pa.string()) for name in text.names])
    data = pa.concat_tables([schema.empty_table(), *(data for data, _ in batches)])
    return data, pa.chunked_array([errors for _, errors in batches], pa.string())


def _lines(text: _Text) -> Iterator[str]:
    """The lines behind the header, with their ends."""
    with open_text(text.path) as stream:
        if stream.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
            stream.seek(0)
        for line in itertools.islice(stream, text.header, None):
            try:
                yield line.decode(text.encoding)
            except UnicodeDecodeError:
                yield records.Undecodable(line.decode(text.encoding, errors="replace"))
