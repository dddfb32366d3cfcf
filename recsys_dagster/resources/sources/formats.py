"""One file → Arrow, by what its name says it is.

Rows that cannot be read stay in the table, empty and with the reason. Delimited files are read as
text: "007" stays "007", and each bad value is judged by its row.
"""

import errno
import glob
import gzip
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa

from recsys_dagster.catalog.source import SourceSettings
from recsys_dagster.errors import UserError
from recsys_dagster.resources.sources.delimited import read_delimited
from recsys_dagster.resources.sources.json_files import read_json
from recsys_dagster.resources.sources.sniffing import suffix_of
from recsys_dagster.resources.sources.state import numbered

Reader = Callable[[Path, str, SourceSettings], pa.Table]
SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")


def read_file(path: Path, file: str, settings: SourceSettings) -> pa.Table:
    """A whole file with the columns of `schemas.SOURCE`.

    Args:
        path: where it lies.
        file: what it is called in the table.
        settings: delimiter, encoding, names.

    Raises:
        UserError: the file cannot be read as what its name says.
    """
    reader = reader_of(path, settings)
    try:
        return reader(path, file, settings)
    except duckdb.Error as error:
        raise UserError(f"{path}: cannot be read: {_without_data(error)}") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}: the file cannot be unpacked: {error}.") from None
    except OSError as error:
        raise unreadable(path, error) from None


def reader_of(path: Path, settings: SourceSettings) -> Reader:
    """What reads a file: a file of any other name is text where its delimiter is given.

    Raises:
        UserError: nothing does.
    """
    suffix = suffix_of(path)
    if suffix in READERS:
        return READERS[suffix]
    if suffix in SPREADSHEETS:
        raise UserError(
            f"{path}: spreadsheets cannot be read: save the sheet as CSV, or name a function that "
            "returns pandas.read_excel(…) (source: python:module:function)."
        )
    if settings.delimiter is not None and suffix not in PACKED:
        return read_delimited
    advice = (
        "If it is a text file with columns, say what is between them: source: {path: …, delimiter: "
        '"|"}.'
    )
    if suffix in PACKED:
        advice = (
            "Of what is packed, text files are read that end in .csv.gz and the like: unpack it."
        )
    raise UserError(
        f"{path}: {path.suffix or 'files without a suffix'} cannot be read; expected one of "
        f"{', '.join(READERS)}, or python:module:function. {advice}"
    )


def unreadable(path: Path, error: OSError) -> UserError:
    """What the operating system says against reading a file, for people."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(
            f"{path}: there is no space left in {tempfile.gettempdir()} for the plain copy that is "
            "read: free some, or let the environment variable TMPDIR name another folder."
        )
    return UserError(f"{path}: cannot be read: {error.strerror or error}.")


def _read_parquet(path: Path, file: str, _: SourceSettings) -> pa.Table:
    with duckdb.connect() as connection:
        data = connection.sql(
            "select * from read_parquet(?)", params=[glob.escape(str(path))]
        ).to_arrow_table()
    return numbered(data, file)


def _without_data(error: duckdb.Error) -> str:
    # The line that DuckDB quotes may name a person, and run logs cannot be erased by row.
    lines = [line.strip() for line in str(error).splitlines()]
    return " ".join(line for line in lines[:4] if line and not line.startswith("Original Line"))


READERS: dict[str, Reader] = {
    ".parquet": _read_parquet,
    ".csv": read_delimited,
    ".tsv": read_delimited,
    ".tab": read_delimited,
    ".psv": read_delimited,
    ".txt": read_delimited,
    ".dat": read_delimited,
    ".data": read_delimited,
    ".jsonl": read_json,
    ".ndjson": read_json,
    ".json": read_json,
}
NAMED_ONE_BY_ONE = frozenset({".txt", ".dat", ".data", ".json"})
"""What lies in a folder under such a name may be a note or a list of settings: it is read where a
path or a pattern names it."""
PACKED = frozenset({".gz", ".zip", ".bz2", ".xz", ".zst", ".7z", ".rar", ".tar"})
