"""JSON files → Arrow: an object a line, or one array of objects."""

import glob
import json
import tempfile
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
from recsys_dagster.sql import quoted


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
    what = "element" if is_array else "line"
    # An array is read as a whole or not at all.
    reader = (
        "read_json_objects(?, format = 'array')"
        if is_array
        else "read_ndjson_objects(?, ignore_errors = true)"
    )
    with duckdb.connect() as connection:
        connection.execute(
            "create temp table parts as select row_number() over () as number, json, "
            f"json_type(json) = 'OBJECT' as readable from {reader}",
            [glob.escape(str(readable))],
        )
        found = connection.execute(
            "select json_group_structure(json) from parts where readable"
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
        _keep_digits(connection, types, "$")
        data = connection.sql(
            "select unnest(json_transform(case when readable then json end, $types)) "
            "from parts order by number",
            params={"types": json.dumps(types)},
        ).to_arrow_table()
        errors = connection.sql(
            f"select case when readable is not true then 'the {what} is not a JSON object' end "
            "as error from parts order by number"
        ).to_arrow_table()["error"]
    return numbered(data, file, errors=errors.combine_chunks())


def _keep_digits(connection: duckdb.DuckDBPyConnection, types: dict[str, Any], place: str) -> None:
    """Make text of the columns of floats that hold whole numbers no float tells apart."""
    for name, kind in types.items():
        path = f"{place}.{quoted(name)}"
        if isinstance(kind, dict):
            _keep_digits(connection, kind, path)
        elif kind == "DOUBLE":
            ((is_inexact,),) = connection.execute(
                "select coalesce(bool_or(regexp_full_match(value, '-?[0-9]+') and "
                f"abs(value::double) >= {2**53}), false) "
                "from (select json_extract_string(json, $1) as value from parts where readable)",
                [path],
            ).fetchall()
            if is_inexact:
                types[name] = "VARCHAR"
