"""A text file line by line: what is read where values may span lines, or quotes may not be closed.

A quote that is not closed swallows the lines behind it, up to the next stray quote or the end of
the file. Here such a line is one unreadable row, and reading goes on at the next line.
"""

import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa

from recsys_dagster.resources.sources.sniffing import cells

MAX_RECORD_LENGTH = 2_000_000
"""Characters; DuckDB's limit, too, where it counts bytes."""
LINES_JUDGED = 20
"""Continuation lines after which a value that spans lines is judged by what they look like."""
USUAL_SHARE = 0.98
ROWS_PER_BATCH = 100_000
OPENING = re.compile(' *"')
INSIDE = re.compile('[^"]*+(?:""[^"]*+)*+')
LETTERS_AND_DIGITS = re.compile(r"[^\W_]+")

MISSING_COLUMNS = "the line has fewer columns than the header"
TOO_MANY_COLUMNS = "the line has more columns than the header"
STRAY_QUOTE = "a quote in the line is not closed, or closed too early"
TOO_LONG = "the line is longer than 2 MB"
UNDECODABLE = "undecodable"
LEFT_OVER = "the line is what a quote that is not closed, or closed too early, left over"
BLANK = frozenset({"\n", "\r\n"})


class Undecodable(str):
    """A line that is not in the encoding of its file, as far as it can be read."""

    __slots__ = ()


class _Record:
    """A record that is read line by line, as DuckDB would.

    Attributes:
        cells: what is complete.
        is_open: whether the last line ended within quotes.
        is_broken: whether a closing quote is followed by something else.
    """

    def __init__(self, delimiter: str) -> None:
        self.cells: list[str] = []
        self.is_open = False
        self.is_broken = False
        self._delimiter = delimiter
        self._value: list[str] = []
        self._closing = re.compile(rf'" *({re.escape(delimiter)}|\r?\n|\Z)')

    def feed(self, line: str) -> None:
        """Read on; the line has its end, if it has one."""
        position = 0
        while True:
            if not self.is_open:
                opened = OPENING.match(line, position)
                if opened is None:
                    end = line.find(self._delimiter, position)
                    if end < 0:
                        self.cells.append(line[position:].rstrip("\r\n"))
                        return
                    self.cells.append(line[position:end])
                    position = end + len(self._delimiter)
                    continue
                position = opened.end()
            self.is_open = True
            inside = INSIDE.match(line, position)
            self._value.append(inside[0] if inside else "")
            position += len(self._value[-1])
            if position == len(line):
                return
            closed = self._closing.match(line, position)
            self.is_open = False
            if closed is None:
                self.is_broken = True
                return
            self.cells.append("".join(self._value).replace('""', '"'))
            self._value.clear()
            position = closed.end()
            if closed[1] != self._delimiter:
                return


