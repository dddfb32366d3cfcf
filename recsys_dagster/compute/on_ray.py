"""Blocks of work on Ray: its scheduler, its object store, its retries.

Blocks are tasks. What encodes texts is loaded for long and may hold a GPU, so it is an actor.
"""

import hashlib
import logging
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from recsys_dagster.compute.blocks import LOCAL, Block, Result, Shared
from recsys_dagster.errors import UserError, install

RETRIES = 3
"""How often a block is done again whose worker died."""
UNDER_WAY = 2
"""Blocks a worker: one that is done and one that waits, so that nobody waits for the driver."""
SECONDS_BETWEEN_WORDS = 60.0
"""After so long without a block that came back, it is said what the cluster has."""

_kept: dict[bytes, Any] = {}
"""In a worker: what its blocks share, read from the object store once."""


@dataclass(frozen=True)
class Actors:
    """Workers that keep what they have loaded.

    Attributes:
        number: how many; None is as many as have room when the first block begins.
        cpus: of each; None is as many as the smallest node has, or one beside a GPU.
        gpus: of each, a part of one or several; None is one where there are any.
    """

    number: int | None
    cpus: float | None
    gpus: float | None


class RayCompute:
    """On a Ray cluster, or on one that is started on this machine for as long as the process."""

    def __init__(
        self,
        address: str | None,
        cpus_per_block: float,
        cores: int,
        object_store_bytes: int | None,
        say: Callable[[str], None],
    ) -> None:
        """Connect to nothing yet: that takes seconds.

        Args:
            address: ray://HOST:PORT; None is what `RAY_ADDRESS` names, else a Ray of our own.
            cpus_per_block: of a worker that does a block.
            cores: of a Ray of our own.
            object_store_bytes: of a Ray of our own; None leaves it to Ray.
            say: called with where blocks are done, in words.
        """
        self._address, self._cpus, self._say = address, cpus_per_block, say
        self._of_our_own: dict[str, Any] = {
            "include_dashboard": False,
            "num_cpus": cores,
            "object_store_memory": object_store_bytes,
        }

    @property
    def place(self) -> str:
        """Which Ray it is."""
        address = self._given_address
        return "Ray on this machine" if address is None else f"Ray at {host_of(address)}"

    @property
    def _given_address(self) -> str | None:
        """Of a cluster that is not our own."""
        return self._address or os.environ.get("RAY_ADDRESS") or None

    @property
    def in_words(self) -> str:
        """Which it is, and what it has; it is connected to for that."""
        ray = self._connected()
        nodes = sum(node["Alive"] for node in ray.nodes())
        cores = ray.cluster_resources().get("CPU", 0)
        return f"{self.place}, {nodes} node{'' if nodes == 1 else 's'}, {cores:g} CPUs"

    def map(
        self,
        function: Callable[[Shared, Block], Result],
        shared: Shared,
        blocks: Iterable[Block],
        what: str,
    ) -> Iterator[Result]:
        """See `Compute`. A single block is done here: there is nothing to share out."""
        blocks = iter(blocks)
        first = list(islice(blocks, 2))
        if len(first) < 2:
            yield from LOCAL.map(function, shared, first, what)
            return
        ray = self._connected()
        self._require_room({"CPU": self._cpus}, "cpus_per_block")
        with _losses_told(what):
            given = ray.put((function, shared))
        task = ray.remote(_done).options(num_cpus=self._cpus, max_retries=RETRIES)

        def workers() -> int:
            # Asked again and again: a cluster grows by what waits.
            return max(1, int(ray.cluster_resources().get("CPU", 1) / self._cpus))

        def submit(block: Block) -> Any:
            # In a list, so that the worker asks for it, and once.
            return task.remote(_package(), [given], block)

        yield from self._in_order(submit, chain(first, blocks), workers, what)

    def map_by_actors(
        self,
        function: Callable[[Shared, Block], Result],
        shared: Shared,
        blocks: Iterable[Block],
        what: str,
        actors: Actors,
    ) -> Iterator[Result]:
        """As `map`, by workers that keep what they have loaded until all blocks are done.

        Args:
            function: as of `map`.
            shared: as of `map`.
            blocks: as of `map`.
            what: as of `map`.
            actors: the workers.
        """
        ray = self._connected()
        with _losses_told(what):
            given = ray.put((function, shared))
        free = ray.available_resources()
        cpus, gpus = actors.cpus, actors.gpus
        if gpus is None:
            # Whether there are any, and not whether one is free now: others end.
            gpus = 1.0 if ray.cluster_resources().get("GPU", 0) else 0.0
        if cpus is None:
            of_nodes = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
            cpus = 1.0 if gpus else min((own for own in of_nodes if own), default=1.0)
        wanted = {name: number for name, number in (("CPU", cpus), ("GPU", gpus)) if number}
        self._require_room(wanted, "cpus_per_encoder, gpus_per_encoder")
        room = min(int(free.get(name, 0) / number) for name, number in wanted.items())
        most = actors.number or max(1, room)
        actor = ray.remote(_Actor).options(
            num_cpus=cpus, num_gpus=gpus, max_restarts=RETRIES, max_task_retries=RETRIES
        )
        begun: list[Any] = []
        turns = cycle(range(most))

        def submit(block: Block) -> Any:
            turn = next(turns)
            if turn == len(begun):
                begun.append(actor.remote())
            return begun[turn].done.remote(_package(), [given], block)

        try:
            yield from self._in_order(submit, iter(blocks), lambda: most, what)
        finally:
            if ray.is_initialized():
                for each in begun:
                    ray.kill(each)

    def _require_room(self, wanted: dict[str, float], settings: str) -> None:
        """See that a node has what a worker is to be given; a cluster may still grow one.

        Args:
            wanted: CPUs and GPUs of a worker.
            settings: of `recsys_compute`, that ask for them.

        Raises:
            UserError: no node has it, and the Ray is our own.
        """
        nodes = [node["Resources"] for node in self._connected().nodes() if node["Alive"]]
        if any(all(own.get(name, 0) >= n for name, n in wanted.items()) for own in nodes):
            return
        asked = " and ".join(f"{n:g} {name}s" for name, n in wanted.items())
        largest = max((node.get("CPU", 0) for node in nodes), default=0)
        told = (
            f"recsys_compute: {settings}: a worker is to have {asked}, which no node of "
            f"{self.in_words} has; the largest has {largest:g} CPUs"
        )
        if self._given_address is None:
            raise UserError(f"{told}.")
        self._say(f"{told}: waiting for one that does")

    def _in_order(
        self,
        submit: Callable[[Block], Any],
        blocks: Iterator[Block],
        workers: Callable[[], int],
        what: str,
    ) -> Iterator[Any]:
        """What is made of blocks, a bounded number of them under way.

        Args:
            submit: begins a block, and says what it is known by.
            blocks: all of them.
            workers: tells how many there are.
            what: is done, in words.
        """
        # What nobody waits for any more comes to its end: to cancel what just ends lets Ray abort
        # this process.
        waiting: deque[Any] = deque()
        taken = 0
        while True:
            block_of = f"{what}, block {taken + 1}"
            with _losses_told(block_of):
                room = UNDER_WAY * workers() - len(waiting)
            for block in islice(blocks, max(0, room)):
                with _losses_told(block_of):
                    waiting.append(submit(block))
            if not waiting:
                return
            made = self._made(waiting[0], block_of)
            waiting.popleft()
            taken += 1
            yield pickle.loads(made)  # noqa: S301, made by our own worker

    def _made(self, reference: Any, what: str) -> bytes:
        """What a worker made, as bytes: arrays in the object store would stay there.

        Raises:
            UserError: as the block raised it, or it was lost.
        """
        import ray  # ty: ignore[import-not-found]

        with _losses_told(what):
            self._await(reference, what)
            try:
                return ray.get(reference)
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, ray.exceptions.RayError):
                    raise error.cause from error
                error.cause.add_note(f"In {what}, on Ray.")
                raise error.cause from error

    def _await(self, reference: Any, what: str) -> None:
        """Wait until a block is done or lost, and say now and then that it is waited for.

        Raises:
            ConnectionError: Ray is not there any more; none is started in its place.
        """
        import ray  # ty: ignore[import-not-found]

        while ray.is_initialized():
            if ray.wait([reference], timeout=SECONDS_BETWEEN_WORDS)[0]:
                return
            has, free = ray.cluster_resources(), ray.available_resources()
            cores, gpus = (
                f"{free.get(name, 0):g} of {has.get(name, 0):g} {name}s" for name in ("CPU", "GPU")
            )
            self._say(f"waiting for {what}: {cores} and {gpus} of {self.in_words} are free")
        raise ConnectionError(f"{self.place} was stopped.")

    def _connected(self) -> Any:
        """Ray, started or connected to where it is not yet.

        Raises:
            UserError: it is not installed, or nobody answers.
        """
        try:
            import ray  # ty: ignore[import-not-found]
        except ImportError:
            raise UserError(MISSING) from None
        if ray.is_initialized():
            return ray
        there = self._given_address
        try:
            with _signals_left_alone():
                ray.init(
                    address=there or "local",
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    **({} if there else self._of_our_own),
                )
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            raise UserError(f"{self.place}: {error}") from error
        self._say(f"blocks of work are done on {self.in_words}")
        return ray


