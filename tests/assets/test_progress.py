"""Long work says what it does and how long it still takes, and no more than is known."""

import logging
import re
import threading
import time
from itertools import pairwise

import pytest

from recsys_dagster.assets import progress
from recsys_dagster.assets.progress import Narrator, log_progress, spoken


class Clock:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.fixture
def lines():
    """What was logged, and the log."""
    log = logging.Logger("test")
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # ty: ignore
    log.addHandler(handler)
    return said, log


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.0 s"),
        (9.9, "9.9 s"),
        (9.96, "10 s"),
        (59, "59 s"),
        (170, "3 min"),
        (3_599, "1 h"),
        (7_500, "2 h 5 min"),
        (13_171, "3 h 40 min"),
    ],
)
def test_lengths_of_time_are_said_as_people_say_them(seconds, words):
    assert spoken(seconds) == words


class TestBar:
    def test_lines_come_seldom_where_the_work_takes_long(self, clock, lines):
        said, log = lines
        bar, told = log_progress(log, "compared", "users"), []
        for second in range(7_200):
            clock.now = 100.0 + second
            before = len(said)
            bar(second, 7_200)
            told += [second] * (len(said) - before)
        between = [later - sooner for sooner, later in pairwise(told)]
        assert between[0] == 2
        assert between == sorted(between)
        assert between[-1] == 30

    def test_nothing_is_said_of_time_left_before_there_is_enough_to_go_by(self, clock, lines):
        said, log = lines
        bar = log_progress(log, "encoded", "texts")
        for done in (1, 2, 3):
            clock.now += 2
            bar(done, 1_000)
        assert len(said) == 3
        assert not any("left" in line for line in said)
        clock.now += 2
        bar(4, 1_000)
        assert said[-1].endswith("  0%, about 33 min left: encoded 4 of 1,000 texts")

    def test_the_time_left_goes_by_work_and_not_by_number(self, clock, lines):
        """The first tenth of the texts is half of the work: five minutes of ten."""
        said, log = lines
        bar = log_progress(log, "encoded", "texts")
        for step in range(11):
            bar(10 * step, 1_000, step / 20)
            clock.now += 30
        assert said[-1].endswith(" 50%, about 5 min left: encoded 100 of 1,000 texts")

    def test_warming_up_is_no_part_of_the_rate(self, clock, lines):
        said, log = lines
        bar = log_progress(log, "encoded", "texts")
        clock.now += 600
        for done in range(10, 51, 10):
            bar(done, 100)
            clock.now += 10
        assert ", about 1 min left: " in said[-1]

    def test_the_time_left_goes_by_the_last_minute(self, clock, lines):
        """Other work kept the machine busy at first; nobody waits three hours for what is left."""
        said, log = lines
        bar = log_progress(log, "encoded", "texts")
        for done in (0, 1, 2, 3):
            bar(done, 1_000)
            clock.now += 60
        assert "left" in said[-1]
        for done in range(10, 700, 10):
            bar(done, 1_000)
            clock.now += 2
        assert re.search(r", about 1 min left: encoded 6[89]0 of", said[-1])

    def test_the_end_is_said_with_what_it_took(self, clock, lines):
        said, log = lines
        bar = log_progress(log, "compared", "users")
        clock.now += 1
        bar(5, 5)
        clock.now += 179
        bar(5, 5)
        assert said == [
            f"{'█' * 12} 100% in {took}: compared 5 of 5 users" for took in ("1.0 s", "3 min")
        ]

    def test_there_is_at_most_a_line_every_two_seconds(self, clock, lines):
        said, log = lines
        bar = log_progress(log, "compared", "users")
        for done in range(100):
            clock.now += 0.1
            bar(done, 100)
        assert len(said) == 4


def still_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "still"]


def wait_until(there) -> None:
    for _ in range(500):
        if there():
            return
        time.sleep(0.01)
    raise AssertionError("it never came")


class TestNarrator:
    def test_silent_work_says_that_it_goes_on(self, lines):
        said, log = lines
        with Narrator(log, seconds=0.05) as narrator:
            narrator.doing("fitting ease: 9,000 likes")
            assert said == ["fitting ease: 9,000 likes"]
            wait_until(lambda: len(said) > 1)
            assert said[1].startswith("still fitting ease, 0.")
            narrator.doing("fitting hybrid")
            wait_until(lambda: said[-1].startswith("still fitting hybrid, 0."))

    def test_quick_work_says_one_line(self, lines):
        said, log = lines
        with Narrator(log) as narrator:
            narrator.doing("fitting ease")
        assert said == ["fitting ease"]

    def test_a_bar_is_a_sign_of_life_itself(self, lines):
        said, log = lines
        with Narrator(log, seconds=0.4) as narrator:
            narrator.doing("encoding")
            report = narrator.bar("encoded", "texts")
            for done in range(20):
                report(done, 100, done / 100)
                time.sleep(0.05)
        assert not any(line.startswith("still") for line in said)

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
    def test_it_ends_with_the_work_however_that_ends(self, lines, error):
        _, log = lines
        with pytest.raises(error), Narrator(log, seconds=0.05) as narrator:
            narrator.doing("fitting ease")
            assert still_threads()
            raise error
        assert not still_threads()
