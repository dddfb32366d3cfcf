"""Running a catalog's job in this process, each stage shown as it goes."""

import logging
import math
import os
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

from recsys_dagster.automation.jobs import STAGES, refresh_job_name
from recsys_dagster.catalogs import Catalogs, catalogs_folder
from recsys_dagster.cli.tables import console, plain
from recsys_dagster.errors import UserError, did_you_mean
from recsys_dagster.home import prepare_dagster_home, warehouse_folder
from recsys_dagster.resources.warehouse import Warehouse

PRINTED_AFTER_SECONDS = 2.0
PRINTED_EVERY_SECONDS = 15.0
"""Off a terminal: how long a stage takes before what it says is printed, and how often then."""
ASSETS = list(dict.fromkeys(asset for assets in STAGES.values() for asset in assets))


class StageProgress(logging.Handler):
    """Shows Dagster's step events as one line a stage, with the last thing the stage said.

    Where lines cannot be drawn over, in a file or a pipe, what a long stage says is printed now
    and then: a stage that takes minutes would look like one that hangs.
    """

    def __init__(self, progress: Progress) -> None:
        super().__init__(logging.DEBUG)
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, float] = {}
        self._printed: dict[str, tuple[float, str]] = {}
        if not progress.console.is_interactive:
            threading.Thread(target=self._print_now_and_then, daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record of the run's log."""
        meta = getattr(record, "dagster_meta", None) or {}
        step = meta.get("step_key")
        event = meta.get("dagster_event")
        kind = event.event_type_value if event is not None else None
        if step is None or _stage(step) not in ASSETS:
            return
        if kind == "STEP_START":
            self._started[step] = time.monotonic()
            self._tasks[step] = self._progress.add_task(_stage(step), total=None, said="")
        elif step in self._tasks and kind == "STEP_SUCCESS":
            self._finish(step, "[green]✓[/]")
        elif step in self._tasks and kind == "STEP_FAILURE":
            self._finish(step, "[red]✗[/]")
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

    def _finish(self, step: str, mark: str) -> None:
        task = self._tasks.pop(step)
        self._progress.remove_task(task)
        seconds = time.monotonic() - self._started[step]
        self._progress.console.print(f"{mark} {_stage(step):<42} [dim]{seconds:6.1f} s[/]")


def _stage(step: str) -> str:
    return step.rpartition("__")[2].removeprefix("parse_raw_")


def _logger(handler: StageProgress) -> dg.LoggerDefinition:
    @dg.logger
    def stage_logger(_: dg.InitLoggerContext) -> logging.Logger:
        logger = logging.Logger("recsys", logging.DEBUG)
        logger.addHandler(handler)
        return logger

    return stage_logger


@contextmanager
def _live_progress() -> Generator[Progress]:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        # The last column takes what is left of the line; what it cannot hold is cut off.
        TextColumn("[dim]{task.fields[said]}[/]", table_column=Column(no_wrap=True, ratio=1)),
    )
    with (
        _past_capture() as shown,
        Progress(*columns, console=shown, transient=True, expand=True) as progress,
    ):
        yield progress


@contextmanager
def _past_capture() -> Generator[Console]:
    """A console for what is shown while a run lasts.

    Dagster then sends the process's output to a file, which is copied to the terminal. Lines
    cannot be drawn over in a file, so this console writes where the output went before.
    """
    try:
        copied = os.dup(console.file.fileno())
    except (AttributeError, OSError):
        # No file of the system: nothing is sent elsewhere.
        yield console
        return
    with os.fdopen(copied, "w", encoding=console.encoding, errors="replace") as file:
        yield Console(file=file)


def run_catalog(name: str, stages: list[str], *, everything: bool = False) -> None:
    """Materialise a catalog's stages, all of them where none is named.

    Args:
        name: the catalog.
        stages: names of tables, or published.
        everything: read also those rows of the sources again that did not change.

    Raises:
        UserError: no such catalog or stage, bad data, or a failed check.
    """
    for stage in stages:
        if stage not in ASSETS:
            raise UserError(f"There is no stage {stage!r}.{did_you_mean(stage, ASSETS)}")
    started = time.monotonic()
    result = run_job(name, _job_name(name, stages), stages, _reading(name, stages, everything))
    made = len(result.get_asset_materialization_events())
    console.print(
        f"[bold]{name}[/]: {made} table{'' if made == 1 else 's'} in "
        f"{time.monotonic() - started:.1f} s",
        highlight=False,
    )


