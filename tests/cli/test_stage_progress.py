"""What a person sees while a run lasts, on a terminal and in a file."""

import io
import logging
import time
from types import SimpleNamespace

import dagster as dg
import pytest
from rich.console import Console
from rich.progress import Progress, TextColumn

from recsys_dagster.assets.gate import BLOCKING
from recsys_dagster.cli import stages as stages_module
from recsys_dagster.cli.stages import StageProgress


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
        monkeypatch.setattr(stages_module, "PRINTED_AFTER_SECONDS", 0.05)
        monkeypatch.setattr(stages_module, "PRINTED_EVERY_SECONDS", 0.2)
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
        handler.emit(event("evaluation", "STEP_START"))
        handler.emit(said("evaluation", "left as it is"))
        handler.emit(event("evaluation", "STEP_SUCCESS"))
        time.sleep(0.2)
        (line,) = lines()
        assert line.startswith("✓ evaluation")


def check(stage: str, name: str, *, passed: bool, severity=dg.AssetCheckSeverity.ERROR):
    found = SimpleNamespace(
        asset_key=dg.AssetKey(["shop", stage]),
        check_name=name,
        passed=passed,
        severity=severity,
        description=f"what {name} found",
    )
    kind = SimpleNamespace(
        event_type_value="ASSET_CHECK_EVALUATION", asset_check_evaluation_data=found
    )
    return record(f"shop__{stage}_{name}", dagster_event=kind)


def materialized(step: str, *, unchanged: bool) -> logging.LogRecord:
    made = dg.AssetMaterialization("table", metadata={"unchanged": unchanged})
    data = SimpleNamespace(materialization=made)
    kind = SimpleNamespace(event_type_value="ASSET_MATERIALIZATION", step_materialization_data=data)
    return record(step, dagster_event=kind)


class TestUnchanged:
    @pytest.mark.parametrize(
        ("tables", "said"), [([True], True), ([False], False), ([True, False], False), ([], False)]
    )
    def test_a_stage_that_left_all_of_its_tables_says_so(self, tables, said):
        file = io.StringIO()
        with Progress(TextColumn(""), console=Console(file=file, width=60)) as progress:
            handler = StageProgress(progress)
            handler.emit(event("shop__evaluation", "STEP_START"))
            for unchanged in tables:
                handler.emit(materialized("shop__evaluation", unchanged=unchanged))
            handler.emit(event("shop__evaluation", "STEP_SUCCESS"))
        (line,) = [line for line in file.getvalue().splitlines() if "evaluation" in line]
        assert line.endswith(" s  unchanged") is said


class TestChecks:
    @pytest.fixture
    def stages(self):
        file = io.StringIO()
        with Progress(TextColumn(""), console=Console(file=file, width=120)) as progress:
            yield StageProgress(progress), lambda: file.getvalue().splitlines()

    def made(self, handler) -> None:
        handler.emit(event("shop__interactions", "STEP_START"))
        handler.emit(event("shop__interactions", "STEP_SUCCESS"))

    def test_a_stage_is_ticked_off_when_its_blocking_checks_have_passed(self, stages):
        handler, lines = stages
        self.made(handler)
        for name in BLOCKING["interactions"]:
            assert lines() == []
            handler.emit(check("interactions", name, passed=True))
        (line,) = lines()
        assert line.startswith("✓ interactions")

    def test_one_that_failed_is_shown_at_once_and_its_stage_never_ticked_off(self, stages):
        handler, lines = stages
        self.made(handler)
        handler.emit(check("interactions", "interactions_not_fallen", passed=False))
        assert lines() == [
            "✗ interactions: interactions_not_fallen: what interactions_not_fallen found"
        ]
        for name in BLOCKING["interactions"].keys() - {"interactions_not_fallen"}:
            handler.emit(check("interactions", name, passed=True))
        handler.finish()
        assert lines()[1].startswith("· interactions")

    def test_a_warning_stops_no_tick(self, stages):
        handler, lines = stages
        self.made(handler)
        for name in BLOCKING["interactions"]:
            handler.emit(
                check("interactions", name, passed=False, severity=dg.AssetCheckSeverity.WARN)
            )
        assert [line[0] for line in lines()] == [*("!" for _ in BLOCKING["interactions"]), "✓"]
