"""Columns of a source → columns of kinds that the steps know: no structures, codes or bytes."""

import re
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

MAX_FIELDS = 200
CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
"""What no text has in it; white space is none of it."""


def in_known_kinds(data: pa.Table) -> pa.Table:
    """A table with a column for each field of its structures, at any depth: `user.address.city`.

    Values that stand for others, such as those of an enum, are what they stand for, as the
    warehouse gives them back; bytes are text.
    """
    while any(map(_is_record, data.schema.types)):
        columns: list[tuple[str, pa.ChunkedArray]] = []
        for name, column in zip(data.column_names, data.columns, strict=True):
            if _is_record(column.type):
                fields = [f"{name}.{field.name}" for field in column.type.fields]
                columns += zip(fields, column.flatten(), strict=True)
            else:
                columns.append((name, column))
        names = [name for name, _ in columns]
        data = pa.table([column for _, column in columns], names=names)
    for position, column in enumerate(data.columns):
        known = _known(column)
        if known is not column:
            data = data.set_column(position, data.field(position).with_type(known.type), known)
    return data


def _text_of_bytes(value: bytes) -> str:
    """Bytes as text where they are that, in UTF-8; else in hexadecimal.

    Some programs have no other type for text. What is none, such as a UUID of 16 bytes or a
    picture, must stay told apart from all others.
    """
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return value.hex()
    return value.hex() if CONTROL.search(text) else text


def as_texts(values: Iterable[Any]) -> pa.Array:
    """Values of any Python type as text; none stays none."""
    return pa.array([None if value is None else _text(value) for value in values], pa.string())


def _is_record(kind: pa.DataType) -> bool:
    # One of more fields is a dictionary: its keys are values, such as ids, and no columns.
    return pa.types.is_struct(kind) and 0 < kind.num_fields <= MAX_FIELDS


def _known(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    # Pandas has no unions, which columns of DuckDB may be.
    if _is_of_bytes(column.type) or pa.types.is_union(column.type):
        return pa.chunked_array(
            [as_texts(chunk.to_pylist()) for chunk in column.chunks], pa.string()
        )
    return column


def _is_of_bytes(kind: pa.DataType) -> bool:
    return (
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


def _text(value: Any) -> str:
    return _text_of_bytes(value) if isinstance(value, bytes) else str(value)
