"""What a refresh takes as catalogs grow: from Parquet to published, through Dagster.

A catalog of nobody's is drawn whole, with a half and a quarter of its users, who have as many
interactions each, and with a half and a quarter of its items, among which as many interactions
are. Strategies are not measured: that comes after what is published. Each run is a process of its
own.

| figure | what it is |
| --- | --- |
| `scale.peak_gib` | GiB that the process took at its largest, of the largest run |
| `scale.minutes` | minutes of the job, of the largest run |
| `scale.users.exponent` | power of the users that the time goes with, items as they are |
| `scale.items.exponent` | the same of the items, users as they are |
| `scale.STEP.users.exponent`, `scale.STEP.items.exponent` | the same of a step of 2 % or more |

`python -m benchmarks.scale --json FILE` writes them as rows of name, value and unit, and of each
step its seconds and the largest memory of the process meanwhile, without what it began with.
`--full` runs 1 M users and 20 M interactions once, and no other size.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table as RichTable

from benchmarks.foundation import Aim, as_table
from recsys_dagster.onboarding.sizing.drawn import NAME
from recsys_dagster.onboarding.sizing.one_run import refresh_drawn

USERS, ITEMS, INTERACTIONS = 100_000, 200_000, 3_000_000
FULL_USERS, FULL_INTERACTIONS = 1_000_000, 20_000_000
AIMS = {
    "scale.peak_gib": Aim(12, at_least=False),
    "scale.users.exponent": Aim(1.1, at_least=False),
    "scale.items.exponent": Aim(1.3, at_least=False),
}
SHARE_OF_STEP = 0.02
"""Of the time of the largest run: of less no power is told."""
CONSOLE = Console(stderr=True)


def measure(users: int, items: int, interactions: int, log: Path | None = None) -> dict:
    """Draw a catalog and refresh it in a process of its own: seconds and GiB, of each step too.

    Raises:
        RuntimeError: the run failed.
    """
    took = refresh_drawn(users, items, interactions, log)
    steps = {
        key.removeprefix(f"{NAME}__"): (step.seconds, step.peak_bytes / 2**30)
        for key, step in took.steps.items()
    }
    return {"seconds": took.seconds, "steps": steps, "peak_gib": took.peak_bytes / 2**30}


def exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """The slope of log seconds over log size, by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def rows_of(runs: dict[tuple[int, int], dict], largest: tuple[int, int]) -> list[dict]:
    """The figures of runs by users and items."""
    found = runs[largest]
    rows = [
        {"name": "scale.peak_gib", "value": found["peak_gib"], "unit": "GiB"},
        {"name": "scale.minutes", "value": found["seconds"] / 60, "unit": "min"},
    ]
    seconds_of = {
        size: {"": run["seconds"]}
        | {f"{step}.": seconds for step, (seconds, _) in run["steps"].items()}
        for size, run in runs.items()
    }
    told = [
        part
        for part, seconds in seconds_of[largest].items()
        if seconds >= SHARE_OF_STEP * found["seconds"]
    ]
    for name, place in (("users", 0), ("items", 1)):
        own = sorted(size for size in runs if size[1 - place] == largest[1 - place])
        for part in told if len(own) > 1 else ():
            sizes, took = zip(*((size[place], seconds_of[size][part]) for size in own), strict=True)
            slope = exponent(sizes, took)
            rows.append({"name": f"scale.{part}{name}.exponent", "value": slope, "unit": "power"})
    for step, (seconds, gib) in sorted(found["steps"].items(), key=lambda each: -each[1][0]):
        if seconds >= 1:
            rows.append({"name": f"scale.{step}.seconds", "value": seconds, "unit": "s"})
            rows.append({"name": f"scale.{step}.gib", "value": gib, "unit": "GiB"})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there too")
    parser.add_argument("--full", action="store_true", help="1 M users, 20 M interactions, once")
    parser.add_argument("--share", type=float, default=1.0, help="of users, items, interactions")
    parser.add_argument("--once", action="store_true", help="the largest size alone")
    parser.add_argument("--log", type=Path, help="where the log of the last run goes")
    options = parser.parse_args()
    users, interactions = (FULL_USERS, FULL_INTERACTIONS) if options.full else (USERS, INTERACTIONS)
    users, items = int(options.share * users), int(options.share * ITEMS)
    interactions = int(options.share * interactions)
    sizes = [(users, items)]
    if not (options.once or options.full):
        sizes += [(users // 2, items), (users // 4, items)]
        sizes += [(users, items // 2), (users, items // 4)]
    runs: dict[tuple[int, int], dict] = {}
    table = RichTable("users", "items", "interactions", "minutes", "GiB")
    for size in sizes:
        of_users = interactions * size[0] // users
        CONSOLE.print(f"{size[0]:,} users, {size[1]:,} items, {of_users:,} interactions …")
        runs[size] = found = measure(*size, of_users, options.log)
        numbers = (f"{size[0]:,}", f"{size[1]:,}", f"{of_users:,}")
        row = (*numbers, f"{found['seconds'] / 60:.1f}", f"{found['peak_gib']:.1f}")
        CONSOLE.print(f"  {row[-2]} minutes, {row[-1]} GiB")
        table.add_row(*row)
    rows = rows_of(runs, sizes[0])
    console = Console()
    console.print(table)
    console.print(as_table(rows, "A refresh as catalogs grow", {} if options.full else AIMS))
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
