"""What augmentation brings to what is trained by gradient: NDCG@20 on validation.

| strategy | data | validation |
| --- | --- | --- |
| neural | Amazon games, EasyRec split: texts, in no order | the split's own |
| sequential | COCO courses but the newest tenth: texts and order | the last positive of each user |

Test parts are not looked at. Every option is trained alone, with the same seed, for as many passes
at most, and stopped by what is found of what training hides from itself: never by the clock, so
that what is found does not go by what else the machine does. A sample of the users is learned from,
so that trainings end in minutes, and all are asked. Differences are user by user, with 95 %
intervals. "Alone" is the network, which is what augmentation changes; the strategy as it is
served has hybrid beside it.

Titles alone are a second view of an item's text, which no strategy takes: here it stands in the
place of noise. Games have no titles; the first sentence of their description is taken for one.

`python -m benchmarks.augmentation --data DIR --json FILE` prints a Markdown table for each
strategy and writes rows of strategy, option, part, value, difference, low, high, batches, seconds.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
from rich.console import Console
from scipy import sparse

from benchmarks.published import ask, without_valid
from benchmarks.published_tasks import (
    ENCODER,
    NEIGHBOURS,
    PROTOCOLS,
    Task,
    evidence_of,
    read_task,
)
from recsys_dagster.resources.encoder import TextEncoder
from recsys_dagster.resources.training import device
from recsys_dagster.steps.evaluation.intervals import Bootstrap
from recsys_dagster.steps.models import STRATEGIES, neural
from recsys_dagster.steps.models.base import Arrays, Evidence
from recsys_dagster.steps.models.blend import SCALE
from recsys_dagster.steps.models.fitted import Fitted
from recsys_dagster.steps.models.popular import popularity
from recsys_dagster.steps.models.trainer import CURVE, Trainer, Validation
from recsys_dagster.steps.models.validation import stored_where
from recsys_dagster.steps.prepare.texts import item_texts
from recsys_dagster.steps.similarity.nearest import Space
from recsys_dagster.steps.similarity.tables import item_neighbours

CONSOLE = Console(width=120)
BASELINE = "as it is"
TITLES = "titles alone, half of the time"
GAMES, COURSES = "amazon-games", "coco-courses"
TEST_SHARE = 0.1
MIN_HISTORY = 3
NDCG = "ndcg@20"
ALONE, WHOLE = "alone", "with hybrid"
NO_CLOCK: dict[str, Any] = {"minutes": 10_000}
USERS = 6_000
"""That are learned from."""
PASSES = {"neural": 20, "sequential": 30}
OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "neural": {
        BASELINE: {},
        "hidden: 0.2 of a history": {"hidden_share": 0.2},
        "hidden: 0.7 of a history": {"hidden_share": 0.7},
        "cropped: half of the histories": {"cropped_share": 0.5},
        "text noise: as long as the vector": {"text_noise": 1.0},
        TITLES: {"text_noise": 1.0},
        "replaced: 0.1 of the items": {"replaced_share": 0.1},
    },
    "sequential": {
        BASELINE: {},
        "hidden: 0.2 of a history": {"hidden_share": 0.2},
        "cropped: half of the histories": {"cropped_share": 0.5},
        "text noise: half as long as the vector": {"text_noise": 0.5},
        "replaced: 0.1 of the items": {"replaced_share": 0.1},
    },
}
"""Strategy → option → settings; the first is what the others are compared with."""


@dataclass(frozen=True)
class Question:
    """What a strategy learns from, and is asked for.

    Attributes:
        task: of which test is not looked at.
        sample: bool csr (users × items), what is learned from: the histories of some users.
        train: bool csr (users × items), the histories that are ranked for: those of all.
        titles: float32 (items × d), of the titles alone.
        in_order: whether the order of histories is told.
    """

    task: Task
    sample: sparse.csr_matrix
    train: sparse.csr_matrix
    titles: np.ndarray
    in_order: bool

    def evidence(self, pairs: sparse.csr_matrix) -> Evidence:
        """Evidence from some pairs alone."""
        return evidence_of(self.task, pairs, in_order=self.in_order)

    def ndcgs(self, fitted: Fitted) -> np.ndarray:
        """NDCG@20 on validation of each user with something there, float64 (users,)."""
        evidence = self.evidence(self.train)
        return ask(fitted, 0.0, evidence, self.task.valid, evidence.behaviour.seen, (20,)).users[
            NDCG
        ]


def games(data: Path, cache: Path) -> Question:
    """Amazon games without its validation part."""
    task = read_task(PROTOCOLS["F"], data, cache)
    items = pd.read_parquet(data / GAMES / "items.parquet").set_index("item_id").loc[task.items]
    first = items["description"].str.split(r"(?<=[.!?])\s", regex=True).str[0]
    titles = vectors(cache / f"{GAMES}-titles.npy", first.tolist)
    return question_of(task, without_valid(task), titles, in_order=False)


def courses(data: Path, cache: Path) -> Question:
    """COCO courses, of which the last of each user's positives is held back.

    The newest tenth, which the product's own evaluation asks for, is left out.
    """
    rows = pd.read_parquet(data / COURSES / "interactions.parquet")
    items = pd.read_parquet(data / COURSES / "items.parquet").sort_values("item_id")
    items = items[items["item_id"].isin(rows["item_id"])]
    rows = rows.sort_values("timestamp", kind="stable", ignore_index=True)
    rows = rows.iloc[: round((1 - TEST_SHARE) * len(rows))]
    titled = items.assign(
        title=items["title"].fillna(items["item_id"]).str.replace("-", " "),
        title_source="title",
        concepts=items["concepts"].str.replace("|", ", "),
    )

    def texts(*columns: str) -> list[str]:
        return item_texts(titled, columns)["text"].tolist()

    ids, users = pd.Index(items["item_id"]), pd.Index(rows["user_id"].unique()).sort_values()
    places = (users.get_indexer(rows["user_id"]), ids.get_indexer(rows["item_id"]))
    order = sparse.csr_matrix((np.arange(1.0, len(rows) + 1), places), (len(users), len(ids)))
    counts = rows.groupby("user_id")["item_id"].transform("size")
    last = (~rows.duplicated("user_id", keep="last") & (counts >= MIN_HISTORY)).to_numpy()

    def pairs(own: np.ndarray) -> sparse.csr_matrix:
        where = (places[0][own], places[1][own])
        return sparse.csr_matrix((np.ones(own.sum(), dtype=bool), where), order.shape)

    whole = vectors(cache / f"{COURSES}.npy", lambda: texts("title", "category", "concepts"))
    titles = vectors(cache / f"{COURSES}-titles.npy", lambda: texts("title"))
    nothing = sparse.csr_matrix(order.shape, dtype=bool)
    task = Task(pairs(~last), pairs(last), nothing, whole, ids, users, order)
    return question_of(task, task.train, titles, in_order=True)


def question_of(
    task: Task, train: sparse.csr_matrix, titles: np.ndarray, *, in_order: bool
) -> Question:
    """What is learned from the train part of a sample of users, and asked for all."""
    chosen = np.zeros(train.shape[0], dtype=bool)
    chosen[np.random.default_rng(0).permutation(len(chosen))[:USERS]] = True
    sample = stored_where(train, np.repeat(chosen, np.diff(train.indptr)))
    return Question(task, sample, train, titles, in_order)


def vectors(file: Path, texts: Callable[[], list[str]]) -> np.ndarray:
    """Vectors of texts, float32 (n × d), kept in a file."""
    if file.exists():
        return np.load(file)
    encoder = TextEncoder().load(ENCODER, Path())
    own = texts()
    found = np.empty((len(own), encoder.dimension), dtype=np.float32)
    for positions, part in encoder.encode(own):
        found[positions] = part
    file.parent.mkdir(parents=True, exist_ok=True)
    np.save(file, found)
    return found


def with_titles(question: Question) -> AbstractContextManager[object]:
    """Lets similarities of titles stand, in every other batch by chance, in the place of noise."""
    learned = np.unique(question.sample.indices)
    space = Space.of(question.titles, "cosine", centre=True)
    near = item_neighbours(space.project(question.titles), NEIGHBOURS, "cosine")
    of_titles = sparse.csr_matrix(
        (near.similarities, (near.rows, near.columns)), shape=(len(question.titles),) * 2
    )[learned][:, learned]

    def similarities(
        neighbours: sparse.csr_matrix,
        _items: np.ndarray,
        _vectors: np.ndarray,
        _noise: float,
        generator: np.random.Generator,
    ) -> sparse.csr_matrix:
        return of_titles if generator.random() < 0.5 else neighbours

    return patch.object(neural, "noisy_similarities", similarities)


def learned(
    strategy: str, evidence: Evidence, settings: Mapping[str, Any]
) -> tuple[Arrays, dict[str, float]]:
    """What a strategy learns, however long it takes; and how long it took."""
    own = STRATEGIES[strategy]
    began = time.perf_counter()
    trainer = Trainer(device, lambda: time.perf_counter() - began, _tell)
    chosen = own.settings.model_validate({**NO_CLOCK, **settings})
    arrays = own.learn(replace(evidence, trainer=trainer), chosen)
    seconds = time.perf_counter() - began
    return arrays, {"batches": float(arrays[CURVE][-1, 0]), "seconds": seconds}


def ndcgs_by_part(strategy: str, arrays: Arrays, question: Question) -> dict[str, np.ndarray]:
    """NDCG@20 of each user, float64 (users,): of the network alone, and with hybrid beside it."""
    own = STRATEGIES[strategy]
    popular = popularity(sparse.csr_matrix(question.sample, dtype=np.float32))
    alone = {name: array for name, array in arrays.items() if name != SCALE}
    return {
        part: question.ndcgs(Fitted(own, own.load(parts, own.settings()), popular))
        for part, parts in ((ALONE, alone), (WHOLE, arrays))
    }


def _tell(found: Validation) -> None:
    CONSOLE.print(
        f"    {found.batches:,} batches, loss {found.loss:.4f}, hidden {found.ndcg:.4f}"
        f"{' best' if found.best else ''}",
        highlight=False,
    )


def rows_of(
    strategy: str, found: Mapping[str, dict[str, np.ndarray]], took: Mapping[str, dict[str, float]]
) -> list[dict[str, Any]]:
    """A row for each option and part, with its difference to the first option's."""
    bootstrap = Bootstrap.of(
        {
            option: {(part, NDCG): values for part, values in own.items()}
            for option, own in found.items()
        }
    )
    differences = bootstrap.differences(BASELINE).set_index(["strategy", "slice"])
    rows = []
    for row in bootstrap.intervals().to_dict("records"):
        key = (row["strategy"], row["slice"])
        compared = (
            differences.loc[key, ["difference", "low", "high"]].to_dict()
            if key in differences.index
            else dict.fromkeys(("difference", "low", "high"), 0.0)
        )
        rows.append(
            {"strategy": strategy, "option": key[0], "part": key[1], "users": row["users"]}
            | {"value": row["value"]}
            | compared
            | took[key[0]]
        )
    return rows


