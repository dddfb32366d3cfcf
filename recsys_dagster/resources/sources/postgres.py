"""PostgreSQL: a transaction that reads, rows in batches, every type as the steps know it.

Values come as the text that PostgreSQL writes and are cast column by column. What no type here
holds, such as a numeric without limits or a date that is infinity, stays text: steps judge it.
Nothing is said of the connection but the variable that names it.
"""

import re
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from recsys_dagster.catalog.source import SourceSettings, expand_variables
from recsys_dagster.errors import UserError, install
from recsys_dagster.resources.sources.databases import Place, relation_of
from recsys_dagster.resources.sources.kinds import as_texts
from recsys_dagster.resources.sources.state import require_distinct
from recsys_dagster.sql import quoted
from recsys_dagster.versions import digest

if TYPE_CHECKING:
    import psycopg  # ty: ignore[import-not-found]

BATCH = 50_000
"""Rows that are fetched at a time."""
SECONDS_TO_CONNECT = 10
TABLES = """
    select n.nspname, c.relname from pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'f')
    and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
    and n.nspname !~ '^pg_temp_' and pg_catalog.has_schema_privilege(n.oid, 'usage')
    order by n.nspname, c.relname
"""
AS_WRITTEN = (
    "set local timezone to 'UTC'",
    "set local datestyle to 'ISO, YMD'",
    "set local bytea_output to 'hex'",
    "set local intervalstyle to 'iso_8601'",
)
"""How values are written as text, whatever the server's own settings."""
TYPES = {
    16: pa.bool_(),
    20: pa.int64(),
    21: pa.int64(),
    23: pa.int64(),
    26: pa.int64(),
    700: pa.float64(),
    701: pa.float64(),
    1082: pa.date32(),
    1114: pa.timestamp("us"),
    1184: pa.timestamp("us", "UTC"),
}
"""By the number that PostgreSQL has for a type; all others stay text."""
NUMERIC = 1700
MOST_DIGITS = 38
"""Of a decimal of Arrow."""
OWN_TYPES = """
    select t.typname, t.oid, t.typarray from pg_catalog.pg_type as t
    where t.typtype in ('e', 'd') and t.typarray <> 0
"""
"""Enums and domains, whose arrays the library does not know by themselves."""
REFUSED = ("28", "42501")
"""How states of SQL begin where a user may not do what was asked."""
VALUES_ARE_QUOTED = "22"
"""How they begin where a value is at fault; the message quotes it, and it may name a person."""
QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")


def read_rows(settings: SourceSettings, query: str, parameters: Sequence[Any] = ()) -> pa.Table:
    """The rows of a query, by a cursor of the server.

    Args:
        settings: the source.
        query: in SQL; where there are parameters `%s` stands for each, and `%%` for a sign.
        parameters: numbers, dates and times.

    Raises:
        UserError: the server cannot be reached, refuses, or the query fails or does not only read.
    """
    with _connected(settings) as connection, connection.cursor(name="recsys") as cursor:
        cursor.execute(query, tuple(parameters) or None)
        columns = list(cursor.description or ())
        if not columns:
            raise UserError(f"source {settings.described}: the query gives no columns.")
        require_distinct([column.name for column in columns], settings.described)
        elements = _elements(connection)
        batches: list[list[pa.Array]] = [[] for _ in columns]
        while rows := cursor.fetchmany(BATCH):
            for values, column in zip(zip(*rows, strict=True), batches, strict=True):
                column.append(_as_written(values))
    return pa.table(
        {
            column.name: _cast(
                _joined(batch, column.type_code in elements),
                column,
                elements.get(column.type_code),
            )
            for column, batch in zip(columns, batches, strict=True)
        }
    )


def relation(settings: SourceSettings) -> str:
    """The table of a source as it stands in a query, schema and name in quotes.

    Raises:
        UserError: there is no such table, or several schemas have one.
    """
    with _connected(settings) as connection:
        rows = connection.execute(TABLES).fetchall()
        ((first,),) = connection.execute("select current_schema()").fetchall()
    places: list[Place] = sorted(rows, key=lambda place: place[0] != first)
    return relation_of(settings.table or "", places, settings.postgres or "", first or "public")


