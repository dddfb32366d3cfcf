"""Telling somebody that a run failed: which check, with its figures, or which error, and where."""

import json
import subprocess
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg
import duckdb

from recsys_dagster.automation.runs import catalogs_of
from recsys_dagster.catalog.files import Catalogs
from recsys_dagster.catalog.operations import AlertSettings
from recsys_dagster.catalog.source import expand_variables
from recsys_dagster.errors import UserError
from recsys_dagster.resources.snapshot_store import SnapshotStore
from recsys_dagster.resources.warehouse import Warehouse
from recsys_dagster.snapshots.current import served
from recsys_dagster.sql import quoted

PATIENCE_SECONDS = 30
MAX_REASONS = 5
"""Reasons of rejection that are told, the most frequent first."""
CHECK_FAILED = "DagsterAssetCheckFailedError"
"""What Dagster raises in the step of a check; the check's own sentence says more."""
ABOUT_REJECTIONS = "_accepted_share"
"""How the checks end that fail where too many rows were rejected."""


def alert_sensor(catalogs: Catalogs) -> dg.SensorDefinition | None:
    """Tells of failed runs of the catalogs that say whom to tell; None where none does."""
    told = {
        name: catalog.alert
        for name, catalog in catalogs.items()
        if catalog.alert.command or catalog.alert.webhook
    }
    if not told:
        return None

    @dg.run_failure_sensor(
        name="alert_on_failure",
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Runs the command and calls the webhook under `alert` of a catalog.",
    )
    def alert_on_failure(
        context: dg.RunFailureSensorContext,
        recsys_warehouse: Warehouse,
        recsys_snapshots: SnapshotStore,
    ) -> None:
        folder = recsys_snapshots.place
        faults = []
        for name in catalogs_of(context.dagster_run):
            if name not in told:
                continue
            try:
                readers = served(folder, name, context.dagster_run.run_id)
                tell(told[name], describe(name, told[name], context, recsys_warehouse, readers))
            except Exception as error:  # whoever is to be told of the other catalogs is told
                faults.append(f"{name}: {type(error).__name__}: {error}")
            else:
                context.log.info(f"told of the failed run of {name}")
        if faults:
            raise UserError("nobody was told of a failed run: " + "; ".join(faults))

    return alert_on_failure


def describe(
    catalog: str,
    alert: AlertSettings,
    context: dg.RunFailureSensorContext,
    warehouse: Warehouse,
    readers: str,
) -> dict[str, Any]:
    """What is told of a failed run; see `AlertSettings`.

    Args:
        catalog: whose run it was.
        alert: its settings.
        context: of the sensor.
        warehouse: where the rejected rows are.
        readers: what they get now, in words.
    """
    run, instance = context.dagster_run, context.instance
    checks = failed_checks(instance, run.run_id, catalog)
    rejected = {
        check["asset"]: _reasons(warehouse, catalog, check["asset"])
        for check in checks
        if check["check"].endswith(ABOUT_REJECTIONS)
    }
    url = f"{_address(alert.ui).rstrip('/')}/runs/{run.run_id}"
    errors = step_errors(instance, run.run_id, catalog)
    if not checks and not errors:
        errors = [_first_line(context.failure_event.message or "") or "the run failed"]
    first = f"{catalog}: the run of {run.job_name} failed; {readers}."
    return {
        "catalog": catalog,
        "job": run.job_name,
        "run_id": run.run_id,
        "url": url,
        "message": _in_words(first, checks, rejected, errors, url),
        "checks": checks,
        "rejected": rejected,
    }


def _address(ui: str) -> str:
    """Where the UI is; as it is written where a variable in it is not set: better than no word."""
    try:
        return expand_variables(ui)
    except UserError:
        return ui


