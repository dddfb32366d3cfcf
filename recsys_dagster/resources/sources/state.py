"""What is kept of a read, so that the next one can leave out what did not change.

It travels with the rows as metadata of the Arrow schema, and the warehouse keeps it with the table
in one transaction: rows and memory of them never disagree.
"""

import functools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys_dagster.errors import UserError
from recsys_dagster.resources.sources.kinds import in_known_kinds
from recsys_dagster.resources.warehouse import with_comment
from recsys_dagster.schemas import SOURCE_NAMES

STATE = "source_state"
READER = "5"
"""Of the way a source becomes rows: what another way made is read again. 2: a line with a quote
that is not closed is one row, structures are columns. 3: long whole numbers of JSON keep their
digits. 4: whole floats do where they become text; told interactions have the types of the rest.
5: bytes are text, arrays of PostgreSQL lists, whatever is in them."""
LONGEST_WHOLE = pa.decimal128(20, 0)
"""Whole numbers of 64 bits."""


@dataclass(frozen=True)
class SourceRead:
    """The rows of a source.

    Attributes:
        fingerprint: says whether the content is the same as at another time, hexadecimal.
        rows_read: how many rows were fetched now; the others were known.
        rows_of_all: puts what was fetched together with what was known.
        state: what the next read starts from.
        remarks: a sentence each on what the rows do not say.
    """

    fingerprint: str
    rows_read: int
    rows_of_all: Callable[[], pa.Table]
    state: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @functools.cached_property
    def rows(self) -> pa.Table:
        """The source's own columns behind those of `schemas.SOURCE`.

        Rows that were known are fetched from the warehouse when this is asked for first. The schema
        metadata hold the state.
        """
        return with_comment(self.rows_of_all(), self.memory)

    @property
    def memory(self) -> dict[str, str]:
        """The state as it is kept with the table."""
        return {STATE: json.dumps(self.state)} if self.state else {}


def state_of(memory: Mapping[str, str] | None) -> dict[str, Any]:
    """The state in what is kept with a table; empty where there is none."""
    return json.loads((memory or {}).get(STATE, "{}"))


def numbered(
    data: pa.Table,
    file: str | None = None,
    row_numbers: pa.Array | None = None,
    errors: pa.Array | pa.ChunkedArray | None = None,
) -> pa.Table:
    """Put the columns of `schemas.SOURCE` in front of a source's own.

    A field of a structure becomes a column of its own, named with a dot: `user.address.city`; bytes
    become text.

    Args:
        data: the source's own columns.
        file: the file the rows are from, if they are from one.
        row_numbers: int64; 1, 2, … where left out.
        errors: why a row could not be read; null everywhere where left out.

    Raises:
        UserError: a column of the source has one of our names, or two have the same.
    """
    data = in_known_kinds(data)
    require_distinct(data.column_names, file or "source")
    taken = [name for name in data.column_names if name.casefold() in SOURCE_NAMES]
    if taken:
        raise UserError(
            f"{file or 'source'}: the column {taken[0]!r} has a name that recsys_dagster adds "
            "itself: rename it in the source, or leave it out by a query (source: {sql: …})."
        )
    rows = data.num_rows
    columns = {
        "source_file": pa.repeat(pa.scalar(file, pa.string()), rows),
        "source_row": pa.array(range(1, rows + 1), pa.int64())
        if row_numbers is None
        else row_numbers,
        "source_error": pa.nulls(rows, pa.string()) if errors is None else errors,
    }
    own = {name: data[name] for name in data.column_names}
    return pa.table({name: columns[name] for name in SOURCE_NAMES} | own)


def require_distinct(names: Sequence[str], source: str) -> None:
    """See that every column has a name of its own, also for a reader that ignores case.

    Raises:
        UserError: two columns have the same name.
    """
    advice = "every column needs a name of its own."
    spelled: dict[str, str] = {}
    for name in names:
        other = spelled.get(name.casefold())
        if other == name:
            raise UserError(f"{source}: the header names {name!r} more than once: {advice}")
        if other is not None:
            raise UserError(
                f"{source}: the header has {other!r} and {name!r}, which only case tells apart: "
                f"{advice}"
            )
        spelled[name.casefold()] = name


def fitted(table: pa.Table, others: Iterable[pa.Schema]) -> pa.Table:
    """A table whose columns have the types that others agree on, where every value fits them."""
    types: dict[str, set[pa.DataType]] = {}
    for schema in others:
        for name, kind in zip(schema.names, schema.types, strict=True):
            types.setdefault(name, set()).add(kind)
    for position, name in enumerate(table.column_names):
        if len(types.get(name, ())) == 1:
            (kind,) = types[name]
            table = table.set_column(position, name, _fitted(table.column(position), kind))
    return table


def _fitted(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """A column in a type; as it is, where a value would be another one in it."""
    is_text = pa.types.is_string(column.type)
    if column.type == kind:
        return column
    if pa.types.is_temporal(kind) and not is_text:
        return column
    try:
        if pa.types.is_timestamp(kind):
            # A text without a zone is of UTC.
            return column.cast(pa.timestamp(kind.unit)).cast(kind)
        if pa.types.is_decimal(kind) and pa.types.is_integer(column.type):
            cast = column.cast(LONGEST_WHOLE).cast(kind)
        else:
            cast = column.cast(kind)
        back = _texts(cast) if is_text else cast.cast(column.type)
    except pa.ArrowException:
        return column
    return cast if pa.types.is_temporal(kind) or back.equals(column) else column


def united(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables below each other, columns matched by name; where types clash a column is text."""
    tables = [table.replace_schema_metadata() for table in tables]
    inexact = _inexact(tables)
    tables = [_as_text(table, inexact) for table in tables]
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        types: dict[str, set[pa.DataType]] = {}
        for table in tables:
            for field in table.schema:
                types.setdefault(field.name, set()).add(field.type)
        clashing = {name for name, found in types.items() if len(found) > 1}
        return pa.concat_tables(
            [_as_text(table, clashing) for table in tables], promote_options="permissive"
        )


def _inexact(tables: Sequence[pa.Table]) -> set[str]:
    """Columns that are floats in one table and decimals that no float tells apart in another."""
    floats = {
        field.name for table in tables for field in table.schema if pa.types.is_floating(field.type)
    }
    return {
        field.name
        for table in tables
        for field in table.schema
        if field.name in floats and pa.types.is_decimal(field.type) and _most(table, field) >= 2**53
    }


def _most(table: pa.Table, field: pa.Field) -> Decimal:
    ends = pc.call_function("min_max", [table[field.name]]).as_py().values()
    return max((abs(end) for end in ends if end is not None), default=Decimal(0))


def _as_text(table: pa.Table, names: set[str]) -> pa.Table:
    for position, name in enumerate(table.column_names):
        if name in names and not pa.types.is_string(table[name].type):
            text = (
                pa.array(
                    [None if value is None else str(value) for value in table[name].to_pylist()],
                    pa.string(),
                )
                if pa.types.is_nested(table[name].type)
                else _texts(table[name])
            )
            table = table.set_column(position, name, text)
    return table


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Values as text; whole floats as whole numbers, which ids are: 10000000000 and not 1e+10."""
    texts = pc.cast(column, pa.string())
    if not pa.types.is_floating(column.type):
        return texts
    numbers = pc.cast(column, pa.float64()).to_numpy()
    is_whole = (np.floor(numbers) == numbers) & (np.abs(numbers) < 2**53)
    whole = pa.array(np.where(is_whole, numbers, 0).astype("int64"), mask=~is_whole)
    return pc.call_function("coalesce", [pc.cast(whole, pa.string()), texts])
