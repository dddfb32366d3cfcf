"""DuckDB: one file a catalog, tables replaced whole in one transaction, read as Arrow.

Metadata of an Arrow schema are kept with the table, as its comment.
"""

import datetime as dt
import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from dagster_duckdb import DuckDBResource

from recsys_dagster.errors import UserError
from recsys_dagster.resources.machine import memory_limit
from recsys_dagster.resources.warehouse_format import bring_up_to_date
from recsys_dagster.schemas import EMBEDDING, TABLES, Column, Table
from recsys_dagster.sql import literal, quoted
from recsys_dagster.writing import reason_of, require_writable, unwritten

RETRY_SECONDS = 20
LOCKED = "Could not set lock"
"""What DuckDB says where another process has a file open."""
MENDING = (
    "Where the file is damaged, move it away: the next run makes all tables from the sources "
    "again, and encodes the texts again."
)
MANY_ROWS = 1_000_000
"""Writing so many takes long enough to say so."""
INTEGERS = {pa.int64(): pd.Int64Dtype(), pa.uint64(): pd.UInt64Dtype()}
LAST_EXACT_FLOAT = 2**53
EPOCH = dt.date(1970, 1, 1).toordinal()
ENDLESS = {"infinity": 2**31 - 1, "-infinity": 1 - 2**31}
"""What DuckDB writes for a date that is infinity, in days since 1970."""
DATA_VERSION = "data_version"
"""What a table's content is known by; kept with it."""


@dataclass(frozen=True)
class _Kept:
    """Files that are kept open, by their paths."""

    connections: dict[Path, duckdb.DuckDBPyConnection] = field(default_factory=dict)
    closing: ExitStack = field(default_factory=ExitStack)

    def close(self) -> None:
        """Close them all; the next connection opens its file again."""
        self.connections.clear()
        self.closing.close()


_KEPT: ContextVar[_Kept | None] = ContextVar("kept", default=None)


@contextmanager
def kept_open() -> Generator[None]:
    """Keep open what is connected to in the block: within, a file is opened once.

    Opening and closing takes DuckDB longer than most of what is asked of it. Another thread opens
    files for itself. Within another such block it changes nothing.
    """
    if _KEPT.get() is not None:
        yield
        return
    kept = _Kept()
    _KEPT.set(kept)
    try:
        yield
    finally:
        _KEPT.set(None)
        kept.close()


@contextmanager
def let_go() -> Generator[None]:
    """Close what is kept open for as long as the block lasts: other processes may come in."""
    kept = _KEPT.get()
    if kept is not None:
        kept.close()
    _KEPT.set(None)
    try:
        yield
    finally:
        _KEPT.set(kept)


@cache
def _resource(path: Path) -> DuckDBResource:
    """What opens a file, with patience; made once, because Dagster makes a model of it."""
    return DuckDBResource(database=str(path))


def _connection(path: Path) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
    """Open a file; with patience where another process has it, and there alone.

    The resource tries for minutes whatever is wrong, and a damaged file stays damaged.
    """
    try:
        # As the resource opens it: within a process DuckDB wants the same configuration.
        return closing(duckdb.connect(path, config={"custom_user_agent": "dagster"}))
    except duckdb.IOException as error:
        if LOCKED not in str(error):
            raise
    return _resource(path).get_connection()


