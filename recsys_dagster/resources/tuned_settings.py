"""What `recsys tune` found, as those who fit strategies read it."""

import json

from recsys_dagster.resources.warehouse import Warehouse
from recsys_dagster.steps.models.fitting import Tuned


def tuned_settings(recsys_warehouse: Warehouse, catalog: str) -> Tuned:
    """Strategy → knob → value; empty where nothing was ever searched for."""
    if not recsys_warehouse.has(catalog, "tuning"):
        return {}
    rows = recsys_warehouse.query(
        catalog, "select strategy, settings from tuning where chosen order by strategy"
    )
    return {strategy: json.loads(settings) for strategy, settings in rows}
