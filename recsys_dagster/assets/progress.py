"""Long work says what it is doing and how far it is, in the run's log; the command line shows it.

Nothing is said of time left before there is enough to go by: a wrong figure is worse than none.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from logging import Logger
from types import TracebackType
from typing import Self

WIDTH = 12
SECONDS_BETWEEN_LINES = 2.0
SHARE_BETWEEN_LINES = 1 / 30
"""Of the time so far: what takes an hour is not told 1,800 times."""
SECONDS_BETWEEN_SIGNS = 30.0
"""How often work without any measurable progress says that it still goes on."""
ENOUGH_SECONDS = 5.0
ENOUGH_REPORTS = 3
"""From so much on the time left is told; the first report only starts the clock, because what
comes before it is warming up."""
RECENT_SECONDS = 60.0
"""The time left goes by the pace of so long: other work on the machine comes and goes."""
MINUTE, HOUR = 60, 3600


def spoken(seconds: float) -> str:
    """A length of time as people say it: 0.8 s, 12 s, 3 min, 1 h 20 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < MINUTE:
        return f"{seconds:.0f} s"
    minutes = round(seconds / MINUTE)
    if minutes < MINUTE:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, MINUTE)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def _roughly(seconds: float) -> str:
    """A time left: nobody needs it to the second, and nobody knows it so well."""
    if seconds < 10:
        return "a few seconds"
    if seconds < 50:
        return f"about {round(seconds, -1):.0f} s"
    if seconds < HOUR:
        return f"about {max(1, round(seconds / MINUTE))} min"
    step = 5 * MINUTE if seconds < 5 * HOUR else 30 * MINUTE
    return f"about {spoken(round(seconds / step) * step)}"


class Bar:
    """A callback that logs a line every two seconds, later every half a minute, and the last."""

    def __init__(self, log: Logger, verb: str, noun: str) -> None:
        """Say nothing yet.

        Args:
            log: where to, `context.log` in an asset.
            verb: what is being done, "encoded".
            noun: to what, "texts".
        """
        self._log, self._verb, self._noun = log, verb, noun
        self._began = self._last = time.monotonic()
        self._paced: deque[tuple[float, float]] = deque()
        self._reports = 0

    def __call__(self, done: int, total: int, share: float | None = None) -> None:
        """Take a report.

        Args:
            done: how many.
            total: of how many.
            share: of the work, where things differ in how much they are; else done / total.
        """
        now = time.monotonic()
        if share is None or done >= total:
            share = done / total if total else 1.0
        self._reports += 1
        if not self._paced:
            self._paced.append((now, share))
        between = min(SECONDS_BETWEEN_SIGNS, SHARE_BETWEEN_LINES * (now - self._began))
        if now - self._last < max(SECONDS_BETWEEN_LINES, between) and done < total:
            return
        self._last = now
        filled = round(share * WIDTH)
        bar = "█" * filled + "░" * (WIDTH - filled)
        if done < total:
            tail = self._left(now, share)
            self._paced.append((now, share))
        else:
            tail = f" in {spoken(now - self._began)}"
        # What people wait to read comes first: a narrow terminal cuts the end off.
        self._log.info(f"{bar} {share:4.0%}{tail}: {self._verb} {done:,} of {total:,} {self._noun}")

    def _left(self, now: float, share: float) -> str:
        while len(self._paced) > 1 and now - self._paced[1][0] >= RECENT_SECONDS:
            self._paced.popleft()
        began, share_then = self._paced[0]
        if self._reports < ENOUGH_REPORTS or now - began < ENOUGH_SECONDS or share <= share_then:
            return ""
        left = (now - began) * (1 - share) / (share - share_then)
        return f", {_roughly(left)} left"


def log_progress(log: Logger, verb: str, noun: str) -> Bar:
    """The progress of work that is one thing: a bar of (done, total)."""
    return Bar(log, verb, noun)


class Narrator:
    """Says what long work is doing when it begins, and that it still does where it is silent.

    As a context manager; signs of life come from a thread that ends with it, come what may.
    """

    def __init__(self, log: Logger, seconds: float = SECONDS_BETWEEN_SIGNS) -> None:
        """Say nothing yet.

        Args:
            log: where to, `context.log` in an asset.
            seconds: between signs of life.
        """
        self._log, self._seconds = log, seconds
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="still", daemon=True)
        self._what = ""
        self._since = self._heard = time.monotonic()

    def __enter__(self) -> Self:
        """Begin to watch."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Say no more."""
        self._ended.set()
        self._thread.join()

    def doing(self, what: str) -> None:
        """Log what begins now, such as "fitting ease: 9,000 likes"; after the colon come details.

        "still fitting ease, 30 s" does without these.
        """
        with self._lock:
            self._what = what.partition(": ")[0]
            self._since = self._heard = time.monotonic()
        self._log.info(what)

    def bar(self, verb: str, noun: str) -> Callable[[int, int, float], None]:
        """The progress of what is being done now: a bar of (done, total, share of the work)."""
        bar: Bar | None = None

        def report(done: int, total: int, share: float) -> None:
            nonlocal bar
            # Made late: what it took to get ready is no part of the work.
            bar = bar or Bar(self._log, verb, noun)
            with self._lock:
                self._heard = time.monotonic()
            bar(done, total, share)

        return report

    def _watch(self) -> None:
        while not self._ended.wait(min(1.0, self._seconds / 4)):
            with self._lock:
                now = time.monotonic()
                if not self._what or now - self._heard < self._seconds:
                    continue
                self._heard = now
                sign = f"still {self._what}, {spoken(now - self._since)}"
            self._log.info(sign)
