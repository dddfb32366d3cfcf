"""How large fitted models are on disk, and what leaving small weights out costs.

A strategy that scores x·B is fitted once on train without validation. `dense` keeps all of B,
`kept` is what the product keeps, and `largest N` the N largest weights of each item, for each N of
`--sweep`. Each is written and read as the product does it. Lists are of every user with something
in validation; NDCG@20 is asked for there and never on test.

| figure | what it is |
| --- | --- |
| `model.mib` | MiB of the file |
| `model.ndcg_kept_share` | mean NDCG@20 over that of `dense` |
| `model.load_ms` | milliseconds from the files to a model that is ready to score |
| `model.score_seconds` | seconds of scoring all those users, the first use of the file included |

Times are the least of three. `python -m benchmarks.model_size --data DIR --json FILE` writes rows
of data, strategy, model, name, value and unit.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
from rich.console import Console
from rich.table import Table as RichTable
from scipy import sparse

from benchmarks.published import without_valid
from benchmarks.published_tasks import PROTOCOLS, Task, evidence_of, read_task
from recsys_dagster.snapshots.model_files import read_arrays, write_model
from recsys_dagster.steps.evaluation.metrics import accuracy
from recsys_dagster.steps.evaluation.ranked import rank_for_evaluation
from recsys_dagster.steps.lists.recommendations import BLOCK_CELLS
from recsys_dagster.steps.models import STRATEGIES, item_weights
from recsys_dagster.steps.models.base import Arrays, Evidence, UserBlock
from recsys_dagster.steps.models.fitted import Fitted
from recsys_dagster.steps.models.kept import KeptModel

TASKS = {PROTOCOLS[table].folder: PROTOCOLS[table] for table in ("C", "E", "F")}
METHODS = ("ease", "l3ae", "hybrid")
MEASURED = (*METHODS, "gfcf")
K = 20
REPEATS = 3
WEIGHTS = {"weights", "rest", "scale", "weight_items", "weight_starts", "items", "history_items"}
UNITS = {
    "model.mib": "MiB",
    "model.ndcg_kept_share": "of dense",
    "model.load_ms": "ms",
    "model.score_seconds": "s",
}


def dense_and_kept(
    strategy: str, evidence: Evidence, sweep: Sequence[int]
) -> Iterator[tuple[str, Arrays]]:
    """What a strategy learns with its own settings: with all weights, and with fewer.

    Yields:
        dense, kept and each of the sweep, with what is kept of a fit.
    """
    own = STRATEGIES[strategy]
    with patch.object(item_weights, "SMALL_CELLS", evidence.items**2):
        dense = own.learn(evidence, own.settings())
    yield "dense", dense
    weights, history = dense["weights"], dense["history_items"]
    columns = np.arange(evidence.items)
    X = evidence.behaviour.positives[:, history]
    counts = np.bincount(X.indices, minlength=len(history))
    others = {name: array for name, array in dense.items() if name not in WEIGHTS}
    yield "kept", item_weights.kept_arrays(weights, columns, evidence.items, history, X) | others
    for number in sweep:
        largest, rest = item_weights.largest_of_items(
            weights, columns, evidence.items, number, counts
        )
        yield f"largest {number}", item_weights.weight_arrays(largest, history, rest) | others


def measure(
    task: Task, evidence: Evidence, strategy: str, learned: Arrays, folder: Path
) -> tuple[dict[str, float], float]:
    """The figures of one model but for its share of NDCG, and its mean NDCG@20 on validation."""
    own, behaviour = STRATEGIES[strategy], evidence.behaviour
    settings = own.settings()
    model = KeptModel.of(own, settings, learned, evidence)
    written = write_model(folder, "measured", model.save(), {})
    users = np.flatnonzero(np.diff(task.valid.indptr))
    nothing = sparse.csr_matrix(behaviour.seen.shape, dtype=np.float32)
    step = max(1, BLOCK_CELLS // evidence.items)
    blocks = [
        UserBlock.of(behaviour, nothing, users[start : start + step])
        for start in range(0, len(users), step)
    ]
    load_seconds, score_seconds = [], []
    for _ in range(REPEATS):
        started = time.perf_counter()
        fitted = _read(written, strategy)
        loaded = time.perf_counter()
        for block in blocks:
            fitted.score(block)
        load_seconds.append(loaded - started)
        score_seconds.append(time.perf_counter() - loaded)
    ranked = rank_for_evaluation(fitted, behaviour, nothing, users, behaviour.seen, K)
    figures = {
        "model.mib": sum(file.stat().st_size for file in written.iterdir()) / 2**20,
        "model.load_ms": min(load_seconds) * 1000,
        "model.score_seconds": min(score_seconds),
    }
    return figures, float(accuracy(ranked, task.valid[users], [K])[f"ndcg@{K}"].mean())


def _read(folder: Path, strategy: str) -> Fitted:
    settings = STRATEGIES[strategy].settings().model_dump(mode="json")
    return KeptModel.load(read_arrays(folder), strategy, settings).fitted


def run(
    data: str, folder: Path, cache: Path, methods: Sequence[str], sweep: Sequence[int]
) -> Iterator[dict]:
    """Rows of one data set, a strategy after the other."""
    protocol = TASKS[data]
    task = read_task(protocol, folder, cache)
    evidence = evidence_of(task, without_valid(task), in_order=protocol.in_order)
    for strategy in methods:
        ndcg_of_dense = None
        for model, learned in dense_and_kept(strategy, evidence, sweep):
            with TemporaryDirectory() as written:
                figures, ndcg = measure(task, evidence, strategy, learned, Path(written))
            ndcg_of_dense = ndcg_of_dense or ndcg
            figures["model.ndcg_kept_share"] = ndcg / ndcg_of_dense
            for name, unit in UNITS.items():
                yield {
                    "data": data,
                    "strategy": strategy,
                    "model": model,
                    "name": name,
                    "value": figures[name],
                    "unit": unit,
                }


def as_table(rows: Sequence[dict]) -> RichTable:
    """One line a model, one column a figure."""
    table = RichTable("data", "strategy", "model", *UNITS)
    lines: dict[tuple[str, str, str], dict[str, float]] = {}
    for row in rows:
        of_model = lines.setdefault((row["data"], row["strategy"], row["model"]), {})
        of_model[row["name"]] = row["value"]
    for line, values in lines.items():
        table.add_row(*line, *(f"{values[name]:.4g}" for name in UNITS))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there too")
    parser.add_argument("--only", choices=TASKS, nargs="+", default=list(TASKS))
    parser.add_argument("--strategies", choices=MEASURED, nargs="+", default=list(METHODS))
    parser.add_argument(
        "--sweep", type=int, nargs="+", default=[], metavar="N", help="weights kept of each item"
    )
    parser.add_argument(
        "--cache", type=Path, default=Path(".recsys/vectors"), help="where vectors are kept"
    )
    options = parser.parse_args()
    console = Console(width=120)
    rows: list[dict] = []
    for data in options.only:
        rows += run(data, options.data, options.cache, options.strategies, options.sweep)
        console.print(as_table([row for row in rows if row["data"] == data]))
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
