"""What it costs to have blocks of work done on Ray, and from which size on it pays.

Lists, nearest items and the weights of a long tail are worked out three times at each of three
sizes: on Ray, by one worker that has all cores of the machine, which shows the overhead, then by a
worker a core; each by turns with this process, which has all cores too. Ray runs on this machine
and is started before. Data is drawn by chance, popularity falling with rank.

| figure | what it is |
| --- | --- |
| `distributed.start_seconds` | until Ray answers |
| `distributed.block_ms` | a block with nothing to do, there and back, one worker a core |
| `distributed.seconds_share` | seconds on Ray over those in this process, median of rounds |

`python -m benchmarks.distributed --json FILE` writes rows of work, size, workers, name and value.
It needs the extra `ray`. On one machine the workers have no core that this process lacks: a share
below 1 is what a process leaves idle, and what several machines bring is not measured.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from itertools import takewhile
from pathlib import Path
from statistics import median
from unittest.mock import patch

import numpy as np
import pandas as pd
from scipy import sparse

from recsys_dagster.compute.blocks import LOCAL, Compute
from recsys_dagster.resources.compute import ComputeResource
from recsys_dagster.resources.machine import usable_cores
from recsys_dagster.steps.lists.recommendations import recommend
from recsys_dagster.steps.models import STRATEGIES, memory
from recsys_dagster.steps.models.base import Evidence
from recsys_dagster.steps.models.behaviour import Behaviour
from recsys_dagster.steps.models.fitted import Fitted
from recsys_dagster.steps.models.item_weights import ItemWeightsModel
from recsys_dagster.steps.models.popular import popularity
from recsys_dagster.steps.models.trainer import Trainer
from recsys_dagster.steps.similarity.nearest import top_k
from recsys_dagster.steps.similarity.space import Space

ROUNDS = 3
BLOCKS = 200
LENGTH, NEIGHBOURS, DIMENSION, HEAD = 20, 50, 128, 1_000
SIZES = {
    "lists": (2_000, 10_000, 40_000),
    "nearest items": (5_000, 15_000, 30_000),
    "weights of a long tail": (1_500, 3_000, 6_000),
}
UNITS = {"lists": "users", "nearest items": "items", "weights of a long tail": "items"}
LIST_ITEMS, LIKES = 3_000, 30

Work = Callable[[Compute], object]


def histories(users: int, items: int) -> sparse.csr_matrix:
    """X, float32 csr of ones, `LIKES` a user drawn by popularity, some twice."""
    random = np.random.default_rng(0)
    weights = 1 / np.arange(1, items + 1) ** 0.8
    columns = random.choice(items, users * LIKES, p=weights / weights.sum())
    rows = np.repeat(np.arange(users), LIKES)
    X = sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), (users, items))
    X.data[:] = 1
    return X


def evidence_of(X: sparse.csr_matrix, compute: Compute = LOCAL) -> Evidence:
    """What strategies learn from where nothing is known but X."""
    users, items = X.shape
    everywhere = np.ones(items, dtype=bool)
    behaviour = Behaviour(
        user_ids=pd.RangeIndex(users).astype("str"),
        item_ids=pd.RangeIndex(items).astype("str"),
        seen=X.astype(bool),
        weights=X,
        recency=X,
        ages=X * np.float32(np.nan),
        in_catalogue=everywhere,
        recommendable=everywhere,
        cold=np.bincount(X.indices, minlength=items) == 0,
        first_seen=np.full(items, np.datetime64("NaT", "us")),
        newest=pd.NaT,  # ty: ignore[invalid-argument-type]
    )
    nothing = sparse.csr_matrix((items, items), dtype=np.float32)
    vectors = np.zeros((items, 1), dtype=np.float32)
    trainer = Trainer(compute=compute)
    return Evidence(behaviour, vectors, Space("cosine", None), lambda: nothing, trainer)


def lists(users: int) -> Work:
    """Lists by dense weights between items."""
    X = histories(users, LIST_ITEMS)
    weights = np.random.default_rng(0).random((LIST_ITEMS, LIST_ITEMS), dtype=np.float32)
    model = ItemWeightsModel(weights, np.arange(LIST_ITEMS))
    fitted, behaviour = Fitted(STRATEGIES["ease"], model, popularity(X)), evidence_of(X).behaviour
    nothing = sparse.csr_matrix(X.shape, dtype=np.float32)
    return lambda compute: list(recommend(fitted, behaviour, nothing, LENGTH, compute=compute))


def nearest_items(items: int) -> Work:
    """Every item's neighbours among all."""
    vectors = np.random.default_rng(0).standard_normal((items, DIMENSION))
    table = Space("cosine", None).project(vectors)
    return lambda compute: top_k(
        table, table, NEIGHBOURS, "cosine", exclude=np.arange(items), compute=compute
    )


