"""A file, a folder or a pattern: only files that are new or changed are read again.

The files lie on this machine or on object storage; an object's tag stands for size and time.
"""

import glob
import hashlib
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from recsys_dagster import objects
from recsys_dagster.catalog.names import LIVE_FILES
from recsys_dagster.catalog.source import SourceSettings, expand_variables
from recsys_dagster.errors import UserError, did_you_mean
from recsys_dagster.objects import StoredObject
from recsys_dagster.resources.sources.folders import files_below
from recsys_dagster.resources.sources.formats import (
    NAMED_ONE_BY_ONE,
    PACKED,
    READERS,
    SPREADSHEETS,
    read_file,
    reader_of,
    unreadable,
)
from recsys_dagster.resources.sources.sniffing import suffix_of
from recsys_dagster.resources.sources.state import (
    READER,
    SourceRead,
    fitted,
    require_distinct,
    state_of,
    united,
)
from recsys_dagster.resources.sources.stored import copied, find_stored
from recsys_dagster.resources.warehouse import StoredTable
from recsys_dagster.versions import digest

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
IN_FOLDERS = tuple(suffix for suffix in READERS if suffix not in NAMED_ONE_BY_ONE)
"""What is read of a folder."""
SHOWN = 5
"""Names in a sentence."""

File = Path | StoredObject
"""A file of this machine, or one of object storage."""
FileState = Mapping[str, Any]
"""What is remembered of a file: size in bytes, modified in Unix nanoseconds, sha256 of the content
where it was opened, and the tag of an object."""


def find_files(path: str, folder: Path) -> Mapping[str, File]:
    """The files that a path means, by their names in the source, sorted.

    A folder means all readable files in it and below, but for hidden ones, those whose name
    begins with an underscore, and those that may be notes (.txt and the like); what is there by two
    names is meant once.

    Raises:
        UserError: there is no such file, or no folder that can be looked into.
    """
    written = expand_variables(path)
    if objects.is_address(written):
        return find_stored(written, IN_FOLDERS)
    if ADDRESS.match(written):
        raise UserError(
            f"{written}: a path is a file of this machine or of object storage, which begins with "
            f"{', '.join(f'{scheme}://' for scheme in objects.KINDS)}. What lies elsewhere is read "
            f"by a query: source: {{sql: \"select * from '{written}'\"}}, or downloaded before."
        )
    return find_here(folder / Path(written).expanduser())


def find_here(place: Path) -> dict[str, Path]:
    """The files of this machine that a file's, a folder's name or a pattern means; see above.

    Raises:
        UserError: there is no such file, or no folder that can be looked into.
    """
    try:
        return _files_of(place)
    except OSError as error:
        raise unreadable(place, error) from None


def _files_of(place: Path) -> dict[str, Path]:
    if place.is_dir():
        read = files_below(place, _is_read_of_folders)
        if not read:
            raise UserError(
                f"{place}: the folder has no {', '.join(IN_FOLDERS)} file. Others are named by "
                f"themselves or by a pattern, such as {place.name}/*.txt."
            )
        return read
    if place.is_file():
        found = [place]
    elif glob.has_magic(str(place)):
        found = sorted(Path(file) for file in glob.glob(str(place), recursive=True))  # noqa: PTH207
        found = [file for file in found if file.is_file()]
        if not found:
            raise UserError(f"{place}: no file is called like this.")
    else:
        parent = place.parent
        siblings = [file.name for file in parent.iterdir()] if parent.is_dir() else []
        raise UserError(f"{place}: there is no such file.{did_you_mean(place.name, siblings)}")
    names = [file.name for file in found]
    unique = len(set(names)) == len(names)
    return {file.name if unique else file.as_posix(): file for file in found}


def _is_read_of_folders(file: Path) -> bool:
    return suffix_of(file) in IN_FOLDERS and file.is_file()


def left_out(place: Path) -> list[str]:
    """A sentence on the files of a folder that look like tables and cannot be read.

    Args:
        place: a folder; what is none has no such files.
    """
    names = [*files_below(place, _is_no_readable_table)] if place.is_dir() else []
    if not names:
        return []
    shown = ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
    are = "is" if len(names) == 1 else "are"
    return [
        f"{len(names):,} of the folder's files {are} left out: spreadsheets, what is packed other "
        f"than by gzip, and links that lead nowhere cannot be read: {shown}."
    ]


def _is_no_readable_table(file: Path) -> bool:
    suffix = suffix_of(file)
    is_lost = suffix in IN_FOLDERS and not file.exists()
    return is_lost or suffix in SPREADSHEETS or (suffix in PACKED and not file.is_dir())


LIVE_SETTINGS = SourceSettings(path=LIVE_FILES)
LIVE_PLACE = "live/"


def live_files(folder: Path | None) -> dict[str, Path]:
    """The files of interactions that a server was told of, by their names in the source, sorted.

    Args:
        folder: where they land; None where they go nowhere else than into the source itself.
    """
    if folder is None or not folder.is_dir():
        return {}
    return {f"{LIVE_PLACE}{file.name}": file for file in sorted(folder.glob(LIVE_FILES))}