def as_markdown(rows: list[dict[str, Any]]) -> str:
    """A row for each option: the network alone, and as it is served."""
    lines = [
        f"| {rows[0]['strategy']} | alone | difference | with hybrid | difference | batches |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for option in dict.fromkeys(row["option"] for row in rows):
        cells = [option]
        for row in (own for own in rows if own["option"] == option):
            cells.append(f"{row['value']:.4f}")
            compared = f"{row['difference']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]"
            cells.append("" if option == BASELINE else compared)
            batches = f"{row['batches']:,.0f}"
        lines.append(f"| {' | '.join([*cells, batches])} |")
    return "\n".join(lines)


def run(
    data: Path, cache: Path, strategies: list[str], passes: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Rows of all options."""
    rows = []
    for strategy in strategies:
        question = {"neural": games, "sequential": courses}[strategy](data, cache)
        CONSOLE.rule(f"{strategy}: {question.evidence(question.sample).in_words}")
        found, took = {}, {}
        for option, settings in OPTIONS[strategy].items():
            CONSOLE.print(f"  {option}", highlight=False)
            with with_titles(question) if option == TITLES else nullcontext():
                arrays, took[option] = learned(
                    strategy,
                    question.evidence(question.sample),
                    {"epochs": passes[strategy]} | settings,
                )
                found[option] = ndcgs_by_part(strategy, arrays, question)
        rows += rows_of(strategy, found, took)
        print(as_markdown([row for row in rows if row["strategy"] == strategy]), flush=True)
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--only", choices=OPTIONS, nargs="+", default=list(OPTIONS))
    parser.add_argument("--json", type=Path, help="write the rows to this file too")
    parser.add_argument(
        "--cache", type=Path, default=Path(".recsys/vectors"), help="where vectors are kept"
    )
    arguments = parser.parse_args()
    rows = run(arguments.data, arguments.cache, arguments.only, PASSES)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
