"""A query over files that are read as any other files are: in each encoding, fault by fault."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from recsys_dagster.catalog.source import SourceSettings
from recsys_dagster.resources.sources.files import File, find_files, read_files
from recsys_dagster.resources.sources.queries import query_of, run_duckdb
from recsys_dagster.resources.sources.state import SourceRead, numbered
from recsys_dagster.schemas import SOURCE_NAMES
from recsys_dagster.versions import content_digest


def read_file_query(settings: SourceSettings, folder: Path) -> SourceRead:
    """The rows of a query over files.

    Args:
        settings: sql and tables.
        folder: where the YAML file lies.

    Raises:
        UserError: a file cannot be read, or the query fails.
    """
    query = query_of(settings, None)
    tables = dict(_tables(settings, folder))
    data = run_duckdb(settings, folder, query, tables=tables)
    remarks: tuple[str, ...] = ()
    if all(name in data.column_names for name in SOURCE_NAMES):
        own = [name for name in data.column_names if name not in SOURCE_NAMES]
        rows = data.select([*SOURCE_NAMES, *own])
        rows = rows.cast(_with_source_types(rows.schema))
    else:
        rows = numbered(data)
        remarks = tuple(_unread(tables))
    fingerprint = content_digest(rows, ordered=False)
    return SourceRead(fingerprint, rows.num_rows, lambda: rows, remarks=remarks)


def files_of_query(settings: SourceSettings, folder: Path) -> dict[str, File]:
    """The files of all tables of a query, by table and name."""
    return {
        f"{name}/{file}": path
        for name, source in settings.tables.items()
        for file, path in find_files(source.path, folder).items()
    }


def _tables(settings: SourceSettings, folder: Path) -> Iterator[tuple[str, pa.Table]]:
    for name, source in settings.tables.items():
        file = SourceSettings.model_validate(source.model_dump())
        yield name, read_files(source.path, file, folder, None).rows


def _unread(tables: dict[str, pa.Table]) -> Iterator[str]:
    """What a query that does not hand on the columns of `schemas.SOURCE` says nothing of."""
    for name, rows in tables.items():
        count = rows.num_rows - rows["source_error"].null_count
        if count:
            yield (
                f"{count:,} of the {rows.num_rows:,} rows of {name} could not be read, and the "
                "query gives them without values or not at all: let it hand on source_file, "
                "source_row and source_error of that table, and each is rejected with its reason."
            )


def _with_source_types(schema: pa.Schema) -> pa.Schema:
    types = {"source_row": pa.int64()}
    return pa.schema(
        [
            field.with_type(types.get(field.name, pa.string()))
            if field.name in SOURCE_NAMES
            else field
            for field in schema
        ]
    )
