"""Searching for settings from the command line."""

import json
import math
import sys
from typing import Any

import pandas as pd

from recsys_dagster.catalog.files import Catalogs, catalogs_folder
from recsys_dagster.cli.running import Request, run_job, shown_of
from recsys_dagster.cli.stages import SEARCHED
from recsys_dagster.errors import UserError, did_you_mean
from recsys_dagster.home import warehouse_folder
from recsys_dagster.resources.warehouse import Warehouse, to_pandas
from recsys_dagster.steps import models


def search_settings(name: str, strategies: list[str], trials: int) -> pd.DataFrame:
    """Run the job `tune_<catalog>`; what it found of the table `tuning`.

    Raises:
        UserError: no such catalog or strategy, nothing was run before it, or there is nothing to
            search for or to judge by.
    """
    Catalogs.read(catalogs_folder())[name]
    for strategy in strategies:
        if strategy not in models.SEARCHED:
            raise UserError(
                f"{strategy!r} is no strategy with settings to search for: expected one of "
                f"{', '.join(models.SEARCHED)}.{did_you_mean(strategy, models.SEARCHED)}"
            )
    config = {"trials": trials} | ({"strategies": strategies} if strategies else {})
    steps = {f"{name}__{SEARCHED}": {"config": config}}
    result = run_job(name, Request(f"tune_{name}", config={"ops": steps}))
    shown = shown_of(result, name, SEARCHED)
    if "not_tuned" in shown:
        raise UserError(f"{name}: not tuned: {shown['not_tuned']}.")
    warehouse = Warehouse(folder=str(warehouse_folder()))
    table = to_pandas(warehouse.read(name, SEARCHED))
    return table[table["strategy"].isin(shown["strategies"])]


def print_as_json(table: pd.DataFrame) -> None:
    """Every trial as JSON on standard output, and nothing else; null for what is not finite."""
    rows = [
        {name: _finite(value) for name, value in row.items()}
        for row in table.assign(settings=table["settings"].map(json.loads)).to_dict("records")
    ]
    json.dump(rows, sys.stdout, indent=2, allow_nan=False)
    sys.stdout.write("\n")


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
