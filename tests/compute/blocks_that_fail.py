"""Functions of blocks for workers to fail in."""

import os
import signal
import time
from pathlib import Path

from recsys_dagster.errors import UserError


def doubled(_shared, block):
    return 2 * block


def who(_shared, block):
    time.sleep(0.05)
    return os.getpid()


def refused(_shared, block):
    if block == 3:
        raise UserError("what is wrong, and what to do")
    return block


def broken(_shared, block):
    return 1 / (block - 2)


class TwoPartError(Exception):
    """One that is packed without what it is made of, so that it cannot be unpacked."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


def cannot_be_sent(_shared, block):
    if block == 1:
        raise TwoPartError("this", "that")
    return block


def dies(_shared, block):
    if block == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return block


def dies_once(marker, block):
    """Killed in the middle of a block, the first time; each block leaves a line when it is done."""
    marker = Path(marker)
    if block == 4 and not (marker / "died").exists():
        (marker / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    with (marker / "done").open("a") as done:
        done.write(f"{block}\n")
    return 10 * block


def slow(marker, block):
    with Path(marker).open("a") as begun:
        begun.write(f"{block}\n")
    time.sleep(0.2)
    return block
