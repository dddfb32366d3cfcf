"""Running a catalog's job in this process, each stage shown as it goes."""

import os
import time
import uuid
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from dagster._core.instance.ref import InstanceRef
from sqlalchemy.exc import SQLAlchemyError

from recsys_dagster.assets.gate import FORCE_TAG
from recsys_dagster.automation.jobs import STAGES, refresh_job_name
from recsys_dagster.automation.recovery import fail_dead_runs
from recsys_dagster.automation.settings import gaps
from recsys_dagster.catalog.files import Catalogs, catalogs_folder
from recsys_dagster.cli.interrupts import ENDED, QUERY_INTERRUPTED, ended_by_one_signal
from recsys_dagster.cli.stages import ASSETS, SEARCHED, StageProgress, live_progress, stage_logger
from recsys_dagster.cli.terminal import console, error_console, plain
from recsys_dagster.errors import UserError, did_you_mean
from recsys_dagster.home import (
    locks_folder,
    prepare_dagster_home,
    snapshots_folder,
    warehouse_folder,
)
from recsys_dagster.resources.run_locks import forget_run, own_run
from recsys_dagster.resources.warehouse import Warehouse, kept_open
from recsys_dagster.snapshots.current import served
from recsys_dagster.writing import reason_of, unwritten

DAMAGED = ("malformed", "not a database")
"""What SQLite says of a file that is damaged."""


@dataclass(frozen=True)
class Request:
    """What is to be run of a catalog, and how.

    Attributes:
        job: one of the catalog's jobs.
        stages: names of tables of the job; all where none is named.
        config: of Dagster, without loggers.
        tags: of the run.
        wait: whether to wait for another run of the catalog; else it is an error.
    """

    job: str
    stages: Sequence[str] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    wait: bool = True


def run_catalog(
    name: str, stages: list[str], *, everything: bool = False, wait: bool = True
) -> None:
    """Materialise a catalog's stages, all of them where none is named.

    Args:
        name: the catalog.
        stages: names of tables, or published.
        everything: read also those rows of the sources again that did not change.
        wait: whether to wait for another run of the catalog; else it is an error.

    Raises:
        UserError: no such catalog or stage, bad data, a failed check, or another run.
    """
    for stage in stages:
        if stage == SEARCHED:
            raise UserError(f"{stage} is made by a search of its own: recsys tune {name}")
        if stage not in ASSETS:
            raise UserError(f"There is no stage {stage!r}.{did_you_mean(stage, ASSETS)}")
    request = Request(
        _job_name(name, stages), stages, _reading(name, stages, everything), wait=wait
    )
    _run_and_sum_up(name, request)


def publish_catalog(name: str, reason: str | None) -> None:
    """Publish what the tables of a catalog hold, if the gate lets them; else past it.

    Args:
        name: the catalog.
        reason: why what blocking checks object to is published all the same: stages that refused
            to work on it are made first. None publishes nothing that they object to.

    Raises:
        UserError: no such catalog, nothing was run before it, or the gate objects.
    """
    if reason is None:
        _run_and_sum_up(name, Request(f"publish_{name}"))
        return
    stages = [
        stage
        for verb, tables in STAGES.items()
        for stage in tables
        if verb not in ("read", "evaluate")
    ]
    _run_and_sum_up(name, Request(refresh_job_name(name), stages, tags={FORCE_TAG: reason}))


def _run_and_sum_up(name: str, request: Request) -> None:
    started = time.monotonic()
    result = run_job(name, request)
    tables = [
        event.materialization.metadata.get("unchanged")
        for event in result.get_asset_materialization_events()
    ]
    left = sum(entry is not None and bool(entry.value) for entry in tables)
    console.print(
        f"[bold]{name}[/]: {_made(len(tables) - left, left)} in {time.monotonic() - started:.1f} s",
        highlight=False,
    )


def _made(made: int, left: int) -> str:
    """How many tables a run made, and how many it left as they were."""
    if not made:
        return f"nothing has changed, {left} table{'' if left == 1 else 's'} left as before,"
    unchanged = f", {left} unchanged," if left else ""
    return f"{made} table{'' if made == 1 else 's'} made{unchanged}"


def run_job(name: str, request: Request) -> dg.ExecuteInProcessResult:
    """Run a job of a catalog in this process, each stage and failed check shown as it goes.

    Args:
        name: the catalog.
        request: what to run of it.

    Raises:
        UserError: no such catalog, bad data, a failed check, or another run that is not waited
            for.
        KeyboardInterrupt: the run was ended by Ctrl-C.
    """
    # Nothing of the others is needed, and nothing that is wrong with them is in the way.
    catalogs = Catalogs({name: Catalogs.read(catalogs_folder(), alone=True)[name]})
    from recsys_dagster.build import build_defs

    run_id = str(uuid.uuid4())
    with ExitStack() as stack:
        instance = stack.enter_context(_instance())
        stack.enter_context(_history_told(Path(instance.root_directory)))
        stack.enter_context(_canceled_by_ctrl_c(instance, run_id))
        stack.enter_context(ended_by_one_signal(partial(_say_ended, instance, run_id)))
        for sentence in gaps(instance) + fail_dead_runs(instance, locks_folder(), [name]):
            console.print(f"[yellow]![/] {plain(sentence)}", highlight=False, soft_wrap=True)
        stack.enter_context(
            own_run(
                locks_folder(),
                [name],
                run_id,
                request.job,
                _say_waiting if request.wait else partial(_refuse_to_wait, name),
            )
        )
        Warehouse(folder=str(warehouse_folder())).require_free(name)
        progress = stack.enter_context(live_progress())
        shown = StageProgress(progress)
        defs = build_defs(catalogs, loggers={"console": stage_logger(shown)})
        stack.enter_context(kept_open())
        result = defs.resolve_job_def(request.job).execute_in_process(
            instance=instance,
            run_id=run_id,
            run_config={"loggers": {"console": {}}} | dict(request.config),
            asset_selection=_asset_keys(defs, name, request.stages),
            tags=dict(request.tags),
            raise_on_error=False,
        )
        shown.finish()
    failed_checks = [
        f"{check.asset_key.path[-1]}: {check.check_name}: {check.description}"
        for check in result.get_asset_check_evaluations()
        if not check.passed and check.severity == dg.AssetCheckSeverity.ERROR
    ]
    if not result.success and _was_interrupted(result):
        raise KeyboardInterrupt
    if not result.success:
        raise UserError(_failure(name, result, failed_checks))
    return result


