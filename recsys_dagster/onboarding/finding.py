"""What tables a folder has: files, folders of files, databases, and remarks on all that is none."""

import glob
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys_dagster.catalog.source import SourceSettings
from recsys_dagster.errors import UserError
from recsys_dagster.onboarding.proposal import Candidate
from recsys_dagster.onboarding.proposal.languages import fold
from recsys_dagster.onboarding.proposal.names import key_rank
from recsys_dagster.onboarding.shapes import (
    SUFFIXES_OF_TEXT,
    common_format,
    has_both_keys,
    is_matrix,
    is_table,
    lines_above_the_header,
    parts_of,
    pattern_of,
)
from recsys_dagster.resources.sources import read_source
from recsys_dagster.resources.sources.databases import is_sqlite, relation, tables_of
from recsys_dagster.resources.sources.files import find_here, left_out
from recsys_dagster.resources.sources.formats import NAMED_ONE_BY_ONE, READERS, SPREADSHEETS
from recsys_dagster.resources.sources.sniffing import (
    TextFormat,
    cells,
    first_lines,
    sniff,
    suffix_of,
)
from recsys_dagster.resources.sources.state import state_of
from recsys_dagster.resources.warehouse import comment_of, to_pandas
from recsys_dagster.sql import literal
from recsys_dagster.steps.prepare.columns import own_columns

DATABASES = (".duckdb", ".sqlite", ".sqlite3", ".db", ".db3", ".ddb")
NOTES = re.compile(
    r"readme|licen[cs]e|notice|copying|changelog|authors|citation|liesmich|lizenz|lisezmoi|"
    r"requirements|manifest|metadata$",
    re.IGNORECASE,
)
"""Names of files about tables that are none."""
MAX_ROWS = 1_000_000
"""Of a table of users and items that are looked at; of larger ones so many by chance. Tables that
others point to are looked at whole: of a sample nobody knows what is not in them."""
MAX_UNREADABLE_SHARE = 0.5
ENCODINGS_OF_QUERIES = ("utf-8",)
PARTITION = re.compile(r"[^=/]+=[^=/]+")