def fingerprint(settings: SourceSettings, query: str) -> str:
    """Of what a query gives now; its rows stay on the server.

    With a watermark its largest value and the number of rows, else a hash of all rows.

    Raises:
        UserError: as `read_rows` does.
    """
    asked = (
        f"max({quoted(settings.watermark)})::text"
        if settings.watermark
        else "sum(pg_catalog.hashtextextended(recsys_rows::text, 0))::text"
    )
    counted = f"select count(*)::text as n, {asked} as content from (\n{query}\n) as recsys_rows"
    return digest(str(read_rows(settings, counted).to_pylist()))


def whereabouts(settings: SourceSettings) -> str:
    """A digest of server, port and database, without who asks: passwords change.

    Raises:
        UserError: the variable is not set, or holds no connection.
    """
    about = _described(settings)
    return digest(*(str(about.get(name, "")) for name in ("host", "hostaddr", "port", "dbname")))


def _described(settings: SourceSettings) -> dict[str, Any]:
    try:
        import psycopg  # ty: ignore[import-not-found]
        from psycopg import conninfo  # ty: ignore[import-not-found]
    except ImportError:
        raise UserError(
            f"{settings.postgres}: PostgreSQL is read with psycopg, which is not installed: "
            f"{install('postgres')}"
        ) from None
    written = expand_variables(settings.postgres or "")
    try:
        return conninfo.conninfo_to_dict(written)
    except psycopg.Error:
        pass  # its words quote what is written, the password too
    raise UserError(
        f"{settings.postgres}: the variable holds no connection to PostgreSQL: expected "
        "postgresql://user:password@host:port/database, or host=… dbname=… user=…"
    )


@contextmanager
def _connected(settings: SourceSettings) -> "Generator[psycopg.Connection]":
    """A transaction that can only read, and sees one state of the database.

    Raises:
        UserError: the server cannot be reached, refuses, or what is asked in the block fails.
    """
    defaults = {"connect_timeout": SECONDS_TO_CONNECT, "application_name": "recsys_dagster"}
    about = defaults | _described(settings) | {"client_encoding": "utf8"}
    import psycopg  # ty: ignore[import-not-found]

    fault = None
    try:
        # Statements are not prepared: behind a pool the next one may go to another connection.
        connection = psycopg.connect(**about, prepare_threshold=None)
    except psycopg.Error as error:
        fault = _not_connected(settings, error)
    if fault is not None:
        raise fault  # outside: what libpq says names the server and the user
    with closing(connection):  # which ends its transaction, too
        connection.read_only = True
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        try:
            for setting in AS_WRITTEN:
                connection.execute(setting)
            _take_text(connection)
            yield connection
        except psycopg.Error as error:
            fault = _lost(settings, error) if connection.broken else _failed(settings, error)
        except UnicodeDecodeError:
            fault = UserError(
                f"{settings.described}: the database holds text that is not in its encoding: "
                "mend it there, or leave the column out by a query (sql: …)."
            )
    if fault is not None:
        raise fault


def _take_text(connection: "psycopg.Connection") -> None:
    """Let values come as the text that PostgreSQL writes, elements of arrays too."""
    from psycopg.types import TypeInfo  # ty: ignore[import-not-found]
    from psycopg.types.string import TextLoader  # ty: ignore[import-not-found]

    for name, oid, array_oid in connection.execute(OWN_TYPES).fetchall():
        TypeInfo(name, oid, array_oid).register(connection)
    arrays = _elements(connection)
    for kind in connection.adapters.types:
        if kind.oid not in arrays:
            connection.adapters.register_loader(kind.oid, TextLoader)


def _elements(connection: "psycopg.Connection") -> dict[int, int]:
    """Of each type of arrays the type that is in them, by their numbers."""
    return {kind.array_oid: kind.oid for kind in connection.adapters.types if kind.array_oid}


