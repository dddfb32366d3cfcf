"""Which SQL a catalog may hold: one query that only reads.

Asked when the YAML is read, and again when `${NAME}` is expanded: a variable may hold anything.
"""

import re
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

READING = ("select", "with", "values", "from", "table", "pivot", "unpivot", "describe", "summarize")
"""What a query may begin with; SQLite knows the first three."""
BETWEEN = r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/|\()*"
FIRST_WORD = re.compile(rf"{BETWEEN}(\w*)", re.DOTALL)
WRITES_IN_TREE = re.compile(r'"type":"(\w+)_QUERY_NODE"')
"""In a query as JSON, the body of a WITH that is no query; text of the query has its quotes
escaped there."""
WRITES_IN_TEXT = re.compile(
    rf"\({BETWEEN}(copy|insert|update|delete|merge)\b", re.DOTALL | re.IGNORECASE
)
"""The same in a statement that DuckDB does not turn into JSON."""
EXPECTED = "expected one query that only reads: SELECT, WITH … SELECT, FROM, VALUES or PIVOT"


@cache
def _database() -> "duckdb.DuckDBPyConnection":
    import duckdb  # late: `steps/` read the catalog without it

    return duckdb.connect()


def in_memory() -> "duckdb.DuckDBPyConnection":
    """A connection to the process's own database in memory, which takes no time to open.

    Tables and views that it makes must be temporary: only these are its own.
    """
    return _database().cursor()


def quoted(name: str) -> str:
    """A name in quotes, as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text in quotes, as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def without_end(query: str) -> str:
    """A query without the semicolons and comments at its end, so that it can stand in another.

    Args:
        query: in SQL, which need not be right.
    """
    import duckdb

    text = query.encode()
    end = len(text)
    for start, kind in reversed(duckdb.tokenize(query)):  # in bytes
        if kind != duckdb.token_type.comment and text[start : start + 1] != b";":
            break
        end = start
    return text[:end].decode().strip()


def objection(query: str, *, duckdb_only: bool) -> str | None:
    """Why a query may not be run; None where it may.

    Args:
        query: in SQL, as `without_end` gives it.
        duckdb_only: whether only DuckDB can be meant, so that what it cannot parse is a fault.
            Else the query may be one for SQLite, or not be SQL before its variables are known,
            and what cannot be parsed is judged by its first word.
    """
    first = FIRST_WORD.match(query)
    word = first[1].lower() if first else ""
    if query.startswith("${") and not duckdb_only:
        return None  # nothing is known of it yet
    if not word:
        return f"{EXPECTED}; found nothing"
    statements = _statements(query)
    if isinstance(statements, str):
        if duckdb_only:
            return statements
        return None if word in READING else f"{EXPECTED}; found {word.upper()}"
    found = f"{len(statements)} statements"
    if len(statements) == 1:
        found = _writing(statements[0], query, word)
    return f"{EXPECTED}; found {found}" if found else None


def _writing(statement: Any, query: str, word: str) -> str | None:
    """What of a statement does more than read."""
    import duckdb

    if statement.type == duckdb.StatementType.SELECT:
        with in_memory() as connection:
            serialized = connection.execute("select json_serialize_sql($1::varchar)", [query])
            ((tree,),) = serialized.fetchall()
        writes = WRITES_IN_TREE.search(tree)
    # A PIVOT is several statements within.
    elif statement.type == duckdb.StatementType.MULTI and not isinstance(
        _statements(f"select * from (\n{query}\n)"), str
    ):
        writes = WRITES_IN_TEXT.search(query)
    else:
        return word.upper()
    return f"{writes[1].upper()} within WITH" if writes else None


def _statements(text: str) -> list[Any] | str:
    """What a text holds, or why it cannot be parsed."""
    import duckdb  # late: `steps/` read the catalog without it

    try:
        return duckdb.extract_statements(text)
    except duckdb.Error as error:
        return str(error)