class Records:
    """Reads the lines of a text file into rows, readable or not.

    A value may span lines. The record is none, and only its first line is given up, where it never
    ends, is too long, has another number of columns than the header, or where its further lines
    look like records themselves: with the header's number of cells, the first of them of a shape
    that first cells have. Behind a record that is none only lines that look like records are taken,
    up to the first, and to where its quotes ended: others may be torn out of the middle of a text.

    Args:
        width: how many columns the header has.
        delimiter: between cells.
        first_cells: of some records, to know how they look.
    """

    def __init__(self, width: int, delimiter: str, first_cells: Iterable[str]) -> None:
        self._width = width
        self._delimiter = delimiter
        self._shapes = _usual_shapes(first_cells)
        self._lines: Iterator[str] = iter(())
        self._again: deque[str] = deque()
        self._follows_stray_quote = False

    def read(self, lines: Iterable[str]) -> Iterator[tuple[list[str] | None, str | None]]:
        """The cells of every record, or None and the reason why there are none.

        Args:
            lines: those behind the header, with their ends.
        """
        self._lines = iter(lines)
        while True:
            is_doubtful = self._follows_stray_quote or bool(self._again)
            line = self._next()
            if line is None:
                return
            if line in BLANK and self._width > 1:
                continue
            found, fault = self._record(line)
            if fault == STRAY_QUOTE and not is_doubtful:
                record = _Record(self._delimiter)
                record.feed(line)
                self._shapes |= _shape_of_beginning(record)
            if found is not None and is_doubtful and not self._is_known(found[0]):
                found, fault = None, LEFT_OVER
            elif found is not None or fault == STRAY_QUOTE:
                self._follows_stray_quote = found is None
            yield found, fault

    def _next(self) -> str | None:
        return self._again.popleft() if self._again else next(self._lines, None)

    def _record(self, line: str) -> tuple[list[str] | None, str | None]:
        """What begins with a line: further lines that are not its own go back."""
        if len(line) > MAX_RECORD_LENGTH:
            return None, TOO_LONG
        more: list[str] = []
        if '"' in line:
            record = _Record(self._delimiter)
            record.feed(line)
            if record.is_open:
                more = self._read_on(record, len(line))
            if record.is_open or record.is_broken:
                self._again.extendleft(reversed(more))
                return None, STRAY_QUOTE
            found = record.cells
        else:
            found = line.rstrip("\r\n").split(self._delimiter)
        if type(line) is Undecodable or any(type(other) is Undecodable for other in more):
            return None, UNDECODABLE
        # Empty cells at the end are no columns: spreadsheets write them.
        if len(found) >= self._width and not any(found[self._width :]):
            return found[: self._width], None
        if more:
            self._again.extendleft(reversed(more))
            return None, STRAY_QUOTE
        return None, MISSING_COLUMNS if len(found) < self._width else TOO_MANY_COLUMNS

    def _read_on(self, record: "_Record", size: int) -> list[str]:
        """Feed an open record with lines to its end; where it is none it is open or broken then.

        Returns:
            The lines that were fed.
        """
        shapes = self._shapes | _shape_of_beginning(record)
        more: list[str] = []
        alike: list[bool] = []
        while record.is_open and size <= MAX_RECORD_LENGTH and (line := self._next()) is not None:
            more.append(line)
            size += len(line)
            record.feed(line)
            if len(alike) < LINES_JUDGED and line.strip():
                alike.append(self._begins_a_record(line, shapes))
                if len(alike) == LINES_JUDGED and _are_records(alike):
                    break
        record.is_broken |= _are_records(alike)
        return more

    def _begins_a_record(self, line: str, shapes: set[str]) -> bool:
        alone = _Record(self._delimiter)
        alone.feed(line)
        if alone.is_open:
            found, fits = alone.cells, 0 < len(alone.cells) < self._width
        else:
            found = cells(line.rstrip("\r\n"), self._delimiter)
            fits = len(found) == self._width
        # A quote that closes in the first cell was opened in the line before.
        closes = '"' in found[0] and not line.lstrip(" ").startswith('"') if found else False
        return fits and not closes and (not shapes or _shape(found[0]) in shapes)

    def _is_known(self, first_cell: str) -> bool:
        return not self._shapes or _shape(first_cell) in self._shapes


def tables_of(
    records: Iterable[tuple[list[str] | None, str | None]], names: Sequence[str]
) -> Iterator[tuple[pa.Table, pa.Array]]:
    """Records as Arrow, a batch at a time: the columns, text or null, and the faults."""
    empty: list[str] = [""] * len(names)
    rows: list[list[str]] = []
    faults: list[str | None] = []

    def batch() -> tuple[pa.Table, pa.Array]:
        columns = (
            pa.array([cell or None for cell in cells_], pa.string())
            for cells_ in zip(*rows, strict=True)
        )
        return pa.table(dict(zip(names, columns, strict=True))), pa.array(faults, pa.string())

    for row, fault in records:
        rows.append(empty if row is None else row)
        faults.append(fault)
        if len(rows) == ROWS_PER_BATCH:
            yield batch()
            rows, faults = [], []
    if rows:
        yield batch()


def _are_records(alike: Sequence[bool]) -> bool:
    """Whether lines are records of their own, by which of them look like it.

    Not all need to: some may be broken themselves, or continue the value of another.
    """
    if not alike:
        return False
    return sum(alike) >= (0.5 if alike[0] else 0.8) * len(alike)


def _usual_shapes(first_cells: Iterable[str]) -> set[str]:
    """The commonest; the rest may be of lines torn out of texts, as an empty one is."""
    counts = Counter(shape for shape in map(_shape, first_cells) if shape)
    left = USUAL_SHARE * counts.total()
    usual: set[str] = set()
    for shape, count in counts.most_common():
        if left <= 0 or (usual and count == 1):
            break
        usual.add(shape)
        left -= count
    return usual


def _shape_of_beginning(record: _Record) -> set[str]:
    return {_shape(cell) for cell in record.cells[:1] if cell}


def _shape(cell: str) -> str:
    """What a cell looks like: digits as 9, letters as a, both in one word as x."""
    return LETTERS_AND_DIGITS.sub(
        lambda found: "9" if found[0].isdecimal() else "a" if found[0].isalpha() else "x",
        cell.strip(' "'),
    )
