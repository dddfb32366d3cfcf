"""Has the content of a source changed? Answered without reading rows where that can be."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from recsys_dagster.catalog.source import SourceSettings
from recsys_dagster.errors import UserError
from recsys_dagster.resources.sources.databases import database_file
from recsys_dagster.resources.sources.file_queries import files_of_query
from recsys_dagster.resources.sources.files import (
    LIVE_PLACE,
    File,
    FileState,
    find_files,
    live_files,
    look_at,
)
from recsys_dagster.resources.sources.queries import query_digest
from recsys_dagster.versions import digest


@dataclass(frozen=True)
class Observation:
    """What a source looks like now.

    Attributes:
        fingerprint: of the content.
        files: size, time and content hash of each file, to be handed to the next look.
        being_written: a file that somebody wrote to a moment ago, if there is one.
    """

    fingerprint: str
    files: dict[str, FileState]
    being_written: str | None = None


def can_be_watched(settings: SourceSettings) -> bool:
    """Whether a source can be looked at without running anybody's code."""
    return settings.function is None


def observe_source(
    settings: SourceSettings,
    folder: Path,
    known: Mapping[str, FileState],
    settle_seconds: float,
    asset_version: str = "",
    landing: Path | None = None,
) -> Observation:
    """Look at a source. A file of the same size and time as before is not opened, no object is.

    Args:
        settings: the source as the catalog names it.
        folder: where the catalog's YAML file lies.
        known: the `files` of the last look.
        settle_seconds: how long nobody must have written to a file.
        asset_version: what the last materialisation of the source's asset is known by.
        landing: where a server puts interactions that belong to this source too.

    Raises:
        UserError: the source is not there.
    """
    try:
        return _observe(settings, folder, known, settle_seconds, asset_version, landing)
    except UserError as error:
        raise UserError(settings.without_variables(str(error))) from None


def _observe(
    settings: SourceSettings,
    folder: Path,
    known: Mapping[str, FileState],
    settle_seconds: float,
    asset_version: str,
    landing: Path | None,
) -> Observation:
    if settings.path is not None:
        files = find_files(settings.path, folder)
    elif settings.tables:
        files = files_of_query(settings, folder)
    elif settings.database is not None:
        database = database_file(settings, folder)
        log = database.with_name(f"{database.name}-wal")  # SQLite's newest rows are there
        files = {file.name: file for file in (database, log) if file.is_file()}
    elif settings.sql is not None or settings.postgres is not None:
        return Observation(digest(asset_version, query_digest(settings, folder)), {})
    elif settings.is_asset_value or settings.function is not None:
        files = {}
    else:
        return Observation(digest(asset_version), {})
    together = {**files, **live_files(landing)}
    return observe_files(together, known, settle_seconds, asset_version)


def observe_files(
    files: Mapping[str, File],
    known: Mapping[str, FileState],
    settle_seconds: float,
    asset_version: str = "",
) -> Observation:
    """Look at files. Arguments as of `observe_source`.

    Raises:
        UserError: a file vanished.
        OSError: a file is not there.
    """
    states: dict[str, FileState] = {}
    for name, file in files.items():
        if isinstance(file, Path):
            # The clock of a share may be ahead a little, and a time far ahead says nothing.
            if abs(time.time() - file.stat().st_mtime) < settle_seconds:
                return Observation("", {}, being_written=str(file))
        # An object is whole, but others of the same delivery may follow; clocks may differ.
        elif 0 <= time.time() - file.modified / 1e9 < settle_seconds:
            return Observation("", {}, being_written=file.address)
        states[name] = look_at(file, known.get(name))
    contents = (f"{name} {_content(state)}" for name, state in states.items())
    return Observation(digest(asset_version, *contents), states)


def live_contents(files: Mapping[str, FileState]) -> dict[str, str]:
    """What is in the files that a server put beside a source, by their names in it."""
    return {name: _content(state) for name, state in files.items() if name.startswith(LIVE_PLACE)}


def _content(state: FileState) -> str:
    return state.get("tag") or state["sha256"]
