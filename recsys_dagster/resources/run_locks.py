"""One run a catalog at a time, and which runs are alive.

A run holds a lock of its own for as long as its process lives, and then the lock of every catalog
that it makes something of. That is true of every run on this machine, whoever started it.
"""

from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager
from pathlib import Path

from recsys_dagster.resources.locks import Holder, forget, hold, holder_of, is_held


def run_lock(folder: Path, run_id: str) -> Path:
    """The lock of a run's process."""
    return folder / "runs" / f"{run_id}.lock"


def catalog_lock(folder: Path, catalog: str) -> Path:
    """The lock that the run of a catalog holds."""
    return folder / "catalogs" / f"{catalog}.lock"


def encoder_lock(folder: Path) -> Path:
    """The lock of the process that encodes: two would share one machine's cores or memory."""
    return folder / "encoder.lock"


@contextmanager
def own_run(
    folder: Path,
    catalogs: Iterable[str],
    run_id: str,
    job: str,
    waiting: Callable[[str], None],
    interrupted: Callable[[], None] = lambda: None,
) -> Generator[None]:
    """Be the one run of some catalogs.

    Args:
        folder: where locks lie.
        catalogs: what the run makes something of.
        run_id: the run.
        job: what it is, for people.
        waiting: called with a sentence while another run is at one of the catalogs.
        interrupted: called between looks; raises where the waiting is to end.
    """
    holder = Holder.here(run_id, job)
    own = run_lock(folder, run_id)
    with ExitStack() as locks:
        locks.callback(forget, own)
        locks.enter_context(hold(own, holder, lambda _: None))
        # Always in the same order: two runs of the same catalogs never wait for each other.
        for catalog in sorted(catalogs):

            def say(other: Holder | None, catalog: str = catalog) -> None:
                waiting(f"waiting for {other or 'another run'}: one run of {catalog} at a time")

            locks.enter_context(
                hold(catalog_lock(folder, catalog), Holder.here(run_id, job), say, interrupted)
            )
        yield


def has_died(folder: Path, run_id: str) -> bool | None:
    """Whether a run's process is gone; None where it has no lock: not yet, or not any more.

    A run of another machine counts as alive: from here nobody can see its process.
    """
    lock = run_lock(folder, run_id)
    holder = holder_of(lock)
    if holder is None or not lock.exists():
        return None
    return holder.is_on_this_machine and not is_held(lock)


def forget_run(folder: Path, run_id: str) -> None:
    """Remove what a run that is over left of its lock."""
    forget(run_lock(folder, run_id))
