"""The one way in: settings of a source → its rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from recsys_dagster.catalog.source import SourceSettings
from recsys_dagster.errors import UserError
from recsys_dagster.resources.sources.file_queries import read_file_query
from recsys_dagster.resources.sources.files import read_files
from recsys_dagster.resources.sources.functions import call_function, table_of
from recsys_dagster.resources.sources.queries import read_query
from recsys_dagster.resources.sources.state import SourceRead, numbered
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
    try:
        return _read(settings, folder, previous, asset_value)
    except UserError as error:
        raise UserError(settings.without_variables(str(error))) from None


def _read(
    settings: SourceSettings,
    folder: Path,
    previous: Callable[[], pa.Table | None],
    asset_value: Any,
) -> SourceRead:
    if settings.path is not None:
        return read_files(settings.path, settings, folder, previous)
    if settings.tables:
        return read_file_query(settings, folder)
    if settings.function is not None:
        return _complete(call_function(settings.function))
    if settings.is_asset_value:
        return _complete(table_of(asset_value, settings.described))
    return read_query(settings, folder, previous)


def _complete(data: pa.Table) -> SourceRead:
    rows = numbered(data)
    return SourceRead(rows, content_digest(rows), rows.num_rows)
