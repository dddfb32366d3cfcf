"""DuckDB and SQLite files: opened to be read and nothing else, and the tables that they have."""

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import duckdb

from recsys_dagster.catalog.source import SourceSettings, expand_variables
from recsys_dagster.errors import UserError, did_you_mean
from recsys_dagster.resources.warehouse import LOCKED
from recsys_dagster.sql import quoted

DUCKDB_MAGIC = b"DUCK"
SQLITE_MAGIC = b"SQLite format 3\0"
MAIN = "main"
"""The schema of tables that are named without one."""
DUCKDB_TABLES = (
    "select table_schema, table_name from information_schema.tables "
    "where table_catalog = current_database() "
    "and table_schema not in ('information_schema', 'pg_catalog') "
    f"order by table_schema <> '{MAIN}', table_schema, table_name"
)
SQLITE_TABLES = (
    f"select '{MAIN}', name from sqlite_master where type in ('table', 'view') "
    "and name not like 'sqlite\\_%' escape '\\' order by name"
)
READING = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}
"""What SQLite does for a query."""
PRAGMAS_OF_VIRTUAL_TABLES = {"data_version", "page_size"}
UNSAFE_FUNCTIONS = {"load_extension", "fts3_tokenizer"}

Place = tuple[str, str]
"""Schema and name of a table."""


def database_file(settings: SourceSettings, folder: Path) -> Path:
    """The DuckDB or SQLite file of a source.

    Raises:
        UserError: there is no such file, or it is something else.
    """
    path = (folder / Path(expand_variables(settings.database or "")).expanduser()).resolve()
    if not path.is_file():
        siblings = [file.name for file in path.parent.glob("*")] if path.parent.is_dir() else []
        raise UserError(f"{path}: there is no such database.{did_you_mean(path.name, siblings)}")
    with path.open("rb") as file:
        start = file.read(len(SQLITE_MAGIC))
    if start != SQLITE_MAGIC and not start[8:].startswith(DUCKDB_MAGIC):
        raise UserError(f"{path}: this is no DuckDB or SQLite file.")
    return path


def is_sqlite(database: Path) -> bool:
    """Whether a database is a file of SQLite; else it is one of DuckDB."""
    with database.open("rb") as file:
        return file.read(len(SQLITE_MAGIC)) == SQLITE_MAGIC


def tables_of(database: Path) -> list[str]:
    """The tables and views of a database as `table:` takes them, those of schema main first.

    A table of another schema has it in front, `mart.orders`; a part with a dot or a quote in it is
    in quotes, `mart."or.ders"`.

    Args:
        database: a DuckDB or SQLite file.

    Raises:
        UserError: the file cannot be read.
    """
    places = _places(database)
    return [_spelled(place, places) for place in places]


def relation(table: str, database: Path, source: str) -> str:
    """A table of a database as it stands in a query, schema and name in quotes.

    Args:
        table: its name, in any spelling of `tables_of`. Without a schema it is main's, or the only
            one of that name.
        database: a DuckDB or SQLite file.
        source: the database as the YAML names it.

    Raises:
        UserError: there is no such table, or several schemas have one.
    """
    return relation_of(table, _places(database), source)


def relation_of(table: str, places: list[Place], source: str, main: str = MAIN) -> str:
    """A table as it stands in a query, schema and name in quotes.

    Args:
        table: its name, as of `relation`.
        places: all tables that there are.
        source: the database as the YAML names it.
        main: the schema of tables that are named without one.

    Raises:
        UserError: there is no such table, or several schemas have one.
    """
    named = _meant(table, places, main)
    if len(named) == 1:
        schema, name = named[0]
        return f"{quoted(schema)}.{quoted(name)}"
    known = [_spelled(place, places, main) for place in named or places]
    if named:
        raise UserError(
            f"{source}: the table {table!r} is in several schemas: write one of "
            f"{', '.join(f'table: {name}' for name in known)}."
        )
    nearest = did_you_mean(table, known) or " The database has no table."
    raise UserError(f"{source}: there is no table {table!r}.{nearest}")


def _meant(table: str, places: list[Place], main: str) -> list[Place]:
    if (main, table) in places:
        return [(main, table)]
    parts = _parts(table)
    readings = [
        [
            place
            for place in places
            if table in (f"{place[0]}.{place[1]}", _spelled(place, places, main))
        ],
        [place for place in places if list(place) == parts],
        [place for place in places if parts == [place[1]] and place[0] == main],
        [place for place in places if parts == [place[1]] or place[1] == table],
    ]
    return next((reading for reading in readings if reading), [])


def _parts(name: str) -> list[str]:
    """The parts of a name that dots join; what is in double quotes is one."""
    parts, is_quoted = [""], False
    for position, character in enumerate(name):
        if character == '"':
            # A doubled quote within quotes is one.
            if not is_quoted and parts[-1] and name[position - 1] == '"':
                parts[-1] += '"'
            is_quoted = not is_quoted
        elif character == "." and not is_quoted:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _spelled(place: Place, places: list[Place], main: str = MAIN) -> str:
    schema, name = place
    if schema == main:
        return name
    plain = f"{schema}.{name}"
    if (main, plain) in places or any(sign in schema + name for sign in '."'):
        return f"{quoted(schema)}.{quoted(name)}"
    return plain


def _places(database: Path) -> list[Place]:
    try:
        if is_sqlite(database):
            with closing(connect_sqlite(database)) as connection:
                return connection.execute(SQLITE_TABLES).fetchall()
        with connect_duckdb(database) as duck:
            return duck.execute(DUCKDB_TABLES).fetchall()
    except (duckdb.Error, sqlite3.Error) as error:
        raise UserError(f"{database}: the database cannot be read: {error}") from None


@contextmanager
def connect_duckdb(
    database: Path | None, folder: Path | None = None
) -> Generator[duckdb.DuckDBPyConnection]:
    """A connection that reads; without a database one to nothing, for queries over files.

    Args:
        database: a DuckDB file.
        folder: where relative paths in a query start.

    Raises:
        UserError: the file cannot be opened.
    """
    try:
        connection = duckdb.connect(str(database), read_only=True) if database else duckdb.connect()
    except duckdb.Error as error:
        held = "another process is writing to it. " if LOCKED in str(error) else ""
        raise UserError(
            f"{database}: the database cannot be opened for reading: {held}({error})"
        ) from None
    with connection:
        if folder is not None:
            connection.execute("set file_search_path = $1", [str(folder)])
        # A name that is no table would be looked for among the variables of this program.
        connection.execute("set python_enable_replacements = false")
        # What a query needs beyond DuckDB would be downloaded and kept in the home of the user.
        connection.execute("set autoinstall_known_extensions = false")
        # A query could have a log written to any file by `from enable_logging(…)`.
        connection.execute("set lock_configuration = true")
        yield connection


def connect_sqlite(database: Path) -> sqlite3.Connection:
    """A connection that reads, and does nothing else that a query may ask for."""
    connection = sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)
    connection.set_authorizer(_authorize)
    # What is no UTF-8 would be an error that quotes the value.
    connection.text_factory = lambda text: text.decode(errors="replace")
    return connection


def _authorize(action: int, first: str | None, second: str | None, *_: Any) -> int:
    allowed = action in READING and second not in UNSAFE_FUNCTIONS
    # What SQLite asks for itself when a query names a virtual table, such as one of FTS5.
    allowed |= action == sqlite3.SQLITE_UPDATE and first == "sqlite_master"
    allowed |= action == sqlite3.SQLITE_PRAGMA and first in PRAGMAS_OF_VIRTUAL_TABLES
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY
