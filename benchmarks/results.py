"""Every strategy on several fields, with intervals: the README's table of results.

Runs the demo and the examples whose data lies in `--data`, each to its published recommendations
and its evaluation, and prints NDCG@20 by catalog and strategy as Markdown. What the language model
adds is seen beside the same catalogs with `encoder: tfidf`. What is trained by gradient is trained
for at most `--minutes` each, and the competition of `auto` ends after five times as long.

`python -m benchmarks.results --data DIR --json FILE` writes rows of catalog, encoder, split,
strategy, metric, value, low and high.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import yaml
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
TRAINED = ("neural", "sequential")
STRATEGIES = (
    "popular",
    "content",
    "similar_items",
    "item_knn",
    "ease",
    "l3ae",
    "hybrid",
    "markov",
    *TRAINED,
    "auto",
)
BY_ORDER = ("markov", "sequential")
WITHOUT_ORDER = ("steam_reviews",)
WITH_TEXTS = ("content", "l3ae", "hybrid")
"""Strategies that the encoder makes a difference to."""
METRICS = ("recall@20", "ndcg@20")
CONSOLE = Console(stderr=True)


def evaluate(
    catalog: str, folder: Path, strategies: Sequence[str], environment: dict[str, str]
) -> dict:
    """Run a catalog and measure it; what `recsys evaluate --json` says."""
    recsys = str(Path(sys.executable).with_name("recsys"))
    own = environment | {"RECSYS_CATALOGS": str(folder)}
    subprocess.run([recsys, "run", catalog], env=own, check=True, stdout=sys.stderr)
    options = [option for name in strategies for option in ("--strategy", name)]
    done = subprocess.run(
        [recsys, "evaluate", catalog, "--json", *options],
        env=own,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout)


def rewritten(catalog: str, folder: Path, to: Path, name: str, **settings: object) -> str:
    """Write the catalog with other settings and under another name to a folder; the name."""
    own = yaml.safe_load((folder / f"{catalog}.yaml").read_text("utf-8"))
    text = yaml.safe_dump(own | {"name": name} | settings, allow_unicode=True)
    (to / f"{name}.yaml").write_text(text, encoding="utf-8")
    return name


def bounded(minutes: float) -> dict[str, dict[str, float]]:
    """Settings of models: how long they are trained."""
    return {name: {"minutes": minutes} for name in TRAINED} | {"auto": {"minutes": 5 * minutes}}


def rows_of(catalog: str, encoder: str, found: dict) -> list[dict]:
    """A row a strategy and metric."""
    about = {"catalog": catalog, "encoder": encoder, "split": found["split"]}
    return [
        about | {"strategy": name, "metric": metric} | figures[metric]
        for name, figures in found["strategies"].items()
        for metric in METRICS
    ]


def as_markdown(rows: list[dict]) -> str:
    """NDCG@20 with its interval, the best of a catalog and encoder in bold."""
    table = pd.DataFrame(rows)
    table = table[table["metric"] == "ndcg@20"]
    lines = [
        "| catalog | split | encoder | " + " | ".join(STRATEGIES) + " |",
        "| --- | --- | --- |" + " --- |" * len(STRATEGIES),
    ]
    for (catalog, split, encoder), group in table.groupby(
        ["catalog", "split", "encoder"], sort=False
    ):
        own = group.set_index("strategy")
        cells = []
        for strategy in STRATEGIES:
            if strategy not in own.index:
                cells.append("")
                continue
            value, low, high = own.loc[strategy, ["value", "low", "high"]]
            shown = f"**{value:.4f}**" if value == own["value"].max() else f"{value:.4f}"
            cells.append(f"{shown} ±{(high - low) / 2:.4f}")
        lines.append(f"| {catalog} | {split} | {encoder} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--only", nargs="+", default=["movies", *EXAMPLES])
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=STRATEGIES)
    parser.add_argument("--minutes", type=float, default=2, help="of what is trained, each")
    parser.add_argument("--json", type=Path, help="write the rows to this file too")
    arguments = parser.parse_args()
    environment = os.environ | {"RECSYS_DATA": str(arguments.data.resolve())}
    rows: list[dict] = []
    with tempfile.TemporaryDirectory() as temporary:
        to = Path(temporary)
        for name in arguments.only:
            folder = ROOT / "catalogs" if name == "movies" else ROOT / "examples" / name
            own = rewritten(name, folder, to, name, models=bounded(arguments.minutes))
            other = rewritten(name, folder, to, f"{name}_tfidf", encoder="tfidf")
            left_out = BY_ORDER if name in WITHOUT_ORDER else ()
            asked = [each for each in arguments.strategies if each not in left_out]
            with_texts = [each for each in asked if each in WITH_TEXTS]
            try:
                if asked:
                    found = evaluate(own, to, asked, environment)
                    rows += rows_of(name, "language model", found)
                if with_texts:
                    found = evaluate(other, to, with_texts, environment)
                    rows += rows_of(name, "tfidf", found)
            except subprocess.CalledProcessError as error:
                CONSOLE.print(f"{name}: not measured, exit status {error.returncode}")
            if arguments.json:
                arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(as_markdown(rows) + "\n")


if __name__ == "__main__":
    main()
