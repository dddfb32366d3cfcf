"""One Ctrl-C ends a run in time, also where it is deep in compiled code."""

import os
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress

GRACE_SECONDS = 1.5
ENDED = "Ended by Ctrl-C. What is published stays as it was."
INTERRUPTED = 130
"""Exit status of a program that Ctrl-C ended."""
QUERY_INTERRUPTED = "Query interrupted"
"""What DuckDB makes of Ctrl-C in the middle of a query."""


@contextmanager
def ended_by_one_signal(at_the_end: Callable[[], None]) -> Generator[None]:
    """End the process shortly after Ctrl-C or SIGTERM, if it has not ended itself by then.

    Python looks at signals between two of its own instructions, and a large matrix is inverted
    between two of them. The operating system's part of the handler writes to a socket at once,
    and a thread reads there.

    Args:
        at_the_end: called before a process that does not end by itself is ended.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        # Started in the background of a script, which ignores Ctrl-C; Dagster would then have
        # SIGTERM ignored, too.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    import socket

    heard, told = socket.socketpair()
    told.setblocking(False)
    left = threading.Event()

    def watch() -> None:
        while (number := heard.recv(1)) and number[0] not in (signal.SIGINT, signal.SIGTERM):
            pass
        if not number or left.wait(GRACE_SECONDS):
            return
        with suppress(Exception):
            at_the_end()
        os._exit(INTERRUPTED)

    before = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=watch, name="interrupts", daemon=True).start()
    try:
        yield
    finally:
        left.set()
        signal.set_wakeup_fd(before)
        told.close()
