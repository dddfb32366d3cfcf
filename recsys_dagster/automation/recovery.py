"""After a crash: runs whose process is gone are failed, and interrupted refreshes asked for again.

Dagster knows that a run was started, and waits for its end; when the machine lost power there is
none. A run of a catalog holds a lock for as long as its process lives (`resources/run_locks.py`),
so a sensor sees on its first tick after the start which ones are gone.
"""

import json
import socket
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.storage.tags import GRPC_INFO_TAG

from recsys_dagster.automation.jobs import CATALOG_TAG, HOST_TAG, refresh_job_name
from recsys_dagster.automation.runs import catalogs_of, runs_of
from recsys_dagster.automation.settings import gaps
from recsys_dagster.catalog.files import Catalogs
from recsys_dagster.resources.locks import holder_of
from recsys_dagster.resources.run_locks import forget_run, has_died, run_lock

DIED_TAG = "recsys/died"
"""Tag of a run that was failed because its process was gone."""
RESTARTS_TAG = "recsys/restarts"
"""Tag of a run that takes up one that died: how many did before it."""
MAX_RESTARTS = 2
"""A refresh that dies every time, say for want of memory, must not do so for ever."""
SECONDS_TO_START, SECONDS_TO_END = 30.0, 1.0
CHECKED_EVERY_SECONDS = 15
MAY_BE_DEAD = [
    dg.DagsterRunStatus.NOT_STARTED,  # killed just before: sensors wait for what is to begin
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

    def dead(run: dg.DagsterRun) -> bool:
        record = instance.get_run_record_by_id(run.run_id)
        if record is None or record.dagster_run.status not in MAY_BE_DEAD:
            return False
        started = record.start_time or record.update_timestamp.timestamp()
        return _is_dead(record.dagster_run, folder, time.time() - started)

    sentences = []
    for run in instance.get_runs(dg.RunsFilter(statuses=MAY_BE_DEAD)):
        if not set(catalogs_of(run)) & set(catalogs) or not dead(run):
            continue
        # One that ends just now has let go of its lock and not yet said that it ended.
        time.sleep(SECONDS_TO_END)
        if dead(run):
            sentences.append(_bury(instance, folder, run))
    return sentences


def _bury(instance: dg.DagsterInstance, folder: Path, run: dg.DagsterRun) -> str:
    """End a run for its dead process; the sentence that says so."""
    holder = holder_of(run_lock(folder, run.run_id))
    process = f"process {holder.pid}" if holder else "process"
    canceling = run.status == dg.DagsterRunStatus.CANCELING
    sentence = (
        f"the {process} of run {run.run_id[:8]} of {run.job_name} is gone, killed or lost with the "
        f"machine: the run is marked as {'canceled' if canceling else 'failed'}"
    )
    if canceling:
        instance.report_run_canceled(run, sentence)
    else:
        instance.add_run_tags(run.run_id, {DIED_TAG: "true"})
        instance.report_run_failed(run, sentence)
    instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    forget_run(folder, run.run_id)
    return sentence


def _is_dead(run: dg.DagsterRun, folder: Path, seconds: float) -> bool:
    died = has_died(folder, run.run_id)
    if died is not None:
        return died
    if run.status == dg.DagsterRunStatus.NOT_STARTED:
        return False  # the daemon takes up again what it was about to start
    # Not yet at its first step: as alive as the server that was to start it, if that was here.
    here = run.tags.get(HOST_TAG) == socket.gethostname()
    return here and seconds > SECONDS_TO_START and _server_is_gone(run)


def _server_is_gone(run: dg.DagsterRun) -> bool:
    """Whether the code server of this machine that was told to start a run is no more."""
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
        requests = interrupted_refreshes(context.instance, catalogs)
        if requests:
            return dg.SensorResult(run_requests=requests)
        return dg.SensorResult(skip_reason="; ".join(sentences) or "no run has died")

    return recover_runs


def interrupted_refreshes(instance: dg.DagsterInstance, catalogs: Catalogs) -> list[dg.RunRequest]:
    """A request for each catalog whose last run was a refresh that died.

    The run key names the run that died: a tick that is repeated asks for the same one. A refresh
    that a person started on the command line is theirs to start again, and one that died three
    times needs a person. Where conditions make the stages, each of their runs is a part of a
    refresh: Dagster takes what it asked for as done.
    """
    requests = []
    for name, catalog in catalogs.items():
        last = next(iter(runs_of(instance, name, limit=1)), None)
        if last is None or last.status != dg.DagsterRunStatus.FAILURE:
            continue
        if DIED_TAG not in last.tags or GRPC_INFO_TAG not in last.tags:
            continue
        restarts = int(last.tags.get(RESTARTS_TAG, "0"))
        whole = last.job_name == refresh_job_name(name) and not last.asset_selection
        if restarts < MAX_RESTARTS and (whole or catalog.refresh.automation == "conditions"):
            requests.append(
                dg.RunRequest(
                    run_key=f"{name}-after-{last.run_id}",
                    job_name=refresh_job_name(name),
                    tags={CATALOG_TAG: name, RESTARTS_TAG: str(restarts + 1)},
                )
            )
    return requests
