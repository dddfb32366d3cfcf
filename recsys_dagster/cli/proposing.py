"""`recsys init`: a folder of tables → a catalog's YAML file."""

import codecs
import glob
import gzip
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from recsys_dagster.catalog import NAME
from recsys_dagster.catalogs import catalogs_folder, read_catalog
from recsys_dagster.errors import UserError
from recsys_dagster.proposal import Candidate, propose, render
from recsys_dagster.resources.sources import read_source
from recsys_dagster.resources.sources.databases import SQLITE_MAGIC
from recsys_dagster.resources.sources.files import find_files
from recsys_dagster.resources.sources.formats import READERS, suffix_of
from recsys_dagster.resources.sources.state import state_of
from recsys_dagster.resources.warehouse import quote, to_pandas
from recsys_dagster.source import SourceSettings
from recsys_dagster.steps.columns import own_columns

DATABASES = (".duckdb", ".sqlite", ".sqlite3", ".db")
TEXTS = (".csv", ".tsv")
QUERIES = {
    ".parquet": "read_parquet({}{})",
    ".csv": "read_csv({}, all_varchar = true, header = true{})",
    ".tsv": "read_csv({}, all_varchar = true, header = true, delim = '\t'{})",
    ".jsonl": "read_json({}, format = 'newline_delimited'{})",
    ".ndjson": "read_json({}, format = 'newline_delimited'{})",
}
SQLITE_TABLES = (
    "select name from sqlite_master where type in ('table', 'view') "
    "and name not like 'sqlite\\_%' escape '\\' order by name"
)
DUCKDB_TABLES = (
    "select table_name as name from information_schema.tables where table_schema = 'main' "
    "order by table_name"
)
CHUNK = 1 << 20
LONGEST_NAME = 40


