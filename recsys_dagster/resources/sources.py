"""Reading what catalogs name as a source: files through DuckDB, frames from Python functions."""

import glob
import importlib
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from recsys_dagster.errors import UserError, did_you_mean
from recsys_dagster.resources.warehouse import to_arrow

READERS = {
    ".parquet": "read_parquet(?)",
    ".csv": "read_csv(?, header = true, all_varchar = true)",
    ".tsv": r"read_csv(?, header = true, all_varchar = true, delim = '\t')",
    ".jsonl": "read_json(?, format = 'newline_delimited')",
    ".ndjson": "read_json(?, format = 'newline_delimited')",
}
"""Delimited files are read as text: "007" stays "007", and each bad value is judged by its row."""


def read_source(source: str, folder: Path) -> pa.Table:
    """The whole source in its order, with `source_row` (1, 2, …) in front.

    Args:
        source: a file, relative to `folder`, or `python:module:function`.
        folder: where the catalog's YAML file lies.

    Raises:
        UserError: there is no such file or function, or it cannot be read.
    """
    data = _call(source) if source.startswith("python:") else _read_file(source, folder)
    rows = pa.array(np.arange(1, data.num_rows + 1))
    return data.add_column(0, "source_row", rows)


def _call(source: str) -> pa.Table:
    _, _, name = source.partition(":")
    module_name, _, function_name = name.partition(":")
    if not module_name:
        raise UserError(f"source {source!r}: expected python:module:function.")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise UserError(f"source {source!r}: the module cannot be imported: {error}.") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        names = [name for name, value in vars(module).items() if callable(value)]
        raise UserError(
            f"source {source!r}: {module_name} has no function {function_name!r}."
            f"{did_you_mean(function_name, names)}"
        )
    frame = function()
    if not isinstance(frame, pd.DataFrame):
        raise UserError(f"source {source!r}: expected a pandas frame, got {type(frame).__name__}.")
    return to_arrow(frame)


def _read_file(source: str, folder: Path) -> pa.Table:
    path = (folder / source).resolve()
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(
            f"{path}: {path.suffix or 'no'} files are not read; expected one of "
            f"{', '.join(READERS)}, or python:module:function."
        )
    if not path.is_file():
        siblings = [file.name for file in path.parent.glob("*")] if path.parent.is_dir() else []
        raise UserError(f"{path}: there is no such file.{did_you_mean(path.name, siblings)}")
    with duckdb.connect() as connection:
        try:
            return connection.sql(
                f"select * from {reader}", params=[glob.escape(str(path))]
            ).to_arrow_table()
        except duckdb.Error as error:
            raise UserError(f"{path}: cannot be read: {_without_data(error)}") from None


def _without_data(error: duckdb.Error) -> str:
    # The line that DuckDB quotes may name a person, and run logs cannot be erased by row.
    lines = [line.strip() for line in str(error).splitlines()]
    return " ".join(line for line in lines[:4] if line and not line.startswith("Original Line"))