class Warehouse(dg.ConfigurableResource):
    """The warehouse of a code location: a folder with one DuckDB file a catalog.

    Catalogs never wait for each other. Within one, DuckDB lets a single process in at a time, so
    connections are short, and an attempt to connect is repeated for a while.
    """

    folder: str
    retries: int = 0
    """How often Dagster tries a step again that found the file held by another process."""

    def path(self, catalog: str) -> Path:
        """The catalog's DuckDB file, which may not exist yet."""
        return Path(self.folder) / f"{catalog}.duckdb"

    @contextmanager
    def connect(self, catalog: str) -> Generator[duckdb.DuckDBPyConnection]:
        """A connection, closed at the end come what may.

        Raises:
            UserError: another process keeps the file open; or dagster.RetryRequested, where steps
                are tried again. Or the file cannot be opened or written, or is none of DuckDB's.
        """
        path, kept = self.path(catalog), _KEPT.get()
        try:
            if kept is None:
                opened = self._opened(catalog, path)
            else:
                if path not in kept.connections:
                    first = kept.closing.enter_context(self._opened(catalog, path))
                    kept.connections[path] = first
                opened = closing(kept.connections[path].cursor())
            with opened as connection:
                yield connection
        except duckdb.Error as error:
            if kept is not None:
                kept.close()  # after some errors DuckDB wants the file to be opened again
            if reason_of(error) is not None:
                raise unwritten(path, error) from None
            if _is_damage(error, path):
                raise UserError(f"{path}: the file could not be read: {error} {MENDING}") from None
            raise

    @contextmanager
    def _opened(self, catalog: str, path: Path) -> Generator[duckdb.DuckDBPyConnection]:
        """A connection that opens the file, in today's format."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritten(path.parent, error) from None
        require_writable(path)
        try:
            context = _connection(path)
            connection = context.__enter__()
        except duckdb.Error as error:
            fault = self._closed(catalog, error)
            if self.retries and LOCKED in str(error):
                raise dg.RetryRequested(self.retries, RETRY_SECONDS) from fault
            raise fault from error
        with closing(connection):
            limit = memory_limit()
            if limit is not None:
                # The other half is for what is made of its rows.
                connection.execute(f"set memory_limit = '{limit // 2**21}MiB'")
            bring_up_to_date(connection, path)
            yield connection

    def require_free(self, catalog: str) -> None:
        """Fail at once, without the patience of `connect`, where another process is in the file.

        Raises:
            UserError: another process keeps the file open, or it cannot be opened.
        """
        if self.path(catalog).exists():
            try:
                duckdb.connect(str(self.path(catalog))).close()
            except duckdb.Error as error:
                raise self._closed(catalog, error) from error

    def _closed(self, catalog: str, error: duckdb.Error) -> UserError:
        """What is told of a file that could not be opened, by the kind of the error."""
        path = self.path(catalog)
        what = f"{path}: the warehouse of catalog {catalog!r} could not be opened"
        if LOCKED in str(error):
            return UserError(
                f"{what}; another process has it open: wait for its run to end, or close it. "
                f"({error})"
            )
        if reason_of(error) is not None:
            return unwritten(path, error)
        return UserError(f"{what}: {error} {MENDING}")

    def query(
        self, catalog: str, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()
    ) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with self.connect(catalog) as connection:
            return connection.execute(sql, parameters).fetchall()

    def has(self, catalog: str, table: str) -> bool:
        """Whether the catalog's file has the table, without making the file."""
        if not self.path(catalog).exists():
            return False
        with self.connect(catalog) as connection:
            return _remembered(connection, table) is not None

    def comment(self, catalog: str, table: str) -> dict[str, str]:
        """What is kept with a table beside its rows; empty where there is no such table."""
        if not self.path(catalog).exists():
            return {}
        with self.connect(catalog) as connection:
            return _remembered(connection, table) or {}

    def comments(self, catalog: str, tables: Sequence[str]) -> dict[str, dict[str, str]]:
        """The comments of tables, by table."""
        if not self.path(catalog).exists():
            return {table: {} for table in tables}
        with self.connect(catalog) as connection:
            found = _all_remembered(connection, tables)
        return {table: found.get(table, {}) for table in tables}

    def remember(self, catalog: str, table: str, memory: Mapping[str, str]) -> None:
        """Keep other things with a table than before; its rows stay."""
        with self.connect(catalog) as connection:
            connection.execute(f"comment on table {quoted(table)} is {_comment(memory)}")

    def stored(self, catalog: str, table: str) -> "StoredTable":
        """A table of which nothing is read before it is asked for.

        Raises:
            UserError: the table was never made.
        """
        memory = None
        if self.path(catalog).exists():
            with self.connect(catalog) as connection:
                memory = _remembered(connection, table)
        if memory is None and not (table in TABLES and TABLES[table].on_request):
            raise UserError(
                f"{self.path(catalog)}: the table {table} is not there yet: materialise "
                f"{catalog}/{table} first, or run everything with: recsys run {catalog}"
            )
        return StoredTable(self, catalog, table, memory)

    def read(self, catalog: str, table: str) -> pa.Table:
        """A whole table, with what is kept beside its rows; see `stored`.

        Raises:
            UserError: the table was never made.
        """
        return self.stored(catalog, table).arrow()

    def replace(self, catalog: str, table: Table, data: pa.Table) -> list[Column]:
        """Put `data` in the place of a table, all of it or nothing, columns matched by name.

        Returns:
            the columns written, with their DuckDB types.

        Raises:
            UserError: a declared column is missing, or an undeclared one is there and the table
                is not open, or only case tells two columns apart.
        """
        columns = _columns(table, data)
        selected = ", ".join(
            f"cast({quoted(column.name)} as {column.type}) as {quoted(column.name)}"
            if column.type
            else quoted(column.name)
            for column in columns
        )
        with self.connect(catalog) as connection:
            connection.register("incoming", data)
            connection.execute("begin")
            connection.execute(
                f"create or replace table {quoted(table.name)} as select {selected} from incoming"
            )
            if data.schema.metadata:
                connection.execute(
                    f"comment on table {quoted(table.name)} is {_comment(comment_of(data))}"
                )
            types = dict(
                connection.execute(
                    "select column_name, data_type from information_schema.columns "
                    "where table_schema = 'main' and table_name = ?",
                    [table.name],
                ).fetchall()
            )
            connection.execute("commit")
        return [Column(column.name, types[column.name], column.description) for column in columns]