def init_catalog(folder: Path, name: str | None, force: bool) -> Path:
    """Propose a catalog from the tables of a folder and write it to the catalogs' folder.

    Args:
        folder: files, folders of files, and databases.
        name: of the catalog; made from the folder's where left out.
        force: replace a catalog that is there.

    Returns:
        the YAML file.

    Raises:
        UserError: no such folder, nothing in it that can be a catalog, or the name is taken.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder.")
    name = _checked(name) if name else _derived(folder.resolve().name)
    file = catalogs_folder() / f"{name}.yaml"
    _require_free(file, name, force)
    file.parent.mkdir(parents=True, exist_ok=True)  # paths relative to it lead out of it
    found = _Found(file.parent)
    found.look_into(folder)
    if not found.candidates:
        raise UserError("\n".join([_nothing_to_read(folder), *found.remarks]))
    text = render(propose(found.candidates), name, [_heading(folder), *found.remarks])
    _write(file, text)
    return file


def _checked(name: str) -> str:
    if not re.fullmatch(NAME, name):
        raise UserError(
            f"{name!r} cannot be a catalog's name: expected a-z, 0-9 and _, a letter first and at "
            f"most {LONGEST_NAME} characters. Try {_derived(name)!r}."
        )
    return name


def _derived(name: str) -> str:
    """What a folder is called, made to fit."""
    fitting = re.sub(r"[^a-z0-9]+", "_", name.casefold()).strip("_")
    if not fitting[:1].isalpha():
        fitting = f"catalog_{fitting}".rstrip("_")
    return fitting[:LONGEST_NAME]


def _require_free(file: Path, name: str, force: bool) -> None:
    if file.exists() and not force:
        raise UserError(
            f"{file}: this catalog is there already. Replace it with --force, or give the new "
            "one another name with --name."
        )
    for other in sorted([*file.parent.glob("*.yaml"), *file.parent.glob("*.yml")]):
        if other != file and _name_in(other) == name:
            raise UserError(
                f"{other}: this file has a catalog {name!r} already. Give the new one another "
                "name with --name."
            )


def _name_in(file: Path) -> str | None:
    try:
        return read_catalog(file).name
    except UserError:
        return None


def _heading(folder: Path) -> str:
    return (
        f"Proposed by recsys init from the tables in {folder.resolve().name}. Every line can be "
        "changed; README.md says what else there is."
    )


def _nothing_to_read(folder: Path) -> str:
    return (
        f"{folder}: nothing here can be read. Expected files ending in {', '.join(READERS)} (the "
        f"text formats also with .gz), folders of them, or databases ({', '.join(DATABASES)})."
    )


def _write(file: Path, text: str) -> None:
    """Put the file in place when it is known to be a catalog, with a query that works."""
    hidden = file.with_name(f".{file.name}.part")
    try:
        hidden.write_text(text, encoding="utf-8")
        catalog = read_catalog(hidden)
        if catalog.items.source.sql is not None:
            read_source(catalog.items.source, catalog.folder)
        hidden.replace(file)
    finally:
        hidden.unlink(missing_ok=True)


@dataclass
class _Found:
    """The tables of a folder, and remarks on what is none.

    Attributes:
        base: where paths in the YAML start.
    """

    base: Path
    candidates: list[Candidate] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def look_into(self, folder: Path) -> None:
        """Take every file, folder and database in it."""
        others = []
        for path in sorted(folder.resolve().iterdir()):
            if path.name.startswith((".", "_")):
                continue
            if path.is_dir():
                self._take_folder(path)
            elif suffix_of(path) in READERS:
                self._take_file(path)
            elif path.suffix.lower() in DATABASES:
                self._take_database(path)
            else:
                others.append(path.name)
        if others:
            self.remarks.append(f"Not in a format that is read: {', '.join(others)}.")

    def _take_file(self, path: Path) -> None:
        relative, suffix = self._relative(path), suffix_of(path)
        encoding = _encoding(path) if suffix in TEXTS else "utf-8"
        source = relative if encoding == "utf-8" else {"path": relative, "encoding": encoding}
        read = self._read(source, path.name)
        if read is None:
            return
        options = "" if encoding == "utf-8" else f", encoding = '{encoding}'"
        if read["source_error"].null_count < read.num_rows:
            options += ", ignore_errors = true"
        self._add(source, read, _relation(glob.escape(relative), suffix, options))

    def _take_folder(self, folder: Path) -> None:
        try:
            files = find_files(str(folder), self.base).values()
        except UserError:
            return  # nothing in it is a table
        relative = self._relative(folder)
        read = self._read(relative, folder.name)
        if read is None:
            return
        columns = [set(file["columns"]) for file in state_of(read)["files"].values()]
        if 2 * len(set.intersection(*columns)) < len(set.union(*columns)):
            self.remarks.append(
                f"Left aside: {folder.name}: its files have different columns, so they are no one "
                "table."
            )
            return
        suffixes = {file.suffix for file in files}
        suffix = suffixes.pop()
        pattern = f"{glob.escape(relative)}/**/*{suffix}"
        can_be_asked = not suffixes and suffix in QUERIES
        self._add(relative, read, _relation(pattern, suffix, "") if can_be_asked else None)

    def _take_database(self, path: Path) -> None:
        database = self._relative(path)
        with path.open("rb") as file:
            is_sqlite = file.read(len(SQLITE_MAGIC)) == SQLITE_MAGIC
        listed = self._read(
            {"database": database, "sql": SQLITE_TABLES if is_sqlite else DUCKDB_TABLES}, path.name
        )
        for table in [] if listed is None else listed["name"].to_pylist():
            source = {"database": database, "table": table}
            read = self._read(source, f"{path.name}, table {table}")
            if read is not None:
                # SQLite knows no mode.
                self._add(source, read, quote(table), "max" if is_sqlite else "mode")

    def _read(self, source: str | dict[str, str], name: str) -> pa.Table | None:
        settings = {"path": source} if isinstance(source, str) else source
        try:
            read = read_source(SourceSettings.model_validate(settings), self.base).rows
        except UserError as error:
            self.remarks.append(f"Left aside: {name}: {error}")
            return None
        unreadable = read.num_rows - read["source_error"].null_count
        if unreadable:
            self.remarks.append(f"{name}: {unreadable:,} of {read.num_rows:,} rows are unreadable.")
        return read

    def _add(
        self,
        source: str | dict[str, str],
        read: pa.Table,
        relation: str | None,
        most_frequent: str = "mode",
    ) -> None:
        readable = read.filter(pc.field("source_error").is_null())
        frame = to_pandas(readable.select(own_columns(read.column_names)))
        self.candidates.append(Candidate(source, frame, relation, most_frequent))

    def _relative(self, path: Path) -> str:
        return Path(os.path.relpath(path, self.base)).as_posix()


def _relation(pattern: str, suffix: str, options: str) -> str:
    """What stands for the files in a query."""
    literal = "'" + pattern.replace("'", "''") + "'"
    return QUERIES[suffix].format(literal, options)


def _encoding(path: Path) -> str:
    """What a text file is written in: latin-1 where it is neither UTF-8 nor UTF-16."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with path.open("rb") as raw:
            file = gzip.GzipFile(fileobj=raw) if path.suffix.lower() == ".gz" else raw
            start = file.read(CHUNK)
            if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                return "utf-16"
            decoder.decode(start)
            while chunk := file.read(CHUNK):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return "latin-1"
    except (OSError, EOFError):
        return "utf-8"  # a broken archive; reading it says so
    return "utf-8"