def run_job(
    name: str, job_name: str, stages: list[str], run_config: Mapping[str, Any]
) -> dg.ExecuteInProcessResult:
    """Run a job of a catalog in this process, each stage shown as it goes, warnings after it.

    Args:
        name: the catalog.
        job_name: one of its jobs.
        stages: names of tables of the job, all where none is named.
        run_config: of Dagster, without loggers.

    Raises:
        UserError: no such catalog, bad data, or a failed check.
    """
    catalogs = Catalogs.read(catalogs_folder())
    catalogs[name]
    Warehouse(folder=str(warehouse_folder())).require_free(name)
    prepare_dagster_home()
    from recsys_dagster.build import build_defs

    with _live_progress() as progress:
        defs = build_defs(catalogs, loggers={"console": _logger(StageProgress(progress))})
        job = defs.resolve_job_def(job_name)
        with dg.DagsterInstance.get() as instance:
            result = job.execute_in_process(
                instance=instance,
                run_config={"loggers": {"console": {}}} | dict(run_config),
                asset_selection=_asset_keys(defs, name, stages),
                raise_on_error=False,
            )
    failed_checks = [
        f"{check.asset_key.path[-1]}: {check.check_name}: {check.description}"
        for check in result.get_asset_check_evaluations()
        if not check.passed
    ]
    if not result.success:
        raise UserError(_failure(name, result, failed_checks))
    for warning in failed_checks:
        console.print(f"[yellow]![/] {plain(warning)}", highlight=False, soft_wrap=True)
    return result


def shown_of(result: dg.ExecuteInProcessResult, name: str, stage: str) -> dict[str, Any]:
    """What a run says of a stage in the UI, by name."""
    key = dg.AssetKey([name, stage])
    (event,) = (
        event for event in result.get_asset_materialization_events() if event.asset_key == key
    )
    return {name: entry.value for name, entry in event.materialization.metadata.items()}


def _job_name(name: str, stages: list[str]) -> str:
    """The job that has all the stages: a refresh need not have those that measure and search."""
    for verb in ("evaluate", "tune"):
        if stages and set(stages) <= set(STAGES[verb]):
            return f"{verb}_{name}"
    return refresh_job_name(name)


def _reading(name: str, stages: list[str], everything: bool) -> dict[str, Any]:
    if not everything:
        return {}
    raw = [table for table in STAGES["read"] if not stages or table in stages]
    return {"ops": {f"{name}__{table}": {"config": {"everything": True}} for table in raw}}


def _asset_keys(defs: dg.Definitions, name: str, stages: list[str]) -> list[dg.AssetKey] | None:
    """The keys of the stages, with those that are made together with them; None for all."""
    if not stages:
        return None
    selection = dg.AssetSelection.assets(*(dg.AssetKey([name, stage]) for stage in stages))
    together = selection.required_multi_asset_neighbors()
    return sorted(together.resolve(defs.resolve_asset_graph()))


def _failure(name: str, result: dg.ExecuteInProcessResult, failed_checks: list[str]) -> str:
    lines = [f"The run of {name!r} stopped; what was published before is still served."]
    lines += [f"  check failed: {check}" for check in failed_checks]
    for event in result.all_events:
        if event.is_step_failure and not failed_checks:
            error = event.step_failure_data.error
            cause = error.cause if error is not None and error.cause is not None else error
            message = cause.message.strip() if cause is not None else "unknown error"
            kind, _, text = message.partition(": ")
            shown = text if kind.endswith(("UserError", "EncoderError")) else message
            lines.append(f"  {event.step_key}: {shown}")
    lines.append(f"  The whole log is in the Dagster UI, run {result.run_id}.")
    return "\n".join(lines)
