"""Blocks of work: one pure function of a block and of what all blocks share, wherever it runs."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property, partial
from itertools import chain, islice
from threading import RLock
from typing import Any, Protocol, TypeVar

from threadpoolctl import threadpool_limits

Shared = TypeVar("Shared")
Block = TypeVar("Block")
Result = TypeVar("Result")


class once(cached_property[Result]):  # noqa: N801, as `cached_property`
    """A cached property of what blocks share: threads that need it wait for one to work it out."""

    def __init__(self, function: Callable[[Any], Result]) -> None:
        """Nothing is worked out yet."""
        super().__init__(function)
        self._lock = RLock()

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """The value, worked out by whoever asks first."""
        with self._lock:
            return super().__get__(instance, owner)


class Compute(Protocol):
    """What does blocks of work."""

    def map(
        self,
        function: Callable[[Shared, Block], Result],
        shared: Shared,
        blocks: Iterable[Block],
        what: str,
    ) -> Iterator[Result]:
        """What a function makes of each block, in the order of the blocks.

        A block is taken from `blocks` when it is about to be done, and no more than a bounded
        number are under way: what waits to be taken is bounded too.

        Args:
            function: of a module, so that another process finds it; it changes nothing that it
                is given.
            shared: what all blocks need; it goes to each machine once.
            blocks: each with what it needs beside that.
            what: is done, in words: "lists of users".

        Raises:
            UserError: as `function` raised it, or a block was lost with whoever did it.
        """
        ...


class LocalCompute:
    """In this process, by one thread or by several."""

    def __init__(self, threads: int = 1) -> None:
        """Begin no thread yet.

        Args:
            threads: how many do blocks at a time, each on one core, BLAS included.
        """
        self._threads = threads

    def map(
        self,
        function: Callable[[Shared, Block], Result],
        shared: Shared,
        blocks: Iterable[Block],
        what: str,
    ) -> Iterator[Result]:
        """See `Compute`. A single block has all cores: it is done as if by one thread."""
        blocks, done = iter(blocks), partial(function, shared)
        first = list(islice(blocks, 2)) if self._threads > 1 else []
        if len(first) > 1:
            yield from self._by_threads(done, chain(first, blocks))
        else:
            # Asked one at a time: none is taken before it is about to be done.
            yield from map(done, chain(first, blocks))

    def _by_threads(
        self, done: Callable[[Block], Result], blocks: Iterator[Block]
    ) -> Iterator[Result]:
        # Limits of OpenMP are a thread's own, that of BLAS is everybody's: each sets it, we alone
        # put it back.
        one_core = partial(threadpool_limits, 1)
        with one_core(), ThreadPoolExecutor(self._threads, "block", one_core) as pool:
            waiting: deque[Future[Result]] = deque()
            try:
                # Alone, so that nobody waits for what all blocks need.
                yield done(next(blocks))
                while True:
                    for block in islice(blocks, self._threads + 1 - len(waiting)):
                        waiting.append(pool.submit(done, block))
                    if not waiting:
                        return
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()


LOCAL = LocalCompute()