def _is_damage(error: duckdb.Error, path: Path) -> bool:
    """Whether the warehouse itself cannot be read: a file may be opened, and cut off further on."""
    said = str(error)
    is_cut_off = isinstance(error, duckdb.IOException) and f'"{path}"' in said
    return is_cut_off or "Corrupt database file" in said


def _remembered(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, str] | None:
    """What is kept with a table; None where there is no such table."""
    return _all_remembered(connection, [table]).get(table)


def _all_remembered(
    connection: duckdb.DuckDBPyConnection, tables: Sequence[str]
) -> dict[str, dict[str, str]]:
    """What is kept with each of the tables that there are."""
    found = connection.execute(
        "select table_name, comment from duckdb_tables() "
        "where schema_name = 'main' and list_contains(?, table_name)",
        [list(tables)],
    ).fetchall()
    return {table: json.loads(comment) if comment else {} for table, comment in found}


def with_comment(data: pa.Table, memory: Mapping[str, str]) -> pa.Table:
    """The rows with something to be kept with them, beside what is kept already."""
    return data.replace_schema_metadata(comment_of(data) | dict(memory) or None)


def comment_of(data: pa.Table) -> dict[str, str]:
    """What is kept with the rows of a table."""
    metadata = data.schema.metadata or {}
    return {key.decode(): value.decode() for key, value in metadata.items()}


def _comment(memory: Mapping[str, str]) -> str:
    return literal(json.dumps(memory))  # the statement takes no parameters


def _columns(table: Table, data: pa.Table) -> list[Column]:
    missing = [name for name in table.column_names if name not in data.column_names]
    extra = [name for name in data.column_names if name not in table.column_names]
    if missing or (extra and not table.open):
        raise UserError(
            f"{table.name}: expected the columns {', '.join(table.column_names)}; "
            f"missing: {', '.join(missing) or 'none'}; not expected: {', '.join(extra) or 'none'}."
        )
    spelled: dict[str, str] = {}
    for name in data.column_names:
        other = spelled.setdefault(name.casefold(), name)
        if other != name:
            raise UserError(
                f"{table.name}: only case tells the columns {other!r} and {name!r} apart, which "
                "no table can hold: rename one of them in the source, or leave it out by a query "
                "(source: {sql: …})."
            )
    declared = [
        Column(column.name, _type(column, data), column.description) for column in table.columns
    ]
    return declared + [Column(name, "", "from the source") for name in extra]


def _type(column: Column, data: pa.Table) -> str:
    if column.type != EMBEDDING:
        return column.type
    return f"FLOAT[{data.schema.field(column.name).type.list_size}]"


@dataclass(frozen=True)
class StoredTable:
    """A table in the warehouse.

    Attributes:
        warehouse: where it is.
        catalog: whose.
        name: its own.
        memory: what is kept beside its rows; None where it is made on request and nobody asked yet.
    """

    warehouse: Warehouse
    catalog: str
    name: str
    memory: Mapping[str, str] | None

    @property
    def version(self) -> str | None:
        """What its content is known by, where that was kept."""
        return (self.memory or {}).get(DATA_VERSION)

    def arrow(
        self, columns: Sequence[str] = (), only: tuple[str, pa.Array] | None = None
    ) -> pa.Table:
        """Its rows, with what is kept beside them; none where nobody asked for it yet.

        Args:
            columns: those that are read; all where none is named.
            only: a column, and the values of it whose rows are read.

        Raises:
            UserError: somebody else made the table anew since it was asked for.
        """
        if self.memory is None:
            names = TABLES[self.name].column_names
            return pa.table({column: pa.array([], pa.string()) for column in names})
        chosen = ", ".join(map(quoted, columns)) or "*"
        sql = f"select {chosen} from {quoted(self.name)}"
        with self._connected() as connection:
            if only is not None:
                column, values = only
                connection.register("wanted", pa.table({"value": values}))
                sql += f" where {quoted(column)} in (select value from wanted)"
            data = connection.sql(sql).to_arrow_table()
        return with_comment(data, self.memory)

    def schema(self) -> pa.Schema:
        """Its columns and their types.

        Raises:
            UserError: as `arrow` does.
        """
        with self._connected() as connection:
            return connection.sql(f"from {quoted(self.name)} limit 0").to_arrow_table().schema

    @contextmanager
    def _connected(self) -> Generator[duckdb.DuckDBPyConnection]:
        with self.warehouse.connect(self.catalog) as connection:
            if _remembered(connection, self.name) != self.memory:
                raise UserError(
                    f"{self.warehouse.path(self.catalog)}: the table {self.name} was made anew by "
                    f"another run while this one worked with it: run again, one run of "
                    f"{self.catalog!r} at a time"
                )
            yield connection

    def frame(self, columns: Sequence[str] = ()) -> pd.DataFrame:
        """Its rows as a frame, which knows the version.

        Args:
            columns: those that are read; all where none is named.
        """
        frame = to_pandas(self.arrow(columns))
        frame.attrs[DATA_VERSION] = self.version
        return frame


