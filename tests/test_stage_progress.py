"""What a person sees while a run lasts, on a terminal and in a file."""

import io
import logging
import os
import time
from types import SimpleNamespace

import pytest
from rich.console import Console
from rich.progress import Progress, TextColumn

from recsys_dagster.cli import running
from recsys_dagster.cli.running import StageProgress


def event(step: str, kind: str) -> logging.LogRecord:
    return record(step, dagster_event=SimpleNamespace(event_type_value=kind))


def said(step: str, message: str) -> logging.LogRecord:
    return record(step, dagster_event=None, orig_message=message)


def record(step: str, **meta) -> logging.LogRecord:
    made = logging.LogRecord("run", logging.INFO, __file__, 1, "", (), None)
    made.dagster_meta = {"step_key": step, **meta}
    return made


class TestOffATerminal:
    @pytest.fixture
    def stages(self, monkeypatch):
        """A handler that prints to a file, and what it printed."""
        monkeypatch.setattr(running, "PRINTED_AFTER_SECONDS", 0.05)
        monkeypatch.setattr(running, "PRINTED_EVERY_SECONDS", 0.2)
        file = io.StringIO()
        with Progress(TextColumn(""), console=Console(file=file, width=60)) as progress:
            yield StageProgress(progress), lambda: file.getvalue().splitlines()

    def test_a_stage_that_takes_long_says_what_it_does_now_and_then(self, stages):
        handler, lines = stages
        handler.emit(event("item_embeddings", "STEP_START"))
        for number in range(50):
            handler.emit(
                said("item_embeddings", f"encoded {number} [of 50] of the texts there are")
            )
            time.sleep(0.01)
        assert 2 <= len(lines()) <= 4
        assert all(line.startswith("  item_embeddings: encoded ") for line in lines())
        assert all(line.endswith(" [of 50] of the texts there are") for line in lines())

    def test_the_same_is_not_said_twice(self, stages):
        handler, lines = stages
        handler.emit(event("tuning", "STEP_START"))
        handler.emit(said("tuning", "trying ease"))
        time.sleep(0.5)
        assert lines() == ["  tuning: trying ease"]

    def test_a_quick_stage_is_one_line(self, stages):
        handler, lines = stages
        handler.emit(event("users", "STEP_START"))
        handler.emit(said("users", "left as it is"))
        handler.emit(event("users", "STEP_SUCCESS"))
        time.sleep(0.2)
        (line,) = lines()
        assert line.startswith("✓ users")


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no terminals of this kind here")
def test_what_is_shown_goes_to_the_terminal_while_dagster_captures_the_output(
    monkeypatch, tmp_path
):
    master, slave = os.openpty()
    with os.fdopen(slave, "w") as terminal, (tmp_path / "captured").open("w") as captured:
        monkeypatch.setattr(running, "console", Console(file=terminal))
        with running._past_capture() as shown:
            os.dup2(captured.fileno(), terminal.fileno())
            shown.print("still there")
            assert shown.is_terminal
            assert b"still there" in os.read(master, 100)
    os.close(master)
    assert (tmp_path / "captured").read_text() == ""
