"""Telling somebody that a run failed: which check, with its figures, or which error, and where."""

import json
import subprocess
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg

from recsys_dagster.automation.runs import catalogs_of
from recsys_dagster.catalogs import Catalogs
from recsys_dagster.errors import UserError
from recsys_dagster.operations import AlertSettings
from recsys_dagster.resources.warehouse import Warehouse, quote
from recsys_dagster.source import expand_variables

PATIENCE_SECONDS = 30
MOST_REASONS = 5
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
    def alert_on_failure(context: dg.RunFailureSensorContext, recsys_warehouse: Warehouse) -> None:
        for name in catalogs_of(context.dagster_run):
            if name in told:
                tell(told[name], describe(name, told[name], context, recsys_warehouse))
                context.log.info(f"told of the failed run of {name}")

    return alert_on_failure


def describe(
    catalog: str, alert: AlertSettings, context: dg.RunFailureSensorContext, warehouse: Warehouse
) -> dict[str, Any]:
    """What is told of a failed run; see `AlertSettings`.

    Args:
        catalog: whose run it was.
        alert: its settings.
        context: of the sensor.
        warehouse: where the rejected rows are.
    """
    run, instance = context.dagster_run, context.instance
    checks = failed_checks(instance, run.run_id, catalog)
    rejected = {
        check["asset"]: _reasons(warehouse, catalog, check["asset"])
        for check in checks
        if check["check"].endswith(ABOUT_REJECTIONS)
    }
    url = f"{expand_variables(alert.ui).rstrip('/')}/runs/{run.run_id}"
    errors = step_errors(instance, run.run_id, catalog)
    if not checks and not errors:
        errors = [_first_line(context.failure_event.message or "") or "the run failed"]
    return {
        "catalog": catalog,
        "job": run.job_name,
        "run_id": run.run_id,
        "url": url,
        "message": _in_words(catalog, run.job_name, checks, rejected, errors, url),
        "checks": checks,
        "rejected": rejected,
    }


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
            f"select reason, count(*) as n from {quote(rejected)} where not by_setting "
            f"group by reason order by n desc, reason limit {MOST_REASONS}",
        )
    except (UserError, dg.RetryRequested):
        # The next run holds the file. The message is worth more now than with the reasons later.
        return []
    return [{"reason": reason, "rows": number} for reason, number in rows]


def _in_words(
    catalog: str,
    job: str,
    checks: Sequence[Mapping[str, str]],
    rejected: Mapping[str, Sequence[Mapping[str, Any]]],
    errors: Sequence[str],
    url: str,
) -> str:
    lines = [f"{catalog}: the run of {job} failed; what was published before is still served."]
    for check in checks:
        lines.append(f"{check['asset']}: {check['check']} failed: {check['description']}")
        if check["check"].endswith(ABOUT_REJECTIONS):
            lines += [f"  {one['rows']:,} × {one['reason']}" for one in rejected[check["asset"]]]
    return "\n".join([*lines, *errors, url])


def tell(alert: AlertSettings, message: Mapping[str, Any]) -> None:
    """Hand a message to the command and the webhook.

    Raises:
        subprocess.SubprocessError: the command failed or took longer than half a minute.
        OSError: there is no such command, or the webhook was not reached.
    """
    content = json.dumps(message, ensure_ascii=False).encode()
    if alert.command:
        subprocess.run(list(alert.command), input=content, check=True, timeout=PATIENCE_SECONDS)  # noqa: S603, the user's own
    if alert.webhook:
        address = expand_variables(alert.webhook)
        if not address.startswith(("http://", "https://")):
            raise OSError("the webhook is no http address")
        request = urllib.request.Request(  # noqa: S310, checked above
            address, content, {"Content-Type": "application/json"}, method="POST"
        )
        urllib.request.urlopen(request, timeout=PATIENCE_SECONDS).close()  # noqa: S310
