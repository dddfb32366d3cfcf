"""Where interactions land that somebody tells of: files of JSON lines that a refresh reads.

A file grows under a hidden name, which no source reads, and is renamed when it is closed: what a
source sees never changes again. What is acknowledged is on the disk before. What a killed process
left is closed at the next start, without the line it was writing.
"""

import hashlib
import json
import logging
import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, NamedTuple

from recsys_dagster.catalog.names import LIVE_FILES
from recsys_dagster.errors import UserError
from recsys_dagster.writing import modified, reason_of, unwritten

LOG = logging.getLogger("recsys_dagster.serving")

KEY = "idempotency_key"
"""A column of what lands: what is told again under the same key is not taken again."""
REMEMBERED_DAYS = 2.0
MAX_WAITING = 1_000
"""Requests whose rows are written and synced together."""


@dataclass(frozen=True)
class Landed:
    """What became of rows that were told.

    Attributes:
        file: that holds them, by the name that it has when it is closed.
        fresh: places, among the rows, of those that are on the disk now; the others were told
            before under the same key.
    """

    file: str
    fresh: Sequence[int]


class KeyReusedError(UserError):
    """Something else was told before under a key."""


class NotTakenError(UserError):
    """Nothing can be taken now, whatever is told: the same may be taken later."""


