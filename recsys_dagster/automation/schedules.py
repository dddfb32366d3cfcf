"""Runs at set times, where the catalog asks for them."""

import dagster as dg

from recsys_dagster.automation.jobs import CATALOG_TAG, refresh_job_name
from recsys_dagster.catalog.settings import Catalog


def refresh_schedule(catalog: Catalog) -> dg.ScheduleDefinition | None:
    """The schedule of a catalog, running from the start; None where the YAML has none."""
    if catalog.refresh.schedule is None:
        return None
    return dg.ScheduleDefinition(
        name=f"refresh_{catalog.name}_schedule",
        job_name=refresh_job_name(catalog.name),
        cron_schedule=catalog.refresh.schedule,
        execution_timezone=catalog.refresh.timezone,
        tags={CATALOG_TAG: catalog.name},
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"From `refresh.schedule` of the catalog {catalog.name}.",
    )
