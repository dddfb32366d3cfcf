"""JSON files → Arrow: an object a line, or one array of objects."""

import glob
import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from recsys_dagster.catalog.source import SourceSettings
from recsys_dagster.errors import UserError
from recsys_dagster.resources.sources.plain import write_plain
from recsys_dagster.resources.sources.sniffing import (
    first_lines,
    marked_encoding,
    suffix_of,
)
from recsys_dagster.resources.sources.state import numbered, require_distinct

DEEPEST = 100
"""Levels of lists and objects in each other; DuckDB stops at some 127, and says so of no line."""
TOO_LONG = "maximum_object_size"
"""What DuckDB names where an object is longer than its buffer."""
NO_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*+"|[^\[\]{}"]++', re.DOTALL)


def read_json(path: Path, file: str, settings: SourceSettings) -> pa.Table:
    """A whole file with the columns of `schemas.SOURCE`.

    Args:
        path: where it lies.
        file: what it is called in the table.
        settings: encoding.

    Raises:
        UserError: no part of it is an object.
        OSError: the file cannot be read, or there is no room for a plain copy.
    """
    marked = marked_encoding(path)
    encoding = marked or settings.encoding.removesuffix("-sig")
    lines = first_lines(path, encoding)
    is_array = suffix_of(path) == ".json" and bool(lines) and lines[0].lstrip().startswith("[")
    if encoding == "utf-8" and marked is None:
        return _read_objects(path, file, path, is_array)
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.jsonl"
        write_plain(path, plain, encoding)
        return _read_objects(plain, file, path, is_array)


def _read_objects(readable: Path, file: str, path: Path, is_array: bool) -> pa.Table:
    try:
        return _read_parts(readable, file, path, is_array, {})
    except duckdb.Error as error:
        if TOO_LONG in str(error):
            raise UserError(
                f"{path}: an object of the file is longer than 16 MiB. Where it holds the rows as "
                'a list, as in {"data": [{…}, {…}]}, write them as an object a line, or the list '
                "alone to a file whose name ends in .json."
            ) from None
        too_deep = _too_deep(readable, is_array)
        if not too_deep:
            raise
        return _read_parts(readable, file, path, is_array, too_deep)


def _reader(is_array: bool) -> str:
    # An array is read as a whole or not at all.
    return (
        "read_json_objects(?, format = 'array')"
        if is_array
        else "read_ndjson_objects(?, ignore_errors = true)"
    )


def _read_parts(
    readable: Path, file: str, path: Path, is_array: bool, faults: Mapping[int, str]
) -> pa.Table:
    """A file with the columns of `schemas.SOURCE`.

    Args:
        readable: a plain copy of it, or itself.
        file: what it is called in the table.
        path: where it lies.
        is_array: whether it is one array.
        faults: why lines are not to be read, by their number from 1.

    Raises:
        UserError: no part of it is an object.
        duckdb.Error: DuckDB cannot read a part and does not say which.
    """
    what = "element" if is_array else "line"
    with duckdb.connect() as connection:
        numbers, reasons = pa.array(faults, pa.int64()), pa.array(faults.values(), pa.string())
        connection.register("faults", pa.table({"number": numbers, "reason": reasons}))
        connection.execute(
            "create temp table parts as select number, json, case "
            f"when (json_type(json) = 'OBJECT') is not true then 'the {what} is not a JSON object' "
            # Quotes in a text are escaped: these are a key.
            f"when regexp_matches(json, '\"\"\\s*:') then 'a key of the {what} is empty' "
            "else reason end as error "
            f"from (select row_number() over () as number, json from {_reader(is_array)}) "
            "left join faults using (number)",
            [glob.escape(str(readable))],
        )
        found = connection.execute(
            "select json_group_structure(json) from parts where error is null"
        ).fetchall()[0][0]
        structure = json.loads(found) if found is not None else None
        if not isinstance(structure, dict):
            or_array = " It may also be one array of objects." if path.suffix == ".json" else ""
            raise UserError(
                f"{path}: the file is empty, or no {what} of it is a JSON object with a value."
                f"{or_array}"
            )
        require_distinct(list(structure), str(path))
        # A column of several types is text.
        types = {
            name: "VARCHAR" if kind in ("JSON", "NULL") else kind
            for name, kind in structure.items()
        }
        _keep_digits(connection, types, "")
        data = connection.sql(
            "select unnest(json_transform(case when error is null then json end, $types)) "
            "from parts order by number",
            params={"types": json.dumps(types)},
        ).to_arrow_table()
        errors = connection.sql("select error from parts order by number").to_arrow_table()
    return numbered(data, file, errors=errors["error"].combine_chunks())


def _too_deep(readable: Path, is_array: bool) -> dict[int, str]:
    """Why lines are not to be read that have too many levels, by their number from 1."""
    what = "element" if is_array else "line"
    reason = f"the {what} has lists and objects in each other deeper than {DEEPEST} levels"
    found = {}
    with duckdb.connect() as connection:
        parts = connection.execute(
            f"select json::varchar from {_reader(is_array)}", [glob.escape(str(readable))]
        )
        number = 0
        while (row := parts.fetchone()) is not None:
            number += 1
            if row[0] is not None and _depth(row[0]) > DEEPEST:
                found[number] = reason
    return found


def _depth(text: str) -> int:
    depth = deepest = 0
    for bracket in NO_BRACKETS.sub("", text):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _keep_digits(connection: duckdb.DuckDBPyConnection, types: dict[str, Any], place: str) -> None:
    """Make text of the columns of floats that hold whole numbers no float tells apart."""
    for name, kind in types.items():
        # A pointer, as RFC 6901 writes it: whatever is in a name, two characters are escaped.
        pointer = f"{place}/{name.replace('~', '~0').replace('/', '~1')}"
        if isinstance(kind, dict):
            _keep_digits(connection, kind, pointer)
        elif kind == "DOUBLE":
            ((is_inexact,),) = connection.execute(
                "select coalesce(bool_or(regexp_full_match(value, '-?[0-9]+') and "
                f"abs(value::double) >= {2**53}), false) "
                "from (select json_extract_string(json, $1) as value from parts "
                "where error is null)",
                [pointer],
            ).fetchall()
            if is_inexact:
                types[name] = "VARCHAR"
