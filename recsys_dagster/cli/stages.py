"""What a person sees of a run while it lasts: a line a stage, and checks that failed."""

import logging
import math
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import dagster as dg
from rich.progress import Progress, SpinnerColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

from recsys_dagster.assets.gate import BLOCKING
from recsys_dagster.automation.jobs import STAGES
from recsys_dagster.cli.terminal import console, plain
from recsys_dagster.schemas import TUNING

PRINTED_AFTER_SECONDS = 2.0
PRINTED_EVERY_SECONDS = 15.0
"""Off a terminal: how long a stage takes before what it says is printed, and how often then."""
SEARCHED = TUNING.name
ASSETS = [asset for assets in STAGES.values() for asset in assets]


class StageProgress(logging.Handler):
    """Shows Dagster's step events as one line a stage, with the last thing the stage said.

    A stage is ticked off when its blocking checks have passed, not before; a check that failed is
    shown at once.

    Where lines cannot be drawn over, in a file or a pipe, what a long stage says is printed now
    and then: a stage that takes minutes would look like one that hangs.
    """

    def __init__(self, progress: Progress) -> None:
        super().__init__(logging.DEBUG)
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, float] = {}
        self._printed: dict[str, tuple[float, str]] = {}
        self._unchecked: dict[str, set[str]] = {}
        self._seconds: dict[str, float] = {}
        self._unchanged: dict[str, bool] = {}
        if not progress.console.is_interactive:
            threading.Thread(target=self._print_now_and_then, daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record of the run's log."""
        meta = getattr(record, "dagster_meta", None) or {}
        step = meta.get("step_key")
        event = meta.get("dagster_event")
        kind = event.event_type_value if event is not None else None
        if event is not None and kind == "ASSET_CHECK_EVALUATION":
            self._show_check(event.asset_check_evaluation_data)
        if step is None or _stage(step) not in (*ASSETS, SEARCHED):
            return
        if kind == "STEP_START":
            self._started[step] = time.monotonic()
            self._tasks[step] = self._progress.add_task(_stage(step), total=None, said="")
        elif event is not None and kind == "ASSET_MATERIALIZATION":
            said = event.step_materialization_data.materialization.metadata.get("unchanged")
            # A stage of several tables is unchanged where all of them are.
            before = self._unchanged.get(_stage(step), True)
            self._unchanged[_stage(step)] = before and said is not None and bool(said.value)
        elif step in self._tasks and kind == "STEP_SUCCESS":
            self._finish(step, failed=False)
        elif step in self._tasks and kind == "STEP_FAILURE":
            self._finish(step, failed=True)
        elif step in self._tasks and kind is None and record.levelno >= logging.INFO:
            message = meta.get("orig_message", record.getMessage())
            self._progress.update(self._tasks[step], said=plain(message))

    def _print_now_and_then(self) -> None:
        while self._progress.live.is_started:
            time.sleep(PRINTED_AFTER_SECONDS / 2)
            for task in self._progress.tasks:
                self._print_what_is_new(task)

    def _print_what_is_new(self, task: Task) -> None:
        said, seconds = task.fields["said"], task.elapsed or 0.0
        at, before = self._printed.get(task.description, (-math.inf, ""))
        silent = seconds < PRINTED_AFTER_SECONDS or seconds - at < PRINTED_EVERY_SECONDS
        if said in ("", before) or silent or task.id not in self._progress.task_ids:
            return
        self._printed[task.description] = seconds, said
        self._progress.console.print(
            f"  {task.description}: {said}", highlight=False, soft_wrap=True
        )

    def _finish(self, step: str, *, failed: bool) -> None:
        self._progress.remove_task(self._tasks.pop(step))
        stage = _stage(step)
        self._seconds[stage] = time.monotonic() - self._started[step]
        if not failed and stage in BLOCKING:
            self._unchecked[stage] = set(BLOCKING[stage])
        else:
            self._tick(stage, "[red]✗[/]" if failed else "[green]✓[/]")

    def _show_check(self, found: Any) -> None:
        stage, check = found.asset_key.path[-1], found.check_name
        stops = not found.passed and found.severity == dg.AssetCheckSeverity.ERROR
        waiting = self._unchecked.get(stage, set())
        if not stops:
            waiting.discard(check)
        if not found.passed:
            mark = "[red]✗[/]" if stops else "[yellow]![/]"
            self._progress.console.print(
                f"{mark} {stage}: {check}: {plain(found.description or '')}",
                highlight=False,
                soft_wrap=True,
            )
        if stage in self._unchecked and not waiting:
            del self._unchecked[stage]
            self._tick(stage, "[green]✓[/]")

    def finish(self) -> None:
        """Say which stages were made and never got all of their checks."""
        for stage in self._unchecked:
            self._tick(stage, "[dim]·[/]")

    def _tick(self, stage: str, mark: str) -> None:
        unchanged = "  unchanged" if self._unchanged.get(stage, False) else ""
        self._progress.console.print(
            f"{mark} {stage:<42} [dim]{self._seconds[stage]:6.1f} s{unchanged}[/]", soft_wrap=True
        )


def _stage(step: str) -> str:
    return step.rpartition("__")[2]


def stage_logger(handler: StageProgress) -> dg.LoggerDefinition:
    """The logger of a run whose records a handler takes."""

    @dg.logger
    def records(_: dg.InitLoggerContext) -> logging.Logger:
        logger = logging.Logger("recsys", logging.DEBUG)
        logger.addHandler(handler)
        return logger

    return records


@contextmanager
def live_progress() -> Generator[Progress]:
    """Lines that are drawn over while stages go on."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        # The last column takes what is left of the line; what it cannot hold is cut off.
        TextColumn("[dim]{task.fields[said]}[/]", table_column=Column(no_wrap=True, ratio=1)),
    )
    with Progress(*columns, console=console, transient=True, expand=True) as progress:
        yield progress
