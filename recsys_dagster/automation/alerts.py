"""Telling somebody that a run failed."""

import json
import subprocess
import urllib.request
from collections.abc import Mapping

import dagster as dg

from recsys_dagster.automation.runs import catalogs_of
from recsys_dagster.catalogs import Catalogs
from recsys_dagster.operations import AlertSettings
from recsys_dagster.source import expand_variables

PATIENCE_SECONDS = 30


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
    def alert_on_failure(context: dg.RunFailureSensorContext) -> None:
        name = next((name for name in catalogs_of(context.dagster_run) if name in told), "")
        if name not in told:
            return
        message = {
            "catalog": name,
            "job": context.dagster_run.job_name,
            "run_id": context.dagster_run.run_id,
            "message": context.failure_event.message or "the run failed",
        }
        tell(told[name], message)
        context.log.info(f"told of the failed run of {name}")

    return alert_on_failure


def tell(alert: AlertSettings, message: Mapping[str, str]) -> None:
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
