"""Names and first lines of files: what is a part of a table, a note, a matrix, a report."""

import glob
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from recsys_dagster.onboarding.proposal.names import Kind, key_rank
from recsys_dagster.onboarding.proposal.reshaping import MIN_COLUMNS
from recsys_dagster.resources.sources.formats import NAMED_ONE_BY_ONE, READERS
from recsys_dagster.resources.sources.sniffing import (
    CHUNK,
    DELIMITERS,
    TextFormat,
    cells,
    first_lines,
    open_text,
    sniff,
    suffix_of,
)

SUFFIXES_OF_TEXT = frozenset(READERS) - {".parquet", ".jsonl", ".ndjson", ".json"}
OF_ONE_SHAPE = 0.8
"""Of the first lines of a text file that may be a note: with as many cells as the first."""


def parts_of(files: Sequence[Path]) -> list[list[Path]]:
    """Groups of files: those whose names differ in digits alone may be parts of one table."""
    groups: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        groups[re.sub(r"\d+", "0", path.name)].append(path)
    found: list[list[Path]] = []
    for parts in groups.values():
        if len(parts) > 1 and _names_matching(parts) == {path.name for path in parts}:
            found.append(parts)
        else:
            found += [[path] for path in parts]
    return found


def pattern_of(parts: Sequence[Path]) -> Path:
    """The pattern that means files whose names differ in digits alone."""
    names = [path.name for path in parts]
    start = re.sub(r"\d+$", "", _beginning(names))
    end = re.sub(r"^\d+", "", _beginning([name[::-1] for name in names])[::-1])
    return parts[0].with_name(f"{glob.escape(start)}*{glob.escape(end)}")


def _beginning(names: Sequence[str]) -> str:
    """What all names begin with."""
    first, last = min(names), max(names)
    length = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), None)
    return first[:length]


def _names_matching(parts: Sequence[Path]) -> set[str]:
    return {path.name for path in parts[0].parent.glob(pattern_of(parts).name)}


def common_format(files: Sequence[Path]) -> TextFormat | None:
    """The format of all these text files; None where they have none in common.

    What is ASCII fits every encoding but those of two bytes a letter.
    """
    try:
        formats = [sniff(file) for file in files if suffix_of(file) in SUFFIXES_OF_TEXT]
        lines = [
            first_lines(file, text.encoding) for file, text in zip(files, formats, strict=True)
        ]
        encodings = {
            text.encoding
            for file, text in zip(files, formats, strict=True)
            if text.encoding != "utf-8" or not _is_ascii(file)
        }
    except (OSError, EOFError, ValueError):
        return None
    is_ascii = any(text.encoding == "utf-8" for text in formats)
    shapes = {
        (text.delimiter, text.has_header, 0 if text.has_header else len(cells(of[0], text[1])))
        for text, of in zip(formats, lines, strict=True)
        if of
    }
    if len(encodings) > 1 or len(shapes) != 1:
        return None
    encoding = next(iter(encodings), "utf-8")
    if is_ascii and encoding.startswith(("utf-16", "utf-32")):
        return None
    delimiter, has_header, _ = shapes.pop()
    return TextFormat(encoding, delimiter, has_header)


def _is_ascii(file: Path) -> bool:
    with open_text(file) as stream:
        return all(chunk.isascii() for chunk in iter(lambda: stream.read(CHUNK), b""))


def lines_above_the_header(lines: Sequence[str], sniffed: str) -> int:
    """How many lines of one cell stand above lines that have several."""
    if not lines or len(cells(lines[0], sniffed)) > 1:
        return 0
    for delimiter in DELIMITERS:
        widths = [len(cells(line, delimiter)) for line in lines]
        usual = max(set(widths[1:]), key=widths.count, default=1)
        if usual > 2 and widths[0] == 1 and widths.count(usual) >= OF_ONE_SHAPE * len(widths[4:]):
            return widths.index(usual)
    return 0


def is_matrix(header: Sequence[str]) -> bool:
    """Whether a first line that is mostly numbers is one of names: a word, then other numbers."""
    first, *others = (cell.strip() for cell in header)
    return (
        len(others) > MIN_COLUMNS
        and key_rank(first, "user_id") is not None
        and len(set(others)) == len(others)
        and not any("." in cell for cell in others)
    )


def is_table(path: Path, lines: Sequence[str], delimiter: str) -> bool:
    """Whether a text file that may be a note has the same number of cells in its lines."""
    if suffix_of(path) not in NAMED_ONE_BY_ONE:
        return True
    widths = [len(cells(line, delimiter)) for line in lines]
    return bool(widths) and widths[0] > 1 and widths.count(widths[0]) >= OF_ONE_SHAPE * len(widths)


def has_both_keys(names: Sequence[str]) -> bool:
    """Whether names of columns say that a row is about a user and an item."""
    kinds: tuple[Kind, ...] = ("user_id", "item_id")
    return all(any(key_rank(name, kind) for name in names) for kind in kinds)