def host_of(address: str) -> str:
    """The host in an address, without who asks; the whole where it has none, or is no address."""
    with suppress(ValueError):
        found = urlsplit(address if "//" in address else f"//{address}")
        return found.hostname or address
    return address


MISSING = (
    f"Blocks of work are to be done on Ray, which is not installed: {install('ray')}, or "
    "RECSYS_COMPUTE=local"
)


@contextmanager
def _losses_told(what: str) -> Generator[None]:
    """What Ray says against a block becomes an error for people.

    Raises:
        UserError: the block was lost, or Ray is not there any more.
    """
    import ray  # ty: ignore[import-not-found]

    try:
        yield
    except (ray.exceptions.RayError, ConnectionError) as error:
        first = str(error).strip().partition("\n")[0]
        if isinstance(error, ConnectionError) or not ray.is_initialized():
            raise UserError(f"{what}: the connection to Ray was lost: {first}") from error
        raise UserError(
            f"{what} was lost on Ray, which does a block again {RETRIES} times: {first} Often a "
            "worker has too little memory: Ray's dashboard and logs say why it died."
        ) from error


@contextmanager
def _signals_left_alone() -> Generator[None]:
    """Ray takes SIGTERM for itself; it is whose it was."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@cache
def _package() -> str:
    """A fingerprint of this package's code, which must be the same everywhere."""
    files = sorted(Path(__file__).parent.parent.rglob("*.py"))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def _given(package: str, reference: list[Any]) -> tuple[Callable[[Any, Any], Any], Any]:
    """In a worker: the function, and what its blocks share."""
    import ray  # ty: ignore[import-not-found]

    if package != _package():
        raise UserError(
            f"Ray's node {ray.util.get_node_ip_address()} has other code of recsys_dagster than "
            "the process that hands out work: install the same version on all, or use one image."
        )
    (only,) = reference
    name = only.binary()
    if name not in _kept:
        _kept.clear()
        _kept[name] = ray.get(only)
    return _kept[name]


def _done(package: str, given: list[Any], block: Any) -> bytes:
    """In a worker: a block, done."""
    function, shared = _given(package, given)
    try:
        return pickle.dumps(function(shared, block), protocol=5)
    except Exception as error:
        if _can_be_sent(error):
            raise
        told = RuntimeError(f"{type(error).__name__}: {error}")
    raise told  # alone: what it came of cannot be sent either


def _can_be_sent(error: Exception) -> bool:
    """Whether an error comes out as itself where it is unpacked."""
    try:
        return type(pickle.loads(pickle.dumps(error))) is type(error)  # noqa: S301, our own
    except Exception:
        return False


class _Actor:
    """A worker of its own, in which what was loaded stays."""

    def done(self, package: str, given: list[Any], block: Any) -> bytes:
        return _done(package, given, block)
