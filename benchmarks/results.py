"""Every strategy on several fields, with intervals: the README's table of results.

Runs the demo and the examples whose data lies in `--data`, each to its published recommendations
and its evaluation, and prints NDCG@20 by catalog and strategy as Markdown.

`python -m benchmarks.results --data DIR --json FILE` writes rows of catalog, split, strategy,
metric, value, low and high.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
from rich.console import Console

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = (
    "onlineretail",
    "coco_courses",
    "se_history_meta",
    "amazon_office",
    "steam_reviews",
    "mooccubex",
)
STRATEGIES = ("popular", "content", "similar_items", "item_knn", "ease", "l3ae", "hybrid")
METRICS = ("recall@20", "ndcg@20")
CONSOLE = Console(stderr=True)


def evaluate(catalog: str, folder: Path, environment: dict[str, str]) -> dict:
    """Run a catalog and measure it; what `recsys evaluate --json` says."""
    recsys = str(Path(sys.executable).with_name("recsys"))
    own = environment | {"RECSYS_CATALOGS": str(folder)}
    subprocess.run([recsys, "run", catalog], env=own, check=True, stdout=sys.stderr)
    options = [option for name in STRATEGIES for option in ("--strategy", name)]
    done = subprocess.run(
        [recsys, "evaluate", catalog, "--json", *options],
        env=own,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout)


def rows_of(found: dict) -> list[dict]:
    """A row a strategy and metric."""
    return [
        {"catalog": found["catalog"], "split": found["split"], "strategy": name, "metric": metric}
        | figures[metric]
        for name, figures in found["strategies"].items()
        for metric in METRICS
    ]


def as_markdown(rows: list[dict]) -> str:
    """NDCG@20 with its interval, the best of a catalog in bold."""
    table = pd.DataFrame(rows)
    table = table[table["metric"] == "ndcg@20"].set_index(["catalog", "strategy"])
    lines = [
        "| catalog | split | " + " | ".join(STRATEGIES) + " |",
        "| --- | --- |" + " --- |" * len(STRATEGIES),
    ]
    for catalog in dict.fromkeys(row["catalog"] for row in rows):
        best = table.loc[catalog]["value"].max()
        cells = []
        for strategy in STRATEGIES:
            row = table.loc[(catalog, strategy)]
            shown = f"{row['value']:.4f}"
            shown = f"**{shown}**" if row["value"] == best else shown
            cells.append(f"{shown} ±{(row['high'] - row['low']) / 2:.4f}")
        split = table.loc[(catalog, STRATEGIES[0]), "split"]
        lines.append(f"| {catalog} | {split} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--only", nargs="+", default=["movies", *EXAMPLES])
    parser.add_argument("--json", type=Path, help="write the rows to this file too")
    arguments = parser.parse_args()
    environment = os.environ | {"RECSYS_DATA": str(arguments.data.resolve())}
    rows: list[dict] = []
    for name in arguments.only:
        folder = ROOT / "catalogs" if name == "movies" else ROOT / "examples" / name
        try:
            rows += rows_of(evaluate(name, folder, environment))
        except subprocess.CalledProcessError as error:
            CONSOLE.print(f"{name}: not measured, exit status {error.returncode}")
        if arguments.json:
            arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(as_markdown(rows) + "\n")


if __name__ == "__main__":
    main()
