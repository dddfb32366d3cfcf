"""How runs are executed: a catalog's in one process, one run a catalog at a time.

A stage takes seconds and starting a process with torch takes ten, so a run that makes something of
a catalog goes through its steps in its own process, whoever started it. Runs of anything else in
the same project are executed as Dagster would without us.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.executor.base import Executor
from dagster._core.executor.in_process import InProcessExecutor
from dagster._utils.interrupts import check_captured_interrupt

from recsys_dagster.automation.runs import catalogs_of
from recsys_dagster.resources.run_locks import own_run
from recsys_dagster.resources.warehouse import kept_open


class CatalogExecutor(Executor):
    """In this process, holding the locks of the catalogs; Dagster's own way for other runs."""

    def __init__(self, default: Executor, folder: Path) -> None:
        self._default = default
        self._folder = folder

    @property
    def retries(self) -> Any:
        """As Dagster's own executor has it."""
        return self._default.retries

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[dg.DagsterEvent]:
        """Execute the steps of a run."""
        run = plan_context.dagster_run
        catalogs = catalogs_of(run)
        if not catalogs:
            yield from self._default.execute(plan_context, execution_plan)
            return
        with (
            own_run(
                self._folder,
                catalogs,
                run.run_id,
                run.job_name,
                plan_context.log.info,
                _stop_if_asked,
            ),
            kept_open(),
        ):
            in_process = InProcessExecutor(self._default.retries)
            yield from in_process.execute(plan_context, execution_plan)


def _stop_if_asked() -> None:
    """End the waiting where a person ended the run."""
    if check_captured_interrupt():
        raise dg.DagsterExecutionInterruptedError


@cache
def catalog_executor(folder: Path) -> dg.ExecutorDefinition:
    """The executor of a code location with catalogs.

    Args:
        folder: where locks lie.
    """
    default: Any = dg.multi_or_in_process_executor

    @dg.executor(
        name="catalogs",
        config_schema=default.config_schema,
        requirements=default.get_requirements,
    )
    def create(context: dg.InitExecutorContext) -> CatalogExecutor:
        return CatalogExecutor(default.executor_creation_fn(context), folder)

    return create