class Landing:
    """One folder, written by one thread; whoever tells waits until it is on the disk."""

    def __init__(self, folder: Path, file_seconds: float, time_column: str) -> None:
        """Take a folder over.

        Args:
            folder: it is made where it is missing.
            file_seconds: how long a file grows before it is closed.
            time_column: what may differ where a row is told again under its key: the time, which
                may be that of the telling.

        Raises:
            UserError: it cannot be made or written, or somebody else writes there.
        """
        from filelock import FileLock, Timeout

        self.folder, self._file_seconds = folder, file_seconds
        self._time_column = time_column
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # It is not always closed by the thread that made it.
            self._lock = FileLock(folder / ".live.lock", thread_local=False)
            self._lock.acquire(timeout=0)
        except Timeout:
            raise UserError(
                f"{folder}: another server or another catalog takes interactions here: end it, or "
                "name another folder under live.folder."
            ) from None
        except OSError as error:
            raise unwritten(folder, error) from None
        try:
            self._known = self._taken_over()
        except BaseException:
            self._lock.release()
            raise
        self._growing: _Growing | None = None
        self._to_close: list[_Growing] = []
        self._waiting: SimpleQueue[_Told | None] = SimpleQueue()
        self._is_closed, self._closing = False, Lock()
        self._thread = Thread(target=self._work, name="landing", daemon=True)
        self._thread.start()

    def rows(self, without: Collection[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every row that has landed, by the name of its file, the oldest first.

        Args:
            without: names of files that are passed over.

        Raises:
            UserError: a file cannot be read.
        """
        for file in self._files():
            if _own_name(file) not in without:
                for row in _rows(file):
                    yield _own_name(file), row

    def take(self, rows: Sequence[Mapping[str, Any]]) -> "Future[Landed]":
        """Write rows; the future is done when they are on the disk.

        Args:
            rows: column → value, as the source of the catalog calls its columns; `KEY` where a
                row may be told twice. Rows of one call are accepted together or not at all.

        Raises:
            NotTakenError: this was closed. The future raises one where the rows cannot be written,
                and nothing of them stays; and a `KeyReusedError` where a key stands for something
                else.
        """
        told = _Told(rows, Future())
        with self._closing:  # nobody would look at what is put there after the end
            if self._is_closed or not self._thread.is_alive():
                raise NotTakenError(
                    "no interactions are taken here any more: send them again later."
                )
            self._waiting.put(told)
        return told.landed

    def close(self) -> None:
        """Write what waits, and make the file visible."""
        with self._closing:
            self._is_closed = True
            self._waiting.put(None)
        self._thread.join()
        self._lock.release()

    def _work(self) -> None:
        going_on = True
        while going_on:
            together, going_on = self._next()
            if together:
                self._write(together)
            if self._growing and (not going_on or self._growing.age >= self._file_seconds):
                self._put_aside()
            if self._to_close:
                self._close_what_can_be()

    def _next(self) -> "tuple[list[_Told], bool]":
        """What waits, a second at most; and whether more may come."""
        together: list[_Told] = []
        try:
            while len(together) < MAX_WAITING:
                told = self._waiting.get(block=not together, timeout=None if together else 1.0)
                if told is None:
                    return together, False
                together.append(told)
        except Empty:
            pass
        return together, True

    def _write(self, together: "Sequence[_Told]") -> None:
        new: dict[str, _Known] = {}
        fresh: dict[int, list[int]] = {}
        for place, told in enumerate(together):
            try:
                fresh[place] = self._fresh(told.rows, new)
            except KeyReusedError as error:
                told.landed.set_exception(error)
        lines = [
            json.dumps(together[place].rows[row], ensure_ascii=False, separators=(",", ":")) + "\n"
            for place, rows in fresh.items()
            for row in rows
        ]
        try:
            self._growing = self._growing or _Growing(self.folder)
            self._growing.append("".join(lines).encode())
        except OSError as error:
            LOG.error("%s", unwritten(self.folder, error))
            self._put_aside()
            why = reason_of(error) or "the server could not write; its log says why"
            for place in fresh:
                together[place].landed.set_exception(
                    NotTakenError(
                        f"nothing of this is taken: {why}. Send it again later, under the same "
                        "keys."
                    )
                )
            return
        self._known |= new
        self._forget_old_keys()
        for place, rows in fresh.items():
            together[place].landed.set_result(Landed(self._growing.name, rows))

    def _fresh(self, rows: Sequence[Mapping[str, Any]], new: "dict[str, _Known]") -> list[int]:
        """Places of the rows that were not told before; their keys go into `new`.

        Raises:
            KeyReusedError: a key stands for another row.
        """
        found, own = [], {}
        for place, row in enumerate(rows):
            key = row.get(KEY)
            if key is None:
                found.append(place)
                continue
            what = self._content(row)
            known = self._known.get(key) or new.get(key) or own.get(key)
            if known is None:
                found.append(place)
                own[key] = _Known(time.time(), what)
            elif known.what != what:
                raise KeyReusedError(
                    f"interactions.{place}: something else was told before under the key {key!r}; "
                    "nothing of this request is taken."
                )
        new |= own
        return found

    def _content(self, row: Mapping[str, Any]) -> bytes:
        told = {name: value for name, value in row.items() if name not in (KEY, self._time_column)}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).digest()[:16]

    def _forget_old_keys(self) -> None:
        oldest = time.time() - REMEMBERED_DAYS * 86_400
        # The oldest come first.
        for key in list(takewhile(lambda key: self._known[key].since < oldest, self._known)):
            del self._known[key]

    def _put_aside(self) -> None:
        if self._growing is not None:
            self._growing.end()
            self._to_close.append(self._growing)
            self._growing = None

    def _close_what_can_be(self) -> None:
        for grown in list(self._to_close):
            try:
                _close(grown.path, grown.length)
            except FileNotFoundError:
                LOG.error("%s: the file was taken away before it was closed", grown.path)
            except OSError as error:
                LOG.error("%s", unwritten(grown.path, error))
                continue
            self._to_close.remove(grown)

    def _taken_over(self) -> "dict[str, _Known]":
        """Close what another process left, and give the keys that were told not long ago.

        Raises:
            UserError: a file cannot be written or read.
        """
        for left in sorted(self.folder.glob(f".{LIVE_FILES}")):
            try:
                _close(left)
            except OSError as error:
                raise unwritten(self.folder, error) from None
        oldest = time.time() - REMEMBERED_DAYS * 86_400
        found: dict[str, _Known] = {}
        for file in self._files():
            since = modified(file)
            if since >= oldest:
                for row in _rows(file):
                    if row.get(KEY):
                        found[row[KEY]] = _Known(since, self._content(row))
        return found

    def _files(self) -> list[Path]:
        found = [*self.folder.glob(LIVE_FILES), *self.folder.glob(f".{LIVE_FILES}")]
        return sorted(found, key=_own_name)


@dataclass(frozen=True)
class _Told:
    """Rows that wait to be written."""

    rows: Sequence[Mapping[str, Any]]
    landed: "Future[Landed]"


class _Known(NamedTuple):
    """When a key was told, seconds since 1970, and a hash of what."""

    since: float
    what: bytes


class _Growing:
    """The file that is being written, hidden.

    Attributes:
        name: when it is closed.
        path: until then.
        length: of what was acknowledged, in bytes.
    """

    def __init__(self, folder: Path) -> None:
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{os.getpid()}"
        self.name = LIVE_FILES.replace("*", stamp)
        self.path = folder / f".{self.name}"
        self._since = time.monotonic()
        self.length = 0
        # What a buffer still held would be written when the file is closed, after it was refused.
        self._file = self.path.open("xb", buffering=0)
        _sync_folder(folder)

    @property
    def age(self) -> float:
        return time.monotonic() - self._since

    def append(self, lines: bytes) -> None:
        """Put whole lines on the disk.

        Raises:
            OSError: some of them may be there and some not; `end` takes them away.
        """
        left = memoryview(lines)
        while left:
            left = left[self._file.write(left) :]
        os.fsync(self._file.fileno())
        self.length += len(lines)

    def end(self) -> None:
        """Close the file, without what was not acknowledged."""
        with suppress(OSError):  # what could not be written is said already
            self._file.truncate(self.length)
            os.fsync(self._file.fileno())
        with suppress(OSError):
            self._file.close()


def _close(path: Path, length: int | None = None) -> None:
    """Give a hidden file its own name.

    Args:
        path: of the file.
        length: of what is kept of it, in bytes; where nobody knows, all lines that were written to
            their end.
    """
    whole = path.read_bytes().rfind(b"\n") + 1 if length is None else length
    if whole == 0:
        path.unlink()
        return
    if whole < path.stat().st_size:
        os.truncate(path, whole)
    path.rename(path.with_name(_own_name(path)))
    _sync_folder(path.parent)


def _own_name(path: Path) -> str:
    """What a file is called when it is closed."""
    return path.name.removeprefix(".")


def _sync_folder(folder: Path) -> None:
    """Have names on the disk too; systems that cannot sync a folder do it by themselves."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file, without lines that a run would reject as no JSON; none, if it is gone.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with file.open("rb") as lines:
            yield from filter(None, map(_row, lines))
    except FileNotFoundError:
        LOG.warning("%s: the file was taken away", file)
    except OSError as error:
        raise UserError(f"{file}: it could not be read: {error.strerror or error}.") from None


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line.decode())
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
