"""The one way in: settings of a source → its rows."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from recsys_dagster.catalog.source import SourceSettings
from recsys_dagster.errors import UserError
from recsys_dagster.resources.sources.file_queries import read_file_query
from recsys_dagster.resources.sources.files import LIVE_SETTINGS, live_files, read_files, sha256
from recsys_dagster.resources.sources.formats import read_file
from recsys_dagster.resources.sources.functions import call_function, table_of
from recsys_dagster.resources.sources.queries import read_query
from recsys_dagster.resources.sources.state import SourceRead, fitted, numbered, united
from recsys_dagster.resources.warehouse import StoredTable
from recsys_dagster.versions import content_digest, digest


def read_source(
    settings: SourceSettings,
    folder: Path,
    previous: StoredTable | None = None,
    asset_value: Any = None,
    landing: Path | None = None,
) -> SourceRead:
    """All rows of a source in its order, numbered; what did not change is not read again.

    Args:
        settings: the source as the catalog names it.
        folder: where the catalog's YAML file lies.
        previous: what the last read left, if there was one.
        asset_value: the value of the source's asset, where the source is one.
        landing: where a server puts interactions that belong to this source too.

    Raises:
        UserError: the source is not there or cannot be read.
    """
    try:
        return _read(settings, folder, previous, asset_value, landing)
    except UserError as error:
        raise UserError(settings.without_variables(str(error))) from None


def _read(
    settings: SourceSettings,
    folder: Path,
    previous: StoredTable | None,
    asset_value: Any,
    landing: Path | None,
) -> SourceRead:
    if settings.path is not None:
        return read_files(settings.path, settings, folder, previous, landing)
    if settings.tables:
        return _with_live(read_file_query(settings, folder), landing)
    if settings.function is not None:
        return _with_live(_complete(call_function(settings.function)), landing)
    if settings.is_asset_value:
        return _with_live(_complete(table_of(asset_value, settings.described)), landing)
    return read_query(settings, folder, previous)


def _with_live(found: SourceRead, landing: Path | None) -> SourceRead:
    """The rows of a source that is always read whole, and those that a server was told of."""
    files = live_files(landing)
    if not files:
        return found
    told = [read_file(file, name, LIVE_SETTINGS) for name, file in files.items()]
    contents = (f"{name} {sha256(file)}" for name, file in files.items())
    return SourceRead(
        digest(found.fingerprint, *contents),
        found.rows_read + sum(table.num_rows for table in told),
        lambda: united([found.rows, *(fitted(table, [found.rows.schema]) for table in told)]),
        remarks=found.remarks,
    )


def _complete(data: pa.Table) -> SourceRead:
    rows = numbered(data)
    return SourceRead(content_digest(rows), rows.num_rows, lambda: rows)
