"""The one way in: settings of a source → its rows."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from recsys_dagster.errors import UserError, did_you_mean
from recsys_dagster.resources.sources.files import read_files
from recsys_dagster.resources.sources.queries import read_query
from recsys_dagster.resources.sources.state import SourceRead, numbered
from recsys_dagster.resources.warehouse import to_arrow
from recsys_dagster.source import SourceSettings
from recsys_dagster.versions import content_digest


def read_source(
    settings: SourceSettings,
    folder: Path,
    previous: Callable[[], pa.Table | None] = lambda: None,
    asset_value: Any = None,
) -> SourceRead:
    """All rows of a source in its order, numbered; what did not change is not read again.

    Args:
        settings: the source as the catalog names it.
        folder: where the catalog's YAML file lies.
        previous: the rows of the last read, if there was one.
        asset_value: the value of the source's asset, where the source is one.

    Raises:
        UserError: the source is not there or cannot be read.
    """
    if settings.path is not None:
        return read_files(settings.path, settings, folder, previous)
    if settings.function is not None:
        return _complete(_call(settings.function))
    if settings.is_asset_value:
        return _complete(_table(asset_value, settings.described))
    return read_query(settings, folder, previous)


def _complete(data: pa.Table) -> SourceRead:
    rows = numbered(data)
    return SourceRead(rows, content_digest(rows), rows.num_rows)


def _call(name: str) -> pa.Table:
    module_name, _, function_name = name.partition(":")
    source = f"source python:{name}"
    if not module_name or not function_name:
        raise UserError(f"{source}: expected python:module:function.")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise UserError(f"{source}: the module cannot be imported: {error}.") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        names = [name for name, value in vars(module).items() if callable(value)]
        raise UserError(
            f"{source}: {module_name} has no function {function_name!r}."
            f"{did_you_mean(function_name, names)}"
        )
    return _table(function(), source)


def _table(value: Any, source: str) -> pa.Table:
    if isinstance(value, pa.Table):
        return value.replace_schema_metadata()
    if isinstance(value, pd.DataFrame):
        return to_arrow(value)
    raise UserError(
        f"{source}: expected a pandas frame or an Arrow table, got {type(value).__name__}."
    )
