"""What learning densely of a part of the items costs, where all would fit as well.

hybrid is fitted on train without validation: over all items, and with a head of half and of a tenth
of them (`steps/models/long_tail.py`). NDCG@20 is asked for on validation, of every user with
something in it.

| figure | what it is |
| --- | --- |
| `long_tail.ndcg_share` | mean NDCG@20 over that of the dense fit |
| `long_tail.seconds_share` | seconds of the fit over those of the dense fit |

`python -m benchmarks.long_tail --data DIR --json FILE` writes rows of data, strategy, head, name
and value.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np
from rich.console import Console
from rich.table import Table as RichTable
from scipy import sparse

from benchmarks.published import without_valid
from benchmarks.published_tasks import PROTOCOLS, Task, evidence_of, read_task
from recsys_dagster.steps.evaluation.metrics import accuracy
from recsys_dagster.steps.evaluation.ranked import rank_for_evaluation
from recsys_dagster.steps.models import STRATEGIES, memory
from recsys_dagster.steps.models.base import Evidence
from recsys_dagster.steps.models.fitted import Fitted
from recsys_dagster.steps.models.popular import popularity

TASKS = {PROTOCOLS[table].folder: PROTOCOLS[table] for table in ("E", "G")}
SHARES = (1.0, 0.5, 0.1)
K = 20


def measure(
    task: Task, evidence: Evidence, strategy: str, share: float
) -> tuple[int, float, float]:
    """The size of the head, mean NDCG@20 on validation, and seconds of the fit."""
    own, behaviour = STRATEGIES[strategy], evidence.behaviour
    learned = memory.learned_items(own, evidence)
    head = round(share * learned)
    most = learned if share == 1 else head
    began = time.perf_counter()
    with patch.object(memory, "MAX_DENSE", most), patch.object(memory, "MAX_HEAD", head):
        model = own.fit(evidence, own.settings())
    seconds = time.perf_counter() - began
    users = np.flatnonzero(np.diff(task.valid.indptr))
    nothing = sparse.csr_matrix(behaviour.seen.shape, dtype=np.float32)
    fitted = Fitted(own, model, popularity(behaviour.positives))
    ranked = rank_for_evaluation(fitted, behaviour, nothing, users, behaviour.seen, K)
    ndcg = float(accuracy(ranked, task.valid[users], [K])[f"ndcg@{K}"].mean())
    return head, ndcg, seconds


def run(data: str, folder: Path, cache: Path, strategy: str) -> Iterator[dict]:
    """Rows of one data set."""
    protocol = TASKS[data]
    task = read_task(protocol, folder, cache)
    evidence = evidence_of(task, without_valid(task), in_order=protocol.in_order)
    dense = None
    for share in SHARES:
        head, ndcg, seconds = measure(task, evidence, strategy, share)
        dense = dense or (ndcg, seconds)
        figures = {"ndcg_share": ndcg / dense[0], "seconds_share": seconds / dense[1]}
        for name, value in figures.items():
            yield {
                "data": data,
                "strategy": strategy,
                "head": f"{head:,} of {evidence.items:,}",
                "name": f"long_tail.{name}",
                "value": value,
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there too")
    parser.add_argument("--only", choices=TASKS, nargs="+", default=list(TASKS))
    parser.add_argument(
        "--strategies", choices=("ease", "l3ae", "gfcf", "hybrid"), nargs="+", default=["hybrid"]
    )
    parser.add_argument(
        "--cache", type=Path, default=Path(".recsys/vectors"), help="where vectors are kept"
    )
    options = parser.parse_args()
    rows = [
        row
        for data in options.only
        for strategy in options.strategies
        for row in run(data, options.data, options.cache, strategy)
    ]
    table = RichTable("data", "strategy", "head", "figure", "value")
    for row in rows:
        table.add_row(
            *(str(row[key]) for key in ("data", "strategy", "head", "name")), f"{row['value']:.4f}"
        )
    Console(width=120).print(table)
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