def failed_checks(instance: dg.DagsterInstance, run_id: str, catalog: str) -> list[dict[str, str]]:
    """The checks of a catalog that stopped a run: asset, check, and what was found in a sentence.

    Checks that only warn are left out, and so is what passed when its step was tried again.
    """
    last: dict[tuple[str, str], dg.AssetCheckEvaluation] = {}
    for event in _events(instance, run_id, dg.DagsterEventType.ASSET_CHECK_EVALUATION):
        found = event.asset_check_evaluation_data
        if found.asset_key.path[0] != catalog:
            continue
        last[found.asset_key.path[-1], found.check_name] = found
    return [
        {"asset": asset, "check": check, "description": found.description or "failed"}
        for (asset, check), found in last.items()
        if not found.passed and found.severity == dg.AssetCheckSeverity.ERROR
    ]


def step_errors(instance: dg.DagsterInstance, run_id: str, catalog: str) -> list[str]:
    """For each step of a catalog that failed its table and the error, checks left out.

    Of an error that is written for people all of it, of any other the first line.
    """
    lines = []
    for event in _events(instance, run_id, dg.DagsterEventType.STEP_FAILURE):
        error = event.step_failure_data.error
        owner, _, table = (event.step_key or "").rpartition("__")
        if owner != catalog or (error is not None and error.cls_name == CHECK_FAILED):
            continue
        cause = error.cause if error is not None and error.cause is not None else error
        message = (cause.message if cause is not None else "").strip()
        kind, _, text = message.partition(": ")
        # The class of an error that is written for people tells them nothing.
        for_people = kind.endswith(("UserError", "EncoderError"))
        said = text if for_people else _first_line(message) or "unknown error"
        lines.append(f"{table}: {said}")
    return lines


def _events(
    instance: dg.DagsterInstance, run_id: str, kind: dg.DagsterEventType
) -> Iterable[dg.DagsterEvent]:
    for entry in instance.all_logs(run_id, of_type=kind):
        if entry.dagster_event is not None:
            yield entry.dagster_event


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _reasons(warehouse: Warehouse, catalog: str, table: str) -> list[dict[str, Any]]:
    """The reasons that most rows were rejected for, with their number; never what was in a row."""
    rejected = f"rejected_{table}"
    try:
        if not warehouse.has(catalog, rejected):
            return []
        rows = warehouse.query(
            catalog,
            f"select reason, count(*) as n from {quoted(rejected)} where not by_setting "
            f"group by reason order by n desc, reason limit {MAX_REASONS}",
        )
    except (UserError, dg.RetryRequested, duckdb.Error):
        # The next run holds the file. The message is worth more now than with the reasons later.
        return []
    return [{"reason": reason, "rows": number} for reason, number in rows]


def _in_words(
    first: str,
    checks: Sequence[Mapping[str, str]],
    rejected: Mapping[str, Sequence[Mapping[str, Any]]],
    errors: Sequence[str],
    url: str,
) -> str:
    lines = [first]
    for check in checks:
        lines.append(f"{check['asset']}: {check['check']} failed: {check['description']}")
        if check["check"].endswith(ABOUT_REJECTIONS):
            lines += [f"  {one['rows']:,} × {one['reason']}" for one in rejected[check["asset"]]]
    return "\n".join([*lines, *errors, url])


def tell(alert: AlertSettings, message: Mapping[str, Any]) -> None:
    """Hand a message to the command and the webhook; to the one also where the other fails.

    Raises:
        subprocess.SubprocessError: the command failed or took longer than half a minute.
        OSError: there is no such command, or the webhook was not reached.
        UserError: a variable in the webhook's address is not set.
    """
    content = json.dumps(message, ensure_ascii=False).encode()
    try:
        if alert.command:
            subprocess.run(list(alert.command), input=content, check=True, timeout=PATIENCE_SECONDS)  # noqa: S603, the user's own
    finally:
        _post(alert, content)


def _post(alert: AlertSettings, content: bytes) -> None:
    if alert.webhook:
        address = expand_variables(alert.webhook)
        if not address.startswith(("http://", "https://")):
            raise OSError("the webhook is no http address")
        request = urllib.request.Request(  # noqa: S310, checked above
            address, content, {"Content-Type": "application/json"}, method="POST"
        )
        urllib.request.urlopen(request, timeout=PATIENCE_SECONDS).close()  # noqa: S310