ARROW = dg.PythonObjectDagsterType(pa.Table, name="arrow_table")
STORED = dg.PythonObjectDagsterType(StoredTable, name="stored_table")
"""What an asset's input is typed as, to come as Arrow, or unread; others come as frames."""


class WarehouseIOManager(dg.ConfigurableIOManager):
    """Stores an asset's table in its catalog's file: asset key [catalog, table]."""

    warehouse: dg.ResourceDependency[Warehouse]

    def handle_output(self, context: dg.OutputContext, obj: pd.DataFrame | pa.Table) -> None:
        """Replace the table; add its row count and columns to the materialisation."""
        catalog, name = context.asset_key.path
        data = obj if isinstance(obj, pa.Table) else to_arrow(obj)
        if data.num_rows >= MANY_ROWS:
            context.log.info(f"writing {data.num_rows:,} rows of {name}")
        columns = self.warehouse.replace(catalog, TABLES[name], data)
        context.add_output_metadata(
            {
                "dagster/row_count": data.num_rows,
                "dagster/column_schema": dg.TableSchema(
                    [
                        dg.TableColumn(column.name, column.type, column.description)
                        for column in columns
                    ]
                ),
            }
        )

    def load_input(self, context: dg.InputContext) -> pd.DataFrame | pa.Table | StoredTable:
        """The table as Arrow, as a pandas frame or unread, whichever the asset asks for.

        A table that is made only when somebody asks for it is empty until then.
        """
        catalog, name = context.asset_key.path
        table = self.warehouse.stored(catalog, name)
        if context.dagster_type is STORED:
            return table
        return table.arrow() if context.dagster_type is ARROW else table.frame()


def to_arrow(frame: pd.DataFrame) -> pa.Table:
    """A frame as Arrow; a column of mixed Python objects becomes text."""
    try:
        return pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata()
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        mixed = [name for name in frame.columns if frame[name].dtype == object]
        text = {name: frame[name].astype("str").where(frame[name].notna()) for name in mixed}
        return pa.Table.from_pandas(
            frame.assign(**text), preserve_index=False
        ).replace_schema_metadata()


def to_pandas(data: pa.Table) -> pd.DataFrame:
    """Arrow as a frame; text columns keep pandas' string type, also where all are null.

    Integers with a null become floats, unless that would make one of them another: two ids of
    twenty digits could then be one. A date that Python has not, such as infinity or one before
    Christ, is text among the others.
    """
    odd = {
        name: texts for name in data.column_names if (texts := _odd_dates(data[name])) is not None
    }
    for name, texts in odd.items():
        known = pc.call_function("if_else", [texts.is_null(), data[name], None])
        data = data.set_column(data.column_names.index(name), name, known)
    frame = data.to_pandas()
    for name, texts in odd.items():
        frame[name] = frame[name].where(texts.is_null().to_pandas(), texts.to_pandas())
    text = [field.name for field in data.schema if pa.types.is_string(field.type)]
    exact = {
        name: column.to_pandas(types_mapper=INTEGERS.get)
        for name, column in zip(data.column_names, data.columns, strict=True)
        if column.null_count and column.type in INTEGERS and _is_beyond_floats(column)
    }
    return frame.astype(dict.fromkeys(text, "str")).assign(**exact)


def _odd_dates(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """As text those of a column's dates that Python has not; None where there are none."""
    if column.type != pa.date32():
        return None
    days = column.cast(pa.int32())
    is_known = pc.call_function(
        "and",
        [
            pc.call_function("greater_equal", [days, dt.date.min.toordinal() - EPOCH]),
            pc.call_function("less_equal", [days, dt.date.max.toordinal() - EPOCH]),
        ],
    )
    if pc.call_function("all", [is_known]).as_py() is not False:
        return None
    texts = pc.call_function("if_else", [is_known, None, column.cast(pa.string())])
    for word, day in ENDLESS.items():
        is_endless = pc.call_function("equal", [days, day])
        texts = pc.call_function("if_else", [is_endless, word, texts])
    return texts


def _is_beyond_floats(integers: pa.ChunkedArray) -> bool:
    values = integers.drop_null().to_numpy()
    return len(values) > 0 and max(-int(values.min()), int(values.max())) > LAST_EXACT_FLOAT
