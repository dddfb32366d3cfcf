"""Locks between the processes of a machine: a process that died holds none.

The operating system lets a lock go with the process that held it, whatever ended it: a killed run
never keeps the next one waiting. Who holds a lock is written beside it, so that who waits can say
for whom.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from recsys_dagster.errors import UserError
from recsys_dagster.writing import reason_of, unwritten

POLL_SECONDS = 0.3
SECONDS_BETWEEN_WORDS = 30.0
"""How often one who waits says so again."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lock.

    Attributes:
        run_id: the Dagster run.
        what: what it is, such as `refresh_shop`.
        since: when it took the lock, in seconds of Unix time.
        host: the machine.
        pid: the process there.
    """

    run_id: str
    what: str
    since: float
    host: str
    pid: int

    @classmethod
    def here(cls, run_id: str, what: str) -> "Holder":
        """This process, now."""
        return cls(run_id, what, time.time(), socket.gethostname(), os.getpid())

    @property
    def is_on_this_machine(self) -> bool:
        """Whether its process could be seen from here."""
        return self.host == socket.gethostname()

    def __str__(self) -> str:
        seconds = max(0.0, time.time() - self.since)
        return f"run {self.run_id[:8]} of {self.what}, for {seconds:.0f} s"


def holder_of(lock: Path) -> Holder | None:
    """Who took a lock last, whether or not it is held now; None where nobody knows."""
    try:
        return Holder(**json.loads(_beside(lock).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def is_held(lock: Path) -> bool:
    """Whether a living process holds a lock; also where that cannot be known."""
    if not lock.exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except OSError:  # held, or on a disk that nothing can be locked on: nobody is declared dead
        return True


@contextmanager
def hold(
    lock: Path,
    holder: Holder,
    waiting: Callable[[Holder | None], None],
    interrupted: Callable[[], None] = lambda: None,
) -> Generator[None]:
    """Hold a lock, waiting for it as long as another process has it.

    Args:
        lock: its file; folders are made.
        holder: who is written beside it.
        waiting: called with who has it, at once and then every half a minute, while that lasts.
        interrupted: called between looks; raises where the waiting is to end.

    Raises:
        UserError: the file cannot be made or locked.
    """
    file = FileLock(lock, timeout=0, thread_local=False)
    said = -SECONDS_BETWEEN_WORDS
    while True:
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            file.acquire()
            break
        except OSError as error:
            if not isinstance(error, Timeout):
                reason = reason_of(error) or error
                raise UserError(f"{lock}: the file cannot be locked: {reason}.") from error
            interrupted()
            if time.monotonic() - said >= SECONDS_BETWEEN_WORDS:
                said = time.monotonic()
                waiting(holder_of(lock))
            time.sleep(POLL_SECONDS)
    try:
        try:
            _beside(lock).write_text(json.dumps(asdict(holder)), encoding="utf-8")
        except OSError as error:
            raise unwritten(_beside(lock), error) from None
        yield
    finally:
        file.release()


def forget(lock: Path) -> None:
    """Remove the files of a lock that nobody will ask for again, where that can be."""
    for file in (lock, _beside(lock)):
        with suppress(OSError):
            file.unlink()


def _beside(lock: Path) -> Path:
    return lock.with_suffix(".json")
