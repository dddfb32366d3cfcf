"""Blocks of work: one pure function of a block and of what all blocks share, wherever it runs."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

Shared = TypeVar("Shared")
Block = TypeVar("Block")
Result = TypeVar("Result")


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
    """In this process, one block after the other."""

    def map(
        self,
        function: Callable[[Shared, Block], Result],
        shared: Shared,
        blocks: Iterable[Block],
        what: str,
    ) -> Iterator[Result]:
        """See `Compute`."""
        return (function(shared, block) for block in blocks)


LOCAL = LocalCompute()
