"""Files that are there whole or not at all, and why something could not be written."""

import errno
import os
import re
import shutil
import threading
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path

from recsys_dagster.errors import UserError

REASONS = (
    (
        "no space left on device|disk is full",
        "there is no space left on the disk: free some, and run again",
    ),
    (
        "file too large|disk i/o error",
        "the disk did not take it: it may be failing, or files may not grow so large (ulimit -f)",
    ),
    ("quota exceeded", "the quota of the disk is used up: free some space, and run again"),
    (
        "read-only file system|readonly database",
        "the file system or the file is read-only: choose another place, or make this one writable",
    ),
    (
        "unable to open database file",
        "no file can be made there: choose another place, or make this one writable",
    ),
    (
        "permission denied|operation not permitted",
        "this user has no permission for it: choose another place, or change its permissions",
    ),
)
"""What errors of the operating system, of DuckDB, Arrow and SQLite have in common: a phrase."""


def reason_of(error: BaseException) -> str | None:
    """Why nothing could be written, and what to do; None where the error is about something else.

    Args:
        error: of the operating system, or of a library that passes its words on.
    """
    said = str(error)
    return next((why for words, why in REASONS if re.search(words, said, re.IGNORECASE)), None)


def unwritten(place: Path | str, error: BaseException) -> UserError:
    """The message for somebody whose file or folder could not be written.

    Args:
        place: the file or folder.
        error: what happened.
    """
    return UserError(f"{place}: it could not be written: {reason_of(error) or error}.")


def require_writable(path: Path) -> None:
    """See that a file can be written, or made; it is not opened, which would undo locks on it.

    Raises:
        UserError: it cannot.
    """
    place = path if path.exists() else path.parent
    if os.access(place, os.W_OK):
        return
    is_read_only = hasattr(os, "statvfs") and os.statvfs(place).f_flag & os.ST_RDONLY
    number = errno.EROFS if is_read_only else errno.EACCES
    raise unwritten(path, OSError(number, os.strerror(number)))


def modified(path: Path) -> float:
    """When a file or folder was changed last, in Unix seconds; now, where it is gone meanwhile.

    What others delete is found in a listing and not there when it is looked at.
    """
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()


def remove_older(paths: Iterable[Path], before: float) -> int:
    """Delete folders that were changed last before a time; how many they were.

    Args:
        paths: of folders. What cannot be deleted stays for another time.
        before: Unix seconds.
    """
    old = [path for path in paths if modified(path) < before]
    for path in old:
        shutil.rmtree(path, ignore_errors=True)
    return len(old)


@contextmanager
def whole_file(path: Path) -> Generator[Path]:
    """A hidden file beside `path`, to be written in the block, that takes its place at the end.

    Of several who write at once each has a hidden file of its own, and the last one's stays.

    Raises:
        UserError: it could not be written; what was there before is as it was.
    """
    hidden = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        yield hidden
        hidden.replace(path)
    except OSError as error:
        raise unwritten(path, error) from None
    finally:
        with suppress(OSError):
            hidden.unlink(missing_ok=True)
