"""Text files of any encoding and any line ends as UTF-8, which the readers know."""

import codecs
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from recsys_dagster.errors import UserError
from recsys_dagster.resources.sources.sniffing import CHUNK, open_text, sniff_encoding

MAX_HEADER_LENGTH = 1_000_000
OTHERS = {
    b"\x1f\x8b": "is packed by gzip: let its name end in .gz",
    b"PK\x03\x04": "is a spreadsheet or a zip file: save the sheet as CSV, or unpack the file",
    b"\xd0\xcf\x11\xe0": "is a spreadsheet: save the sheet as CSV",
    b"PAR1": "is Parquet: let its name end in .parquet",
    b"SQLite format 3\x00": "is a database: name it by source: {database: …, table: …}",
    b"\x28\xb5\x2f\xfd": "is packed by zstd: unpack it",
    b"BZh": "is packed by bzip2: unpack it",
    b"\xfd7zXZ": "is packed by xz: unpack it",
    b"7z\xbc\xaf": "is packed by 7-Zip: unpack it",
}
"""What other files begin with, and what to do with them where a name says that they are text."""
NOT_UTF8 = b"\xff\n"
"""Stands for a line that is not in the encoding of its file: the readers reject it by its row."""


def first_line(path: Path, encoding: str) -> tuple[str, str]:
    """The first line of a file and what ends it, if anything does.

    Raises:
        UserError: there is none, or it is not in the encoding.
    """
    with open_text(path) as stream:
        start = stream.read(MAX_HEADER_LENGTH)
    try:
        if is_of_wide_units(encoding):
            text = codecs.getincrementaldecoder(encoding)().decode(start)
        else:
            # Not what comes behind it: a broken line there is a fault of a row.
            line = start.partition(b"\n")[0].partition(b"\r")[0]
            text = line.decode(encoding) + start[len(line) :][:2].decode("ascii", "replace")
    except UnicodeError as error:
        fault = f"the first line is not {encoding}: {error}. {_hint(path, encoding)}"
        raise UserError(f"{path}: {_other_kind(start) or fault}") from None
    text = text.removeprefix("\ufeff")
    line = text.partition("\n")[0].partition("\r")[0]
    if "\0" in line:
        fault = f"the first line is not text in {encoding}. {_hint(path, encoding)}"
        raise UserError(f"{path}: {_other_kind(start) or fault}")
    if not line.strip():
        content = start.removeprefix(codecs.BOM_UTF8).strip()
        fault = "the first line is blank" if content else "the file is empty"
        raise UserError(f"{path}: {fault}: expected a line with the column names.")
    rest = text[len(line) :]
    return line, next((end for end in ("\r\n", "\r", "\n") if rest.startswith(end)), "")


def _other_kind(start: bytes) -> str | None:
    """What a file is that is no text, where it is known by how it begins."""
    known = (told for mark, told in OTHERS.items() if start.startswith(mark))
    return next(
        (f"the file is no text, whatever its name says: it {told}." for told in known), None
    )


def _hint(path: Path, encoding: str) -> str:
    likely = sniff_encoding(path)
    known = likely if likely != encoding else "latin-1"
    return f"Say what it is under source: {{path: …, encoding: {known}}}."


def is_of_wide_units(encoding: str) -> bool:
    """Whether a line end has several bytes: such a text is not cut into lines undecoded."""
    return encoding.startswith(("utf-16", "utf-32"))


def write_plain(path: Path, plain: Path, encoding: str) -> None:
    """Copy a text file as UTF-8 with one kind of line end.

    A line that is not in the encoding becomes one that is not UTF-8. Where the first line ends
    with a carriage return alone, so do the others.

    Raises:
        OSError: the file cannot be read, or the copy not be written.
    """
    with open_text(path) as stream, plain.open("wb") as copy:
        for lines in _chunks_of_lines(stream, encoding):
            copy.write(_utf8(lines, encoding).replace(b"\r\n", b"\n"))


def _chunks_of_lines(stream: IO[bytes], encoding: str) -> Iterator[list[bytes]]:
    """Lines of bytes; those of UTF-16 and UTF-32 are UTF-8 already."""
    start = stream.read(MAX_HEADER_LENGTH)
    stream.seek(0)
    if is_of_wide_units(encoding):
        content = _narrow(stream.read(), encoding)
        is_of_returns = _ends_with_return(content)
    else:
        is_of_returns = _ends_with_return(start)
        content = stream.read() if is_of_returns else None
    if content is not None:
        if is_of_returns:
            content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        stream = io.BytesIO(content)
    while lines := stream.readlines(CHUNK):
        yield lines


def _ends_with_return(content: bytes) -> bool:
    line = content.partition(b"\n")[0]
    return b"\r" in line.removesuffix(b"\r") or (line.endswith(b"\r") and len(line) == len(content))


def _narrow(content: bytes, encoding: str) -> bytes:
    try:
        text = content.decode(encoding, "surrogatepass")
    except UnicodeDecodeError as error:
        text = content[: error.start].decode(encoding, "surrogatepass") + "\ud800"
    return text.removeprefix("\ufeff").encode("utf-8", "surrogatepass")


def _utf8(lines: list[bytes], encoding: str) -> bytes:
    if encoding == "utf-8" or is_of_wide_units(encoding):
        return b"".join(lines).removeprefix(codecs.BOM_UTF8)
    try:
        return b"".join(lines).decode(encoding).encode()
    except UnicodeDecodeError:
        return b"".join(_utf8_line(line, encoding) for line in lines)


def _utf8_line(line: bytes, encoding: str) -> bytes:
    try:
        return line.decode(encoding).encode()
    except UnicodeDecodeError:
        return NOT_UTF8