def read_files(
    path: str,
    settings: SourceSettings,
    folder: Path,
    previous: StoredTable | None,
    landing: Path | None = None,
) -> SourceRead:
    """All rows of all files, in the order of the files' names.

    A file of the same size and time as before is not opened, and no object of the same tag; one of
    the same content is not read into rows again, nor from the warehouse before rows are asked for.

    Args:
        path: a file, a folder or a pattern.
        settings: delimiter, encoding, names.
        folder: where the YAML file lies.
        previous: what the last read left, if there was one.
        landing: where a server puts interactions, if that is another folder.

    Raises:
        UserError: a file is missing, cannot be read, or changed while it was read.
    """
    files = {**find_files(path, folder), **live_files(landing)}
    for file in files.values():
        reader_of(file if isinstance(file, Path) else Path(file.name), _settings_of(file, settings))
    options = digest(READER, settings.delimiter or "", settings.encoding, *(settings.names or ()))
    known = _known_files(previous, options)
    states: dict[str, dict[str, Any]] = {}
    read: dict[str, pa.Table] = {}
    for name, file in files.items():
        state = known.get(name)
        with _opened(file, state) as (seen, path_here):
            if state is not None and seen["sha256"] == state["sha256"]:
                columns = state["columns"]
            else:
                read[name] = read_file(path_here, name, _settings_of(file, settings))
                columns = _types(read[name])
        states[name] = {**seen, "columns": columns}
    _fit_live(files, states, read, previous)
    fingerprint = digest(options, *(f"{name} {state['sha256']}" for name, state in states.items()))
    columns_of_all = dict.fromkeys(name for state in states.values() for name in state["columns"])
    require_distinct([*columns_of_all], path)

    def rows_of_all() -> pa.Table:
        kept = [name for name in states if name not in read]
        before = previous.arrow() if previous is not None and kept else pa.table({})
        tables = [
            read[name] if name in read else _kept(before, name, state)
            for name, state in states.items()
        ]
        return united(tables)

    rows_read = sum(table.num_rows for table in read.values())
    remarks = tuple(left_out(folder / Path(expand_variables(path)).expanduser()))
    state = {"options": options, "files": states}
    return SourceRead(fingerprint, rows_read, rows_of_all, state, remarks)


def _settings_of(file: File, settings: SourceSettings) -> SourceSettings:
    return LIVE_SETTINGS if _is_live(file) else settings


def _is_live(file: File) -> bool:
    return fnmatch(file.name, LIVE_FILES)


def _types(table: pa.Table) -> dict[str, str]:
    return {field.name: str(field.type) for field in table.schema}


def _fit_live(
    files: Mapping[str, File],
    states: Mapping[str, dict[str, Any]],
    read: dict[str, pa.Table],
    previous: StoredTable | None,
) -> None:
    """Give live files that were read the types of the source's own.

    JSON has no times, and its whole numbers no sign of their own: files that disagree with others
    about a type are read again at every refresh, and all the others of a source with them.
    """
    live = [name for name in read if _is_live(files[name])]
    if not live:
        return
    own = [name for name, file in files.items() if not _is_live(file)]
    before = previous.schema() if previous is not None else pa.schema([])
    # What is known has the types of the table.
    schemas = [
        read[name].schema
        if name in read
        else pa.schema([before.field(column) for column in states[name]["columns"]])
        for name in own
    ]
    for name in live:
        read[name] = fitted(read[name], schemas)
        states[name]["columns"] = _types(read[name])


@contextmanager
def _opened(file: File, known: FileState | None) -> Generator[tuple[FileState, Path]]:
    """What a file is, content hash included, and where it can be read while the block lasts.

    Raises:
        UserError: it is not there any more, cannot be read, or changed in the block.
    """
    if isinstance(file, Path):
        seen = look_at(file, known)
        yield seen, file
        if look_at(file, seen) != seen:
            raise UserError(
                f"{file}: the file changed while it was read, and nothing of it was taken: run "
                "again when it is complete."
            )
        return
    seen = look_at(file, known)
    if "sha256" in seen:
        yield seen, Path(file.name)  # known, and not opened
        return
    with copied(file) as copy:
        yield {**seen, "sha256": sha256(copy)}, copy


def _known_files(previous: StoredTable | None, options: str) -> dict[str, dict[str, Any]]:
    """What is kept of files whose rows can be taken as they are from the last read."""
    state = state_of(previous.memory) if previous is not None else {}
    if previous is None or state.get("options") != options:
        return {}
    types = {field.name: str(field.type) for field in previous.schema()}
    # Where files disagreed about a column its values became text; the file has the original.
    return {
        name: file
        for name, file in state["files"].items()
        if all(types.get(column) == type_ for column, type_ in file["columns"].items())
    }


def _kept(before: pa.Table, name: str, state: FileState) -> pa.Table:
    return before.filter(pc.field("source_file") == name).select(list(state["columns"]))


def look_at(path: File, known: FileState | None) -> dict[str, Any]:
    """Size, time and content hash of a file; one of the same size and time is not opened.

    No object is: its tag stands for its content, whose hash is there where it is known.

    Args:
        path: the file.
        known: what an earlier look gave.

    Raises:
        UserError: the file is not there any more, or cannot be read.
    """
    if isinstance(path, StoredObject):
        seen = {"size": path.size, "modified": path.modified, "tag": path.tag}
        if known is not None and known.get("tag") == path.tag and "sha256" in known:
            seen["sha256"] = known["sha256"]
        return seen
    try:
        found = path.stat()
        size, modified = found.st_size, found.st_mtime_ns
        if known is not None and (known["size"], known["modified"]) == (size, modified):
            content = known["sha256"]
        else:
            content = sha256(path)
    except FileNotFoundError:
        raise UserError(f"{path}: the file vanished while the source was read.") from None
    except OSError as error:
        raise unreadable(path, error) from None
    return {"size": size, "modified": modified, "sha256": content}


def sha256(path: Path) -> str:
    """Of a file's content, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
