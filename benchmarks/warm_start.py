"""What beginning from the last model saves, and what it costs: sequential on COCO courses.

A model is fitted without the newest 5 % of the positives; then on all of them twice, from its
initialisation and from that model. Users, data and validation are those of
`benchmarks.augmentation`; trainings end by early stopping alone.

`python -m benchmarks.warm_start --data DIR --json FILE` writes a row for each: batches until the
parameters that were kept, batches and seconds until the end, NDCG@20 on validation with its 95 %
interval, and of the warm one how far it is from the cold one.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from benchmarks.augmentation import ALONE, NDCG, WHOLE, courses, learned, ndcgs_by_part
from recsys_dagster.steps.evaluation.intervals import Bootstrap
from recsys_dagster.steps.models.base import LastModel
from recsys_dagster.steps.models.trainer import CURVE
from recsys_dagster.steps.models.validation import stored_where

STRATEGY = "sequential"
NEWEST = 0.05
SETTINGS = {"warm_start": True}
"""So that all three ask the same users while they train."""
EARLIER, COLD, WARM = "without the newest", "cold", "warm"


def run(data: Path, cache: Path) -> list[dict[str, float | str]]:
    """A row for each fit."""
    question = courses(data, cache)
    whole = question.evidence(question.sample)
    pairs = question.sample.tocsr()
    order = question.task.order.multiply(pairs).tocsr()
    earlier = question.evidence(
        stored_where(pairs, order.data <= np.quantile(order.data, 1 - NEWEST))
    )
    arrays, took = {}, {}
    arrays[EARLIER], took[EARLIER] = learned(STRATEGY, earlier, SETTINGS)
    last = LastModel(EARLIER, earlier.behaviour.item_ids.tolist(), arrays[EARLIER])
    for name, begun_from in ((COLD, None), (WARM, last)):
        evidence = replace(whole, last=begun_from)
        arrays[name], took[name] = learned(STRATEGY, evidence, SETTINGS)
    scores = {
        name: {
            (part, NDCG): values for part, values in ndcgs_by_part(STRATEGY, own, question).items()
        }
        for name, own in arrays.items()
    }
    bootstrap = Bootstrap.of(scores)
    values = bootstrap.intervals().set_index(["strategy", "slice"])
    gains = bootstrap.differences(COLD).set_index(["strategy", "slice"])
    rows: list[dict[str, float | str]] = []
    for name, own in arrays.items():
        best = int(np.argmax(own[CURVE][:, 2]))
        for part in (ALONE, WHOLE):
            row = {"fit": name, "part": part, "best_batches": own[CURVE][best, 0], **took[name]}
            row |= values.loc[(name, part), ["value", "low", "high"]].to_dict()
            if name != COLD:
                gain = gains.loc[(name, part), ["difference", "low", "high"]]
                row |= {f"{end} to cold": value for end, value in gain.to_dict().items()}
            rows.append(row)
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--json", type=Path, help="write the rows to this file too")
    parser.add_argument(
        "--cache", type=Path, default=Path(".recsys/vectors"), help="where vectors are kept"
    )
    arguments = parser.parse_args()
    rows = run(arguments.data, arguments.cache)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    Console(width=160).print_json(json.dumps(rows))


if __name__ == "__main__":
    main()
