"""Long work says how far it is: a bar in the run's log, which the command line shows live."""

import time
from collections.abc import Callable
from logging import Logger

WIDTH = 24
SECONDS_BETWEEN_LINES = 2.0


def log_progress(log: Logger, verb: str, noun: str) -> Callable[[int, int], None]:
    """A callback of (done, total) that logs at most one line every two seconds, and the last.

    Args:
        log: where to, `context.log` in an asset.
        verb: what is being done, "encoded".
        noun: to what, "texts".
    """
    started = time.monotonic()
    last = started

    def report(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < SECONDS_BETWEEN_LINES and done < total:
            return
        last = now
        share = done / total if total else 1.0
        filled = round(share * WIDTH)
        bar = "█" * filled + "░" * (WIDTH - filled)
        left = (now - started) * (1 - share) / share if share else 0.0
        tail = f", {left:.0f} s left" if done < total else f" in {now - started:.1f} s"
        log.info(f"{bar} {share:4.0%}  {verb} {done:,} of {total:,} {noun}{tail}")

    return report
