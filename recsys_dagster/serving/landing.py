"""Where interactions land that somebody tells of: files of JSON lines that a refresh reads.

A file grows under a hidden name, which no source reads, and is renamed when it is closed: what a
source sees never changes again. What is acknowledged is on the disk before. What a killed process
left is closed at the next start, without the line it was writing.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from recsys_dagster.errors import UserError
from recsys_dagster.writing import unwritten

PREFIX = "live-"
SUFFIX = ".jsonl"
KEY = "idempotency_key"
"""A column of what lands: what is told again under the same key is not taken again."""
REMEMBERED_DAYS = 2.0
MAX_WAITING = 1_000
"""Requests whose rows are written and synced together."""


@dataclass(frozen=True)
class Landed:
    """What became of rows that were told.

    Attributes:
        accepted: how many are on the disk now.
        repeated: how many were there before under the same key.
        rows: those that were accepted.
    """

    accepted: int
    repeated: int
    rows: Sequence[Mapping[str, Any]]


class Landing:
    """One folder, written by one thread; whoever tells waits until it is on the disk."""

    def __init__(self, folder: Path, file_seconds: float) -> None:
        """Take a folder over.

        Args:
            folder: it is made where it is missing.
            file_seconds: how long a file grows before it is closed.

        Raises:
            UserError: it cannot be made or written, or another process writes there.
        """
        from filelock import FileLock, Timeout

        self.folder, self._file_seconds = folder, file_seconds
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(folder / ".live.lock")
            self._lock.acquire(timeout=0)
            for left in sorted(folder.glob(f".{PREFIX}*{SUFFIX}")):
                _close(left)
        except Timeout:
            raise UserError(
                f"{folder}: another process takes interactions here: stop it, or name another "
                "folder under live.folder in the catalog."
            ) from None
        except OSError as error:
            raise unwritten(folder, error) from None
        self._known = dict(self._keys_of_files())
        self._growing: _Growing | None = None
        self._waiting: SimpleQueue[_Told | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name="landing", daemon=True)
        self._thread.start()

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every row that has landed, the oldest file first; lines that are none are passed over."""
        for file in self._files():
            with file.open(encoding="utf-8") as lines:
                yield from filter(None, map(_row, lines))

    def take(self, rows: Sequence[Mapping[str, Any]]) -> "Future[Landed]":
        """Write rows; the future is done when they are on the disk.

        Args:
            rows: column → value, as the source of the catalog calls its columns; `KEY` where a
                row may be told twice. Rows of one call are accepted together or not at all.
        """
        told = _Told(rows, Future())
        self._waiting.put(told)
        return told.landed

    def close(self) -> None:
        """Write what waits, and make the file visible."""
        self._waiting.put(None)
        self._thread.join()
        self._lock.release()

    def _work(self) -> None:
        going_on = True
        while going_on:
            together: list[_Told] = []
            try:
                together.append(_not_none(self._waiting.get(timeout=1.0)))
                while len(together) < MAX_WAITING:
                    together.append(_not_none(self._waiting.get_nowait()))
            except Empty:
                pass
            except StopIteration:
                going_on = False
            if together:
                self._write(together)
            growing = self._growing
            if growing and (not going_on or growing.age >= self._file_seconds):
                self._growing = None
                growing.close()

    def _write(self, together: "Sequence[_Told]") -> None:
        new: dict[str, float] = {}
        done: list[tuple[_Told, Landed]] = []
        now = time.time()
        for told in together:
            fresh = []
            for row in told.rows:
                if not self._is_known(row, new):
                    fresh.append(row)
                    if row.get(KEY):
                        new[row[KEY]] = now
            done.append((told, Landed(len(fresh), len(told.rows) - len(fresh), fresh)))
        lines = [
            json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n"
            for _, landed in done
            for row in landed.rows
        ]
        try:
            if lines:
                self._growing = self._growing or _Growing(self.folder)
                self._growing.append("".join(lines).encode(errors="surrogatepass"))
        except OSError as error:
            self._growing = None
            for told, _ in done:
                told.landed.set_exception(unwritten(self.folder, error))
            return
        self._known |= new
        for told, landed in done:
            told.landed.set_result(landed)

    def _is_known(self, row: Mapping[str, Any], new: Mapping[str, float]) -> bool:
        key = row.get(KEY)
        return bool(key) and (key in self._known or key in new)

    def _keys_of_files(self) -> Iterator[tuple[str, float]]:
        newest = time.time() - REMEMBERED_DAYS * 86_400
        for file in self._files():
            modified = file.stat().st_mtime
            if modified >= newest:
                with file.open(encoding="utf-8") as lines:
                    for row in filter(None, map(_row, lines)):
                        if row.get(KEY):
                            yield row[KEY], modified

    def _files(self) -> list[Path]:
        return sorted(
            [*self.folder.glob(f"{PREFIX}*{SUFFIX}"), *self.folder.glob(f".{PREFIX}*{SUFFIX}")],
            key=lambda file: file.name.removeprefix("."),
        )


@dataclass(frozen=True)
class _Told:
    """Rows that wait to be written."""

    rows: Sequence[Mapping[str, Any]]
    landed: "Future[Landed]"


def _not_none(told: _Told | None) -> _Told:
    if told is None:
        raise StopIteration
    return told


class _Growing:
    """The file that is being written, hidden."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{os.getpid()}"
        self._path = folder / f".{PREFIX}{name}{SUFFIX}"
        self._clock, self._since = clock, clock()
        self._file = self._path.open("xb", buffering=0)
        _sync_folder(folder)

    @property
    def age(self) -> float:
        return self._clock() - self._since

    def append(self, lines: bytes) -> None:
        """Put whole lines on the disk, or leave the file as it was."""
        before = self._file.tell()
        try:
            self._file.write(lines)
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(before)
            self._file.close()
            raise

    def close(self) -> None:
        self._file.close()
        _close(self._path)


def _close(path: Path) -> None:
    """Give a hidden file its own name, without a line that was not written to its end."""
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole == 0:
        path.unlink()
        return
    if whole < len(content):
        os.truncate(path, whole)
    path.rename(path.with_name(path.name.removeprefix(".")))
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Have names on the disk too; systems that cannot sync a folder do it by themselves."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _row(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
