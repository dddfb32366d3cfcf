"""After a crash: runs whose process is gone are failed, and interrupted refreshes asked for again.

Dagster knows that a run was started, and waits for its end; when the machine lost power there is
none. A run of a catalog holds a lock for as long as its process lives (`resources/run_locks.py`),
so a sensor sees on its first tick after the start which ones are gone.
"""

import json
import socket
import time
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.storage.tags import GRPC_INFO_TAG

from recsys_dagster.automation.jobs import CATALOG_TAG, refresh_job_name
from recsys_dagster.automation.runs import UNFINISHED, catalogs_of, runs_of
from recsys_dagster.automation.settings import gaps
from recsys_dagster.catalogs import Catalogs
from recsys_dagster.resources.locks import holder_of
from recsys_dagster.resources.run_locks import has_died, run_lock

DIED_TAG = "recsys/died"
"""Tag of a run that was failed because its process was gone."""
RESTARTS_TAG = "recsys/restarts"
"""Tag of a run that takes up one that died: how many did before it."""
MAX_RESTARTS = 2
"""A refresh that dies every time, say for want of memory, must not do so for ever."""
SECONDS_TO_START = 30.0
RECENT = timedelta(days=1)
CHECKED_EVERY_SECONDS = 15
STARTED = [
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def fail_dead_runs(
    instance: dg.DagsterInstance, folder: Path, catalogs: Collection[str]
) -> list[str]:
    """Fail the runs of catalogs whose process is gone, and free what they held.

    Args:
        instance: where runs are known.
        folder: where locks lie.
        catalogs: whose runs.

    Returns:
        a sentence for each of them.
    """
    sentences = []
    for record in instance.get_run_records(dg.RunsFilter(statuses=STARTED)):
        run = record.dagster_run
        if not set(catalogs_of(run)) & set(catalogs):
            continue
        started = record.start_time or record.update_timestamp.timestamp()
        if not _is_dead(run, folder, time.time() - started):
            continue
        holder = holder_of(run_lock(folder, run.run_id))
        process = f"process {holder.pid}" if holder else "process"
        sentence = (
            f"the {process} of run {run.run_id[:8]} of {run.job_name} is gone, killed or lost with "
            "the machine: the run is marked as failed"
        )
        instance.add_run_tags(run.run_id, {DIED_TAG: "true"})
        if run.status == dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, sentence)
        else:
            instance.report_run_failed(run, sentence)
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        sentences.append(sentence)
    return sentences


def _is_dead(run: dg.DagsterRun, folder: Path, seconds: float) -> bool:
    died = has_died(folder, run.run_id)
    if died is not None:
        return died
    # Not yet at its first step: as alive as the server that was to start it.
    return seconds > SECONDS_TO_START and _server_is_gone(run)


def _server_is_gone(run: dg.DagsterRun) -> bool:
    """Whether the code server that was told to start a run was on this machine, and is no more."""
    info = json.loads(run.tags.get(GRPC_INFO_TAG, "{}"))
    if not info.get("socket"):
        return False
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(info["socket"])
        except OSError:
            return True
    return False


def recovery_sensor(catalogs: Catalogs, folder: Path, jobs: list[Any]) -> dg.SensorDefinition:
    """The sensor that heals after a crash, running from the start.

    Args:
        catalogs: of the code location.
        folder: where locks lie.
        jobs: the refresh job of each catalog.
    """
    said: list[str] = []  # what dagster.yaml lacks is said once after each start

    @dg.sensor(
        name="recover_runs",
        jobs=jobs,
        minimum_interval_seconds=CHECKED_EVERY_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Fails runs whose process is gone, as after a power cut, and asks for the "
        "refreshes that were interrupted again.",
    )
    def recover_runs(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        sentences = [] if said else gaps(context.instance)
        said.extend(sentences)
        sentences += fail_dead_runs(context.instance, folder, list(catalogs))
        for sentence in sentences:
            context.log.warning(sentence)
        requests = interrupted_refreshes(context.instance, list(catalogs))
        if requests:
            return dg.SensorResult(run_requests=requests)
        return dg.SensorResult(skip_reason="; ".join(sentences) or "no run has died")

    return recover_runs


def interrupted_refreshes(
    instance: dg.DagsterInstance, catalogs: Collection[str]
) -> list[dg.RunRequest]:
    """A request for each catalog whose last run was a refresh that died.

    The run key names the run that died: a tick that is repeated asks for the same one. A refresh
    that a person started on the command line is theirs to start again, and one that died three
    times needs a person.
    """
    requests = []
    for catalog in catalogs:
        last = next(iter(runs_of(instance, catalog, limit=1)), None)
        if last is None or DIED_TAG not in last.tags or GRPC_INFO_TAG not in last.tags:
            continue
        restarts = int(last.tags.get(RESTARTS_TAG, "0"))
        whole = last.job_name == refresh_job_name(catalog) and not last.asset_selection
        if not whole or last.status in UNFINISHED or restarts >= MAX_RESTARTS:
            continue
        record = instance.get_run_record_by_id(last.run_id)
        if record is None or record.create_timestamp < datetime.now(UTC) - RECENT:
            continue
        requests.append(
            dg.RunRequest(
                run_key=f"{catalog}-after-{last.run_id}",
                job_name=refresh_job_name(catalog),
                tags={CATALOG_TAG: catalog, RESTARTS_TAG: str(restarts + 1)},
            )
        )
    return requests
