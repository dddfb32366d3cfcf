"""The stages whose inputs or settings changed and passed their checks, and no others.

The other way to refresh is a run through all stages, which is what a catalog does unless it says
`refresh: {automation: conditions}`.
"""

import dagster as dg

from recsys_dagster.assets.common import quality_group
from recsys_dagster.assets.sources import source_key
from recsys_dagster.automation.jobs import STAGES
from recsys_dagster.catalog.files import Catalogs
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.schemas import TABLES

SECONDS_BETWEEN_LOOKS = 30


def condition_of(catalog: Catalog, table: str) -> dg.AutomationCondition | None:
    """When Dagster makes a table of a catalog by itself; None where it does not.

    Args:
        catalog: whose.
        table: its name.
    """
    if catalog.refresh.automation != "conditions":
        return None
    if table in STAGES["evaluate"] and not catalog.evaluation.on_refresh:
        return None
    waiting = ~dg.AutomationCondition.in_progress()
    if table in STAGES["read"] and source_key(catalog, table.removeprefix("raw_")) is None:
        # Nothing that could change is known of it: it is made once, for those after it.
        return (dg.AutomationCondition.missing() & waiting).with_label("missing")
    # A stage that worked and came to the same result is no reason for those after it.
    changed = dg.AutomationCondition.data_version_changed()
    eager = dg.AutomationCondition.eager().replace("newly_updated", changed)
    # What is made on request may be missing for good: nobody waits for it.
    missing = dg.AutomationCondition.any_deps_missing()
    on_request = [
        dg.AssetKey([catalog.name, each.name]) for each in TABLES.values() if each.on_request
    ]
    eager = eager.replace(missing, missing.ignore(dg.AssetSelection.assets(*on_request)))
    settings = dg.AutomationCondition.code_version_changed() & waiting
    passed = dg.AutomationCondition.all_deps_blocking_checks_passed()
    return ((eager | settings) & passed).with_label("changed, and checks passed")


def check_condition(catalog: Catalog) -> dg.AutomationCondition | None:
    """When Dagster runs a check that looks at several tables; None where with its own table."""
    if catalog.refresh.automation != "conditions":
        return None
    return dg.AutomationCondition.eager()


def condition_sensor(catalogs: Catalogs) -> dg.AutomationConditionSensorDefinition | None:
    """The sensor that looks at the conditions, running from the start; None where there is none."""
    names = [
        name for name, catalog in catalogs.items() if catalog.refresh.automation == "conditions"
    ]
    if not names:
        return None
    return dg.AutomationConditionSensorDefinition(
        name="automation_conditions",
        target=dg.AssetSelection.groups(*names, *map(quality_group, names)),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
        description="Makes each stage when what it is made from has changed and passed its checks, "
        "in catalogs with refresh: {automation: conditions}.",
    )