def long_tail(items: int) -> Work:
    """EASE's weights, learned of a head densely and of the tail column by column."""
    X, strategy = histories(5 * items, items), STRATEGIES["ease"]

    def work(compute: Compute) -> object:
        with patch.object(memory, "MAX_DENSE", HEAD), patch.object(memory, "MAX_HEAD", HEAD):
            return strategy.learn(evidence_of(X, compute), strategy.settings())

    return work


WORK = {"lists": lists, "nearest items": nearest_items, "weights of a long tail": long_tail}


def nothing(_shared: None, block: int) -> int:
    return block


def seconds(work: Work, compute: Compute) -> float:
    began = time.perf_counter()
    work(compute)
    return time.perf_counter() - began


def run(rounds: int) -> Iterator[dict]:
    """Rows of all figures."""
    cores = usable_cores()
    began = time.perf_counter()
    one_a_core = ComputeResource(where="ray")
    list(one_a_core.map(nothing, None, range(2 * cores), "nothing"))
    start = time.perf_counter() - began
    yield row("nothing", 0, cores, "start_seconds", start)
    empty = seconds(lambda compute: list(compute.map(nothing, None, range(BLOCKS), "")), one_a_core)
    yield row("nothing", 0, cores, "block_ms", 1000 * empty / BLOCKS)
    in_process = ComputeResource(where="local")
    on_ray = {1: ComputeResource(where="ray", cpus_per_block=cores), cores: one_a_core}
    for name, sizes in SIZES.items():
        for size in sizes:
            work = WORK[name](size)
            work(in_process)  # what is loaded once is no part of it
            for workers, compute in on_ray.items():
                # Ray ends workers that nobody asks for a second: each number of them by itself.
                work(compute)
                shares = [seconds(work, compute) / seconds(work, in_process) for _ in range(rounds)]
                yield row(name, size, workers, "seconds_share", median(shares))


def row(work: str, size: int, workers: int, name: str, value: float) -> dict:
    return {
        "work": work,
        "size": size,
        "workers": workers,
        "name": f"distributed.{name}",
        "value": value,
    }


def pays(rows: list[dict]) -> Iterator[str]:
    """From which size on each work pays on this machine, in words."""
    most = max(each["workers"] for each in rows)
    for work, sizes in SIZES.items():
        of_size = {
            each["size"]: each["value"]
            for each in rows
            if each["work"] == work and each["workers"] == most
        }
        paying = list(takewhile(lambda size, of=of_size: of[size] < 1, reversed(sizes)))
        yield (
            f"{work}: pays from {paying[-1]:,} {UNITS[work]} on"
            if paying
            else f"{work}: does not pay on this machine up to {max(sizes):,} {UNITS[work]}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there too")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    os.environ.pop("RAY_ADDRESS", None)
    rows = []
    for each in run(options.rounds):
        rows.append(each)
        print(
            f"{each['work']}, {each['size']:,}, workers {each['workers']}: "
            f"{each['name']} {each['value']:.3g}",
            flush=True,
        )
    for sentence in pays(rows):
        print(sentence)
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
