"""Tables of strangers, `init` then `run` with no edit: how many come out right, and is any wrong?

    python -m benchmarks.strangers [SHAPE ...] [--json FILE]

Each shape of `tests/strangers/` is written to a folder of its own and brought to the commands as a
new user would, in a home of its own. Right: published, and every pair, weight, time and title is
what was written. Refused: `init` or `run` ends with a reason. Wrong: published although rows were
lost or a column was misread. Failed: refused without the line to write where there is one.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pandas as pd

from tests.strangers.judging import Tables, misread
from tests.strangers.shape import Shape
from tests.strangers.shapes import SHAPES

TABLES = ("interactions", "rejected_interactions", "items", "rejected_items")


@dataclass(frozen=True)
class Outcome:
    """What came of a shape.

    Attributes:
        shape: its name.
        verdict: right, refused, wrong or failed.
        said: what is wrong, or the last words of the command that ended it.
        seconds: of both commands.
    """

    shape: str
    verdict: str
    said: str
    seconds: float


def bring(shape: Shape, place: Path) -> Outcome:
    """Write a shape's files, propose a catalog, run it and look at what was understood."""
    os.environ |= {
        "RECSYS_CATALOGS": str(place / "catalogs"),
        "RECSYS_HOME": str(place / "home"),
        "DAGSTER_HOME": str(place / "home" / "dagster"),
    }
    folder = place / shape.name
    folder.mkdir(parents=True)
    truth = shape.write(folder)
    started = time.perf_counter()
    end = _typed("init", str(folder)) or _typed("run", shape.name)
    seconds = time.perf_counter() - started
    if end is None:
        differences = misread(truth, _tables(shape.name))
        verdict = "wrong" if differences else "right"
        return Outcome(shape.name, verdict, "; ".join(differences), seconds)
    expected = shape.refusal is None or shape.refusal in end
    return Outcome(shape.name, "refused" if expected else "failed", end, seconds)


def _typed(*arguments: str) -> str | None:
    """What a command says as it refuses; None where it goes through."""
    from recsys_dagster.cli.app import app
    from recsys_dagster.errors import UserError

    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        try:
            app(list(arguments), standalone_mode=False)
        except UserError as error:
            return str(error)
    return None


def _tables(catalog: str) -> Tables:
    from recsys_dagster.home import warehouse_folder
    from recsys_dagster.resources.warehouse import Warehouse
    from recsys_dagster.sql import quoted

    warehouse = Warehouse(folder=str(warehouse_folder()))

    def read(table: str) -> pd.DataFrame:
        with warehouse.connect(catalog) as connection:
            return connection.sql(f"select * from {quoted(table)}").df()

    return Tables(**{table: read(table) for table in TABLES})


def main() -> None:
    """Bring the shapes that are named, or all of them; write the figures to `--json`."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("shapes", nargs="*", help="names; all if left out", metavar="SHAPE")
    parser.add_argument("--json", type=Path, help="write the rows to this file too")
    arguments = parser.parse_args()
    outcomes = []
    for shape in SHAPES:
        if arguments.shapes and shape.name not in arguments.shapes:
            continue
        with tempfile.TemporaryDirectory() as place:
            outcome = bring(shape, Path(place))
        outcomes.append(outcome)
        print(f"{outcome.verdict:<8} {outcome.seconds:5.1f} s  {shape.name}: {shape.about}")
        if outcome.said:
            print("  " + outcome.said.replace("\n", "\n  "))
        sys.stdout.flush()
    verdicts = Counter(outcome.verdict for outcome in outcomes)
    rows = [
        {"name": "strangers.tried", "value": len(outcomes), "unit": "shapes"},
        {"name": "strangers.without_edit", "value": verdicts["right"], "unit": "shapes"},
        {"name": "strangers.refused", "value": verdicts["refused"], "unit": "shapes"},
        {"name": "strangers.wrong", "value": verdicts["wrong"], "unit": "shapes"},
        {"name": "strangers.failed", "value": verdicts["failed"], "unit": "shapes"},
    ]
    for row in rows:
        print(f"{row['name']:<24}{row['value']:>4}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    if verdicts["wrong"] or verdicts["failed"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
