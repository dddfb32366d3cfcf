"""Measuring a catalog's strategies from the command line: a table, JSON or a page."""

import html
import json
from pathlib import Path
from typing import Any

import pandas as pd

from recsys_dagster.assets.metadata import preview_as_html
from recsys_dagster.automation.jobs import STAGES
from recsys_dagster.cli.running import Request, run_job, shown_of
from recsys_dagster.errors import UserError
from recsys_dagster.home import warehouse_folder
from recsys_dagster.resources.warehouse import Warehouse, to_pandas
from recsys_dagster.writing import whole_file


def measure(name: str, strategies: list[str], ks: list[int]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Run the job `evaluate_<catalog>`; the table `evaluation`, and what the UI shows of it.

    Raises:
        UserError: no such catalog, nothing was run before it, or there is too little to measure.
    """
    config = {"strategies": strategies, "k": ks}
    given = {key: value for key, value in config.items() if value}
    measured = STAGES["evaluate"][-1]
    steps = {f"{name}__{measured}": {"config": given}}
    result = run_job(name, Request(f"evaluate_{name}", config={"ops": steps}))
    shown = shown_of(result, name, measured)
    if "not_measured" in shown:
        raise UserError(f"{name}: {shown['not_measured']}.")
    warehouse = Warehouse(folder=str(warehouse_folder()))
    return to_pandas(warehouse.read(name, "evaluation")), shown


def as_json(name: str, split: str, table: pd.DataFrame) -> str:
    """The figures of all users: catalog, split, and of each strategy value, low, high by metric."""
    strategies: dict[str, dict[str, Any]] = {}
    overall = table[table["slice"] == "all"].astype(object)
    for row in overall.where(overall.notna(), None).to_dict("records"):
        figures = {end: row[end] for end in ("value", "low", "high")}
        strategies.setdefault(row["strategy"], {})[row["metric"]] = figures
    return json.dumps({"catalog": name, "split": split, "strategies": strategies}, indent=2)


def require_folder(file: Path) -> None:
    """See that a page can be written where it is asked for.

    Raises:
        UserError: its folder does not exist.
    """
    if not file.parent.is_dir():
        raise UserError(f"{file}: the folder {file.parent} does not exist.")


def write_page(file: Path, name: str, shown: dict[str, Any], table: pd.DataFrame) -> None:
    """A page that stands alone: the table of strategies, the pictures, all figures.

    Raises:
        UserError: its folder does not exist, or it could not be written.
    """
    require_folder(file)
    pictures = [
        f'<img alt="{html.escape(key)}" src="{shown[key].partition("](")[2].rstrip(")")}">'
        for key in ("plot", "accuracy_and_coverage", "recall_by_popularity", "over_runs")
    ]
    figures = table.to_html(index=False, float_format="{:.4f}".format, na_rep="", border=0)
    page = f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{html.escape(name)}: evaluation</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #1f2937; margin: 2rem auto; max-width: 62rem }}
table {{ border-collapse: collapse; margin: 1rem 0 }}
th, td {{ padding: .2rem .8rem; text-align: left; border-bottom: 1px solid #e5e7eb }}
img {{ display: block; margin: 1rem 0; max-width: 100% }}
</style>
<h1>{html.escape(name)}</h1>
<p>Split: {html.escape(str(shown["split"]))}. {shown["users"]:,} users were asked for; every item of
the catalogue is ranked, what was seen is left out. Intervals are 95 %, by drawing users.</p>
{preview_as_html(shown["strategies"])}
{"".join(pictures)}
<details><summary>All figures</summary>{figures}</details>
</html>
"""
    with whole_file(file) as hidden:
        hidden.write_text(page, encoding="utf-8")