def _instance() -> dg.DagsterInstance:
    """Dagster's instance, which leaves the output of this process where it goes.

    Dagster would send it to a file and copy it from there to the terminal, where no line could be
    drawn over and Ctrl-C would end the copying programs first, with a traceback each.

    Raises:
        UserError: its home cannot be made, or its settings are faulty.
    """
    no_capture = {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
    try:
        home = prepare_dagster_home()
        return dg.DagsterInstance.from_ref(
            InstanceRef.from_dir(str(home), overrides={"compute_logs": no_capture})
        )
    except (yaml.YAMLError, dg.DagsterInvalidConfigError) as error:
        raise UserError(f"$DAGSTER_HOME/dagster.yaml is not what Dagster reads: {error}") from None
    except (OSError, SQLAlchemyError) as error:
        raise _without_history(Path(os.environ.get("DAGSTER_HOME", "")), error) from None


@contextmanager
def _history_told(home: Path) -> Generator[None]:
    """What Dagster cannot read or write of runs is a message, as what we cannot write is."""
    try:
        yield
    except (OSError, SQLAlchemyError) as error:
        if reason_of(error) is not None:
            raise unwritten(home, error) from None
        if isinstance(error, SQLAlchemyError):
            raise _without_history(home, error) from None
        raise


def _without_history(home: Path, error: Exception) -> UserError:
    said = str(getattr(error, "orig", None) or error)
    if any(words in said for words in DAMAGED):
        return UserError(
            f"{home}: the history of runs is damaged ({said}): move the folder history away, and "
            "schedules where that does not help; the next run begins them anew. No tables, models "
            "or snapshots are in them."
        )
    return UserError(f"{home}: the history of runs cannot be kept: {reason_of(error) or said}")


def _was_interrupted(result: dg.ExecuteInProcessResult) -> bool:
    errors = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    interruptions = (dg.DagsterExecutionInterruptedError.__name__, f"Error: {QUERY_INTERRUPTED}")
    said = [error.to_string() for error in errors if error is not None]
    return any(words in each for words in interruptions for each in said)


def _say_waiting(sentence: str) -> None:
    console.print(f"[dim]{plain(sentence)}[/]", highlight=False, soft_wrap=True)


def _refuse_to_wait(name: str, sentence: str) -> None:
    raise UserError(
        f"{name!r} is not run: {sentence.removeprefix('waiting for ')}. Without --no-wait it would "
        "be waited for."
    )


def _say_ended(instance: dg.DagsterInstance, run_id: str) -> None:
    """The last words of a process that Ctrl-C ends in the middle of something."""
    console.show_cursor(True)
    error_console.print(f"\n{ENDED}")
    # After the words: the run's history may be locked by somebody else for long.
    forget_run(locks_folder(), run_id)
    _cancel(instance, run_id)


@contextmanager
def _canceled_by_ctrl_c(instance: dg.DagsterInstance, run_id: str) -> Generator[None]:
    """End a run, too, that Dagster has not begun with: sensors would wait for it for ever."""
    try:
        yield
    except KeyboardInterrupt:
        _cancel(instance, run_id)
        raise


def _cancel(instance: dg.DagsterInstance, run_id: str) -> None:
    run = instance.get_run_by_id(run_id)
    if run is not None and not run.is_finished:
        instance.report_run_canceled(run, "ended by Ctrl-C")


def shown_of(result: dg.ExecuteInProcessResult, name: str, stage: str) -> dict[str, Any]:
    """What a run says of a stage in the UI, by name."""
    key = dg.AssetKey([name, stage])
    (event,) = (
        event for event in result.get_asset_materialization_events() if event.asset_key == key
    )
    return {name: entry.value for name, entry in event.materialization.metadata.items()}


def _job_name(name: str, stages: list[str]) -> str:
    """The job that has all the stages: a refresh need not have those that measure."""
    if stages and set(stages) <= set(STAGES["evaluate"]):
        return f"evaluate_{name}"
    return refresh_job_name(name)


def _reading(name: str, stages: list[str], everything: bool) -> dict[str, Any]:
    if not everything:
        return {}
    raw = [table for table in STAGES["read"] if not stages or table in stages]
    return {"ops": {f"{name}__{table}": {"config": {"everything": True}} for table in raw}}


def _asset_keys(defs: dg.Definitions, name: str, stages: Sequence[str]) -> list[dg.AssetKey] | None:
    """The keys of the stages, with those that are made together with them; None for all."""
    if not stages:
        return None
    selection = dg.AssetSelection.assets(*(dg.AssetKey([name, stage]) for stage in stages))
    together = selection.required_multi_asset_neighbors()
    return sorted(together.resolve(defs.resolve_asset_graph()))


def _failure(name: str, result: dg.ExecuteInProcessResult, failed_checks: list[str]) -> str:
    readers = served(snapshots_folder(), name, result.run_id)
    lines = [f"The run of {name!r} stopped; {readers}."]
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