@dataclass
class Found:
    """The tables of a folder, and remarks on what is none.

    Attributes:
        base: where paths in the YAML start.
    """

    base: Path
    candidates: list[Candidate] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def look_into(self, place: Path) -> None:
        """Take every file, folder and database in a folder, or a file alone."""
        others, sheets, notes = [], [], []
        files = []
        inside = [place.resolve()] if place.is_file() else sorted(place.resolve().iterdir())
        others += [path.name for path in inside if not (path.is_dir() or path.is_file())]  # pipes
        for path in inside:
            if path.name.startswith((".", "_", "~")) or path.name in others:
                continue
            suffix = suffix_of(path)
            if path.is_dir():
                self._take_folder(path)
            elif path.suffix.lower() in DATABASES:
                self._take_database(path)
            elif path.suffix.lower() in SPREADSHEETS:
                sheets.append(path.name)
            elif suffix in READERS and not NOTES.search(path.name.partition(".")[0]):
                files.append(path)
            elif suffix in (*READERS, ".md", ".pdf", ".rst", ".html"):
                notes.append(path.name)
            else:
                others.append(path.name)
        for parts in parts_of(files):
            self._take_files(parts)
        if sheets:
            self.remarks.append(
                f"{', '.join(sheets)}: spreadsheets are not read. Save each sheet as CSV (UTF-8) "
                "in this folder and run init again."
            )
        if notes:
            self.remarks.append(f"Taken for notes, not for tables: {', '.join(notes)}.")
        if others:
            self.remarks.append(
                f"Not in a format that is read: {', '.join(others)}. Of text files the name must "
                "say so: end it in .csv, whatever is between the columns."
            )

    def _take_files(self, parts: Sequence[Path]) -> None:
        """Files that are parts of one table, or one file."""
        text = common_format(parts)
        if len(parts) > 1 and (text is not None or suffix_of(parts[0]) not in SUFFIXES_OF_TEXT):
            pattern = pattern_of(parts)
            settings = {"path": self._relative(pattern)}
            if text is not None:
                settings["encoding"] = text.encoding
            read = self._read(settings, pattern.name, quiet=True)
            if read is not None and _is_one_table(read):
                self._take_file(parts[0], pattern, text)
                return
        for path in parts:
            self._take_file(path, path)

    def _take_file(self, path: Path, pattern: Path, common: TextFormat | None = None) -> None:
        """A file, or the files of a pattern or a folder that have a format in common."""
        settings: dict[str, Any] = {"path": self._relative(pattern)}
        if path == pattern and glob.has_magic(settings["path"]) and not path.is_file():
            settings["path"] = glob.escape(settings["path"])
        is_headerless = False
        if suffix_of(path) in SUFFIXES_OF_TEXT:
            try:
                text = common or sniff(path)
                lines = first_lines(path, text.encoding)
            except (OSError, EOFError, UnicodeError) as error:
                self.remarks.append(f"Left aside: {pattern.name}: it cannot be read: {error}.")
                return
            if not is_table(path, lines, text.delimiter):
                self.remarks.append(f"Taken for a note, not for a table: {pattern.name}.")
                return
            above = lines_above_the_header(lines, text.delimiter)
            if above:
                self.remarks.append(
                    f"Left aside: {pattern.name}: the line with the column names seems to be line "
                    f"{above + 1}: remove what is above the header, and run init again."
                )
                return
            if not text.has_header and is_matrix(cells(lines[0], text.delimiter)):
                self._take_matrix(path, pattern, text, cells(lines[0], text.delimiter))
                return
            if text.encoding != "utf-8":
                settings["encoding"] = text.encoding
            if suffix_of(path) in NAMED_ONE_BY_ONE:
                settings["delimiter"] = text.delimiter
            if not text.has_header and lines:
                is_headerless = True
                width = len(cells(lines[0], text.delimiter))
                settings["names"] = [f"column{place}" for place in range(1, width + 1)]
        read = self._read(settings, pattern.name)
        if read is None:
            return
        unreadable = read.num_rows - read["source_error"].null_count
        if unreadable > MAX_UNREADABLE_SHARE * read.num_rows:
            self.remarks.append(
                f"Left aside: {pattern.name}: its first line does not name the columns of the "
                "lines below it. Where the header is further down, remove the lines above it."
            )
            return
        source = settings if len(settings) > 1 else settings["path"]
        self._add(source, read, is_headerless=is_headerless)

    def _take_matrix(self, path: Path, pattern: Path, text: TextFormat, header: list[str]) -> None:
        """A table with a column for each item, named by numbers, which no other table has."""
        names = [name.strip() for name in header]
        is_read = text.encoding in ENCODINGS_OF_QUERIES and path == pattern
        if not is_read or len(set(names)) < len(names):
            self.remarks.append(
                f"Left aside: {pattern.name}: a column for each item. Write one row for each user "
                "and item (unpivot, or melt in pandas) to a new file."
            )
            return
        settings = {"path": self._relative(path), "encoding": text.encoding, "names": names}
        read = self._read(settings | {"delimiter": text.delimiter}, path.name)
        if read is None:
            return
        place = literal(glob.escape(self._relative(path)))
        query = (
            f"read_csv({place}, all_varchar = true, header = true, auto_detect = false, "
            f"delim = '{text.delimiter}', quote = '\"', escape = '\"', columns = "
            f"{{{', '.join(literal(name) + ': ' + literal('VARCHAR') for name in names)}}})"
        )
        frame = to_pandas(read.slice(1).select(own_columns(read.column_names)))
        self.candidates.append(
            Candidate({"sql": f"select * from {query}"}, frame, query, {}, name=path.name)
        )

    def _take_folder(self, folder: Path) -> None:
        try:
            files = find_here(folder)
        except UserError:
            # Nothing in it is a table that can be read.
            self.remarks += [f"{folder.name}: {remark}" for remark in left_out(folder)]
            return
        relative = self._relative(folder)
        suffixes = {suffix_of(file) for file in files.values()}
        if suffixes == {".parquet"} and all(
            all(map(PARTITION.fullmatch, Path(name).parts[:-1])) and "/" in name for name in files
        ):
            self._take_partitions(relative, folder.name, files)
            return
        texts = [file for file in files.values() if suffix_of(file) in SUFFIXES_OF_TEXT]
        text = common_format(texts)
        if texts and text is None:
            self.remarks.append(
                f"{folder.name}: its files are taken one by one, since their encodings, their "
                "delimiters or their first lines differ."
            )
            for file in files.values():
                self._take_file(file, file)
            return
        if text is not None and not text.has_header and len(texts) == len(files):
            self._take_file(texts[0], folder, text)
            return
        settings: dict[str, Any] = {"path": relative}
        if text is not None and text.encoding != "utf-8":
            settings["encoding"] = text.encoding
        read = self._read(settings, folder.name)
        if read is None:
            return
        if not _is_one_table(read):
            self.remarks.append(
                f"Left aside: {folder.name}: its files have different columns, so they are no one "
                "table."
            )
            return
        self._add(settings if len(settings) > 1 else relative, read)

    def _take_partitions(self, relative: str, name: str, files: Iterable[str]) -> None:
        # Not **, which means hidden folders too, such as those of a program that is still writing.
        depths = sorted({file.count("/") for file in files})
        patterns = [
            literal(f"{glob.escape(relative)}/{'[!._]*=*/' * depth}[!._]*.parquet")
            for depth in depths
        ]
        query = (
            f"from read_parquet([{', '.join(patterns)}], hive_partitioning = true, "
            "union_by_name = true)"
        )
        source = {"sql": f"select * {query}"}
        read = self._read(source, name)
        if read is not None:
            frame = to_pandas(read.select(own_columns(read.column_names)))
            place = f"(select * {query})"
            self.candidates.append(Candidate(source, frame, place, {}, name=name))

    def _take_database(self, path: Path) -> None:
        database = self._relative(path)
        try:
            tables = tables_of(path)
            sqlite = is_sqlite(path)
        except UserError as error:
            self.remarks.append(f"Left aside: {path.name}: {error}")
            return
        for table in tables:
            source = {"database": database, "table": table}
            read = self._read(source, f"{path.name}, table {table}")
            if read is not None:
                place = relation(table, path, database)
                if sqlite:
                    place = place.removeprefix('"main".')
                self._add(
                    source, read, place, {"database": database}, "sqlite" if sqlite else "duckdb"
                )

    def _read(
        self, source: str | dict[str, Any], name: str, quiet: bool = False
    ) -> pa.Table | None:
        settings = {"path": source} if isinstance(source, str) else source
        try:
            found = read_source(SourceSettings.model_validate(settings), self.base)
            read = found.rows
        except (UserError, OSError, ValueError) as error:
            if not quiet:
                self.remarks.append(f"Left aside: {name}: {error}")
            return None
        unreadable = read.num_rows - read["source_error"].null_count
        if not read.num_rows and not quiet:
            self.remarks.append(f"Left aside: {name}: there is no row in it.")
        if unreadable and not quiet:
            self.remarks.append(f"{name}: {unreadable:,} of {read.num_rows:,} rows are unreadable.")
        if not quiet:
            self.remarks += [f"{name}: {remark}" for remark in found.remarks]
        return read

    def _add(
        self,
        source: str | dict[str, Any],
        read: pa.Table,
        place: str | None = None,
        context: dict[str, Any] | None = None,
        dialect: str = "duckdb",
        is_headerless: bool = False,
    ) -> None:
        readable = read.filter(pc.field("source_error").is_null())
        rows = readable.num_rows
        distinct = {}
        is_sampled = rows > MAX_ROWS and has_both_keys(read.column_names)
        if is_sampled:
            distinct = {
                name: len(readable[name].drop_null().unique())
                for name in own_columns(read.column_names)
                if key_rank(name, "user_id") or key_rank(name, "item_id")
            }
            chosen = np.random.default_rng(0).choice(rows, MAX_ROWS, replace=False)
            readable = readable.take(np.sort(chosen))
        frame = to_pandas(readable.select(own_columns(read.column_names)))
        if place is None:
            alias = self._alias(source)
            place, context = f'"{alias}"', {"tables": {alias: source}}
        self.candidates.append(
            Candidate(
                source,
                frame,
                place,
                context or {},
                dialect=dialect,
                is_headerless=is_headerless,
                rows=rows if is_sampled else 0,
                distinct=distinct,
            )
        )

    def _alias(self, source: str | dict[str, Any]) -> str:
        """What a query calls a file."""
        path = source if isinstance(source, str) else source["path"]
        stem = fold(Path(path).name).partition(".")[0].lower()
        alias = re.sub(r"\W+", "_", stem).strip("_") or "rows"
        taken = {name for one in self.candidates for name in one.context.get("tables", {})}
        number = 1
        free = alias
        while free in taken:
            number += 1
            free = f"{alias}_{number}"
        return free

    def _relative(self, path: Path) -> str:
        return Path(os.path.relpath(path, self.base)).as_posix()


def _is_one_table(read: pa.Table) -> bool:
    columns = [set(file["columns"]) for file in state_of(comment_of(read))["files"].values()]
    return 2 * len(set.intersection(*columns)) >= len(set.union(*columns))