def _not_connected(settings: SourceSettings, error: Exception) -> UserError:
    """Why there is no connection; the words of the library name server, user and database."""
    said = str(error).lower()
    reasons = {
        "the server refuses the user or the password": ("password", "role", "pg_hba", "ident"),
        "there is no such database": ("does not exist",),
        "the server wants an encrypted connection, or its certificate is not trusted": (
            "ssl",
            "certificate",
        ),
        "the server takes no more connections": ("too many", "remaining connection slots"),
        "there is no server of that name": ("resolve host", "name or service", "translate host"),
        "no server answers there": ("refused", "timeout", "timed out", "no such file", "closed"),
    }
    state = getattr(error, "sqlstate", None)
    reason = next(
        (reason for reason, words in reasons.items() if any(word in said for word in words)),
        f"the library says {type(error).__name__}",
    )
    told = f" (SQLSTATE {state})" if state else ""
    return UserError(f"{settings.postgres}: PostgreSQL could not be asked: {reason}{told}.")


def _failed(settings: SourceSettings, error: "psycopg.Error") -> UserError:
    """Why a query failed, without what people's data say."""
    state = error.sqlstate or ""
    said = error.diag.message_primary or type(error).__name__
    hint = f" {error.diag.message_hint}" if error.diag.message_hint else ""
    if state.startswith(VALUES_ARE_QUOTED):
        said, hint = QUOTED.sub("'…'", said.partition(": ")[0]), ""
    elif state == "25006":
        said, hint = f"{said}: a source only reads", ""
    elif state.startswith(REFUSED):
        hint = " Let somebody grant the right to read it."
    return UserError(f"source {settings.described}: {said}.{hint}")


def _lost(settings: SourceSettings, error: "psycopg.Error") -> UserError:
    """That the connection ended before all rows were there, and why where the server said it."""
    # The server's own words came before something was asked of the connection again.
    said = error.diag.message_primary or getattr(
        getattr(error.__context__, "diag", None), "message_primary", None
    )
    told = f" ({said})" if said else ""
    return UserError(
        f"source {settings.described}: the connection to PostgreSQL was lost while it was read"
        f"{told}, and nothing of it was taken: run again."
    )


def _as_written(values: Sequence[Any]) -> pa.Array:
    """Texts, or lists of texts; arrays of arrays are texts again."""
    for kind in (pa.string(), pa.list_(pa.string())):
        try:
            return pa.array(values, kind)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            continue
    return as_texts(values)


def _joined(batches: Sequence[pa.Array], is_array: bool) -> pa.ChunkedArray:
    wanted = pa.list_(pa.string()) if is_array else pa.string()
    is_deeper = (batch.type != wanted and batch.null_count < len(batch) for batch in batches)
    if is_array and any(is_deeper):
        return pa.chunked_array([as_texts(batch.to_pylist()) for batch in batches])
    return pa.chunked_array([batch.cast(wanted) for batch in batches], wanted)


def _without_zones(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Times in UTC: with a zone, what a warehouse keeps would come back in that of the machine."""
    if pa.types.is_list(values.type) and pa.types.is_timestamp(values.type.value_type):
        return values.cast(pa.list_(pa.timestamp("us")))
    return values.cast(pa.timestamp("us")) if pa.types.is_timestamp(values.type) else values


def _cast(texts: pa.ChunkedArray, column: Any, element: int | None) -> pa.ChunkedArray:
    """A column in its type; as text where a value is none of the type's.

    Args:
        texts: its values, or of arrays lists of them.
        column: as the server describes it.
        element: the type in its arrays; None where it has none.
    """
    if element is not None:
        if pa.types.is_string(texts.type):
            return texts
        of = TYPES.get(element)
        wanted = pa.list_(of) if of is not None else texts.type
    elif column.type_code == NUMERIC:
        digits, scale = column.precision, column.scale
        is_limited = digits is not None and scale is not None and 0 <= scale <= digits
        wanted = (
            pa.decimal128(digits, scale) if is_limited and digits <= MOST_DIGITS else pa.string()
        )
    else:
        wanted = TYPES.get(column.type_code, pa.string())
    try:
        if wanted == pa.bool_():
            return pc.call_function("equal", [texts, pa.scalar("t")])
        return _without_zones(texts.cast(wanted))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return texts
