"""What augmentation brings to what is trained by gradient: NDCG@20 on validation.

| set | strategy | there is | validation |
| --- | --- | --- | --- |
| games: Amazon, EasyRec split | neural | texts, no order | the split's own |
| courses: COCO, but the newest tenth | sequential | texts, order | the last of each user |
| office: Amazon, but the last of each user | sequential | texts, order | the last of each user |

Test parts are not looked at. Every option is trained alone, with the same seed, for as many passes
at most, and stopped by what is found of what training hides from itself: never by the clock, so
that what is found does not go by what else the machine does. A sample of the users is learned from,
so that trainings end in minutes, and all are asked. Differences are user by user, with 95 %
intervals. "Alone" is the network, which is what augmentation changes; the strategy as it is
served has hybrid beside it. Rare items have five pairs or fewer among those that are learned from.

Titles alone are a second view of an item's text, which no strategy takes. Games have no titles; the
first sentence of their description is taken for one.

`python -m benchmarks.augmentation --data DIR --json FILE` prints a Markdown table for each set and
writes rows of set, option, part, users, value, difference, low, high, batches, seconds.
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
from recsys_dagster.steps.models.augmentation import SHORTEST, nearest_by_text, replaced
from recsys_dagster.steps.models.base import Arrays, Evidence
from recsys_dagster.steps.models.behaviour import ones
from recsys_dagster.steps.models.blend import SCALE
from recsys_dagster.steps.models.fitted import Fitted
from recsys_dagster.steps.models.popular import popularity
from recsys_dagster.steps.models.trainer import CURVE, Trainer, Validation
from recsys_dagster.steps.models.validation import newest_of_each, stored_where
from recsys_dagster.steps.prepare.texts import item_texts
from recsys_dagster.steps.similarity.space import Space
from recsys_dagster.steps.similarity.tables import item_neighbours

CONSOLE = Console(width=120)
BASELINE = "as it is"
TITLES = "titles alone, half of the time"
GAMES, COURSES, OFFICE = "amazon-games", "coco-courses", "amazon-office"
NO_TITLES = np.empty((0, 1), dtype=np.float32)
TEST_SHARE = 0.1
MIN_HISTORY = 3
NDCG = "ndcg@20"
ALONE, WHOLE, RARE = "alone", "with hybrid", "rare items"
PARTS = (ALONE, WHOLE, RARE)
RARE_PAIRS = 5
NO_CLOCK: dict[str, Any] = {"minutes": 10_000}
USERS = 6_000
"""That are learned from."""
OF_SEQUENTIAL: dict[str, dict[str, Any]] = {
    BASELINE: {},
    "hidden: 0.2 of a history": {"hidden_share": 0.2},
    "cropped: half of the histories": {"cropped_share": 0.5},
    "noise: half as long as the vectors": {"noise": 0.5},
    "replaced: 0.1 of the items": {"replaced_share": 0.1},
    "replaced: 0.3 of the items": {"replaced_share": 0.3},
    "replaced: 0.2, hidden: 0.2": {"replaced_share": 0.2, "hidden_share": 0.2},
}


@dataclass(frozen=True)
class Texts:
    """What texts say of the items that are learned of.

    Attributes:
        vectors: float32 (n × d), projected.
        titles: csr (n × n), similarities of the titles alone.
    """

    vectors: np.ndarray
    titles: sparse.csr_matrix


def replaced_of_sets(
    histories: sparse.csr_matrix,
    nearest: np.ndarray,
    share: float,
    generator: np.random.Generator,
) -> sparse.csr_matrix:
    """Histories some of whose items are replaced, csr of ones (b × n); what comes twice is once."""
    items = replaced(histories.indices, nearest, share, generator)
    changed = sparse.csr_matrix(
        (np.ones(len(items), dtype=np.float32), items, histories.indptr.copy()),
        shape=histories.shape,
    )
    changed.sum_duplicates()
    return ones(changed)


def cropped_sets(
    histories: sparse.csr_matrix, share: float, generator: np.random.Generator
) -> sparse.csr_matrix:
    """Histories of some of which a part by chance is left, csr (b × n), of two or more items.

    Args:
        histories: csr of ones (b × n).
        share: of how many, 0 to 1.
        generator: of the batch.
    """
    lengths = np.diff(histories.indptr)
    chosen = generator.random(len(lengths)) < share
    sizes = generator.integers(np.minimum(SHORTEST, lengths), lengths + 1)
    sizes = np.where(chosen, sizes, lengths).astype(np.int64)
    return stored_where(
        histories, newest_of_each(histories, sizes, generator.random(histories.nnz))
    )


def noisy_similarities(
    neighbours: sparse.csr_matrix,
    items: np.ndarray,
    vectors: np.ndarray,
    noise: float,
    generator: np.random.Generator,
) -> sparse.csr_matrix:
    """Similarities where noise has been added to the vectors of some items, csr (n × n).

    (v_j + ε_j)·v_i with ε_j of so much of v_j's length, at the places that are stored.

    Args:
        neighbours: S, csr (n × n), row j the similarities of j's neighbours.
        items: int64 (m,), ascending, those items.
        vectors: float32 (n × d), projected.
        noise: length of ε_j over that of v_j.
        generator: of the batch.
    """
    found = neighbours.copy()
    own = np.repeat(np.arange(found.shape[0]), np.diff(found.indptr))
    wanted = np.flatnonzero(np.isin(own, items))
    lengths = np.linalg.norm(vectors[items], axis=1, keepdims=True)
    added = generator.standard_normal((len(items), vectors.shape[1]), dtype=np.float32)
    added *= noise / np.sqrt(vectors.shape[1]) * lengths
    rows = np.searchsorted(items, own[wanted])
    found.data[wanted] += np.einsum("ed,ed->e", added[rows], vectors[found.indices[wanted]])
    return found


Changed = tuple[sparse.csr_matrix, sparse.csr_matrix]
"""Histories, csr (users × n), and similarities of texts, csr (n × n)."""
CHANGES: dict[
    str,
    Callable[[sparse.csr_matrix, sparse.csr_matrix, Texts, np.random.Generator], Changed],
] = {
    "cropped: half of the histories": lambda X, S, _, chance: (cropped_sets(X, 0.5, chance), S),
    "noise: as long as the vectors": lambda X, S, texts, chance: (
        X,
        noisy_similarities(S, np.arange(S.shape[0]), texts.vectors, 1.0, chance),
    ),
    TITLES: lambda X, S, texts, chance: (X, texts.titles if chance.random() < 0.5 else S),
    "replaced: 0.1 of the items": lambda X, S, _, chance: (
        replaced_of_sets(X, nearest_by_text(S), 0.1, chance),
        S,
    ),
}
"""What neural does not offer, because it brought nothing: a change of each batch's own."""
OF_NEURAL: dict[str, dict[str, Any]] = {
    BASELINE: {},
    "hidden: 0.2 of a history": {"hidden_share": 0.2},
    "hidden: 0.7 of a history": {"hidden_share": 0.7},
} | {option: {} for option in CHANGES}
OWN_BATCH = neural.batch_of


@dataclass(frozen=True)
class Question:
    """What a strategy learns from, and is asked for.

    Attributes:
        task: of which test is not looked at.
        sample: bool csr (users × items), what is learned from: the histories of some users.
        train: bool csr (users × items), the histories that are ranked for: those of all.
        in_order: whether the order of histories is told.
        titles: float32 (items × d), of the titles alone; nothing where they are not asked for.
    """

    task: Task
    sample: sparse.csr_matrix
    train: sparse.csr_matrix
    in_order: bool
    titles: np.ndarray

    def evidence(self, pairs: sparse.csr_matrix) -> Evidence:
        """Evidence from some pairs alone."""
        return evidence_of(self.task, pairs, in_order=self.in_order)

    @property
    def rare(self) -> sparse.csr_matrix:
        """What is held back of items of five pairs or fewer, bool csr (users × items)."""
        pairs = np.bincount(self.sample.indices, minlength=self.sample.shape[1])
        valid = self.task.valid
        return stored_where(valid, pairs[valid.indices] <= RARE_PAIRS)

    def ndcgs(self, fitted: Fitted, held_back: sparse.csr_matrix) -> np.ndarray:
        """NDCG@20 of each user, float64 (users,); NaN where nothing is held back.

        Args:
            fitted: what ranks.
            held_back: bool csr (users × items), validation or a part of it.
        """
        evidence = self.evidence(self.train)
        found = ask(fitted, 0.0, evidence, held_back, evidence.behaviour.seen, (20,))
        values = np.full(held_back.shape[0], np.nan)
        values[np.diff(held_back.indptr) > 0] = found.users[NDCG]
        return values[np.diff(self.task.valid.indptr) > 0]


def games(data: Path, cache: Path) -> Question:
    """Amazon games without its validation part."""
    task = read_task(PROTOCOLS["F"], data, cache)
    items = pd.read_parquet(data / GAMES / "items.parquet").set_index("item_id").loc[task.items]
    first = items["description"].str.split(r"(?<=[.!?])\s", regex=True).str[0]
    titles = vectors(cache / f"{GAMES}-titles.npy", first.tolist)
    return question_of(task, without_valid(task), in_order=False, titles=titles)


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
    texts = item_texts(titled, ("title", "category", "concepts"))["text"].tolist
    return last_held_back(rows, items["item_id"], vectors(cache / f"{COURSES}.npy", texts))


def office(data: Path, cache: Path) -> Question:
    """Amazon office products, of which the last of each user's positives is held back.

    The one after it, which the product's own evaluation asks for, is left out.
    """
    rows = pd.read_parquet(data / OFFICE / "interactions.parquet")
    items = pd.read_parquet(data / OFFICE / "items.parquet").sort_values("item_id")
    items = items[items["item_id"].isin(rows["item_id"])]
    rows = rows.sort_values(["user_id", "position"], kind="stable", ignore_index=True)
    rows = rows[rows.duplicated("user_id", keep="last")]
    titled = items.assign(title=items["title"].fillna(items["item_id"]), title_source="title")
    texts = item_texts(titled, ("title", "brand", "description"))["text"].tolist
    return last_held_back(rows, items["item_id"], vectors(cache / f"{OFFICE}.npy", texts))


def last_held_back(rows: pd.DataFrame, item_ids: pd.Series, item_vectors: np.ndarray) -> Question:
    """The last row of each user with three or more is held back.

    Args:
        rows: user_id and item_id, those of a user from the oldest on.
        item_ids: of all items, sorted.
        item_vectors: float32 (items × d).
    """
    ids, users = pd.Index(item_ids), pd.Index(rows["user_id"].unique()).sort_values()
    places = (users.get_indexer(rows["user_id"]), ids.get_indexer(rows["item_id"]))
    order = sparse.csr_matrix((np.arange(1.0, len(rows) + 1), places), (len(users), len(ids)))
    counts = rows.groupby("user_id")["item_id"].transform("size")
    last = (~rows.duplicated("user_id", keep="last") & (counts >= MIN_HISTORY)).to_numpy()

    def pairs(own: np.ndarray) -> sparse.csr_matrix:
        where = (places[0][own], places[1][own])
        return sparse.csr_matrix((np.ones(own.sum(), dtype=bool), where), order.shape)

    nothing = sparse.csr_matrix(order.shape, dtype=bool)
    task = Task(pairs(~last), pairs(last), nothing, item_vectors, ids, users, order)
    return question_of(task, task.train, in_order=True)


def question_of(
    task: Task, train: sparse.csr_matrix, *, in_order: bool, titles: np.ndarray = NO_TITLES
) -> Question:
    """What is learned from the train part of a sample of users, and asked for all."""
    chosen = np.zeros(train.shape[0], dtype=bool)
    chosen[np.random.default_rng(0).permutation(len(chosen))[:USERS]] = True
    sample = stored_where(train, np.repeat(chosen, np.diff(train.indptr)))
    return Question(task, sample, train, in_order, titles)


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


def changed(question: Question, option: str) -> AbstractContextManager[object]:
    """Lets neural learn from batches that an option changed; what it is measured by stays."""
    change = CHANGES[option]
    evidence = question.evidence(question.sample)
    learned_items = np.unique(question.sample.indices)
    vectors = evidence.projected[learned_items]
    titles = similarities_of(question.titles)[learned_items][:, learned_items]

    def batch_of(
        visible: sparse.csr_matrix,
        learners: np.ndarray,
        neighbours: sparse.csr_matrix,
        masses: np.ndarray,
        number: int,
        settings: neural.NeuralSettings,
    ) -> neural.Batch:
        chance = np.random.default_rng([settings.seed, number, 1])
        changed = change(visible, neighbours, Texts(vectors, titles), chance)
        return OWN_BATCH(changed[0], learners, changed[1], masses, number, settings)

    return patch.object(neural, "batch_of", batch_of)


def similarities_of(vectors: np.ndarray) -> sparse.csr_matrix:
    """Of each item's neighbours by text, csr (items × items)."""
    space = Space.of(vectors, "cosine", centre=True)
    near = item_neighbours(space.project(vectors), NEIGHBOURS, "cosine")
    return sparse.csr_matrix(
        (near.similarities, (near.rows, near.columns)), shape=(len(vectors),) * 2
    )


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
    """NDCG@20 of each user who is asked, float64 (users,), by part.

    Of the network alone; with hybrid beside it; and so of rare items, NaN where nobody wants one.
    """
    own = STRATEGIES[strategy]
    popular = popularity(sparse.csr_matrix(question.sample, dtype=np.float32))
    without = {name: array for name, array in arrays.items() if name != SCALE}
    alone, whole = (
        Fitted(own, own.load(parts, own.settings()), popular) for parts in (without, arrays)
    )
    valid = question.task.valid
    return {
        ALONE: question.ndcgs(alone, valid),
        WHOLE: question.ndcgs(whole, valid),
        RARE: question.ndcgs(whole, question.rare),
    }


def _tell(found: Validation) -> None:
    CONSOLE.print(
        f"    {found.batches:,} batches, loss {found.loss:.4f}, hidden {found.ndcg:.4f}"
        f"{' best' if found.best else ''}",
        highlight=False,
    )


@dataclass(frozen=True)
class Comparison:
    """Options of a strategy on a set.

    Attributes:
        strategy: its name.
        read: of the folders of data and of kept vectors.
        passes: over the histories, at the most.
        options: option → settings; the first is what the others are compared with.
    """

    strategy: str
    read: Callable[[Path, Path], Question]
    passes: int
    options: Mapping[str, dict[str, Any]]

    def run(self, name: str, data: Path, cache: Path) -> list[dict[str, Any]]:
        """A row for each option and part."""
        question = self.read(data, cache)
        evidence = question.evidence(question.sample)
        CONSOLE.rule(f"{name}, {self.strategy}: {evidence.in_words}")
        found, took = {}, {}
        for option, settings in self.options.items():
            CONSOLE.print(f"  {option}", highlight=False)
            own = {"epochs": self.passes, **settings}
            own_batches = self.strategy == "neural" and option in CHANGES
            with changed(question, option) if own_batches else nullcontext():
                arrays, took[option] = learned(self.strategy, evidence, own)
            found[option] = ndcgs_by_part(self.strategy, arrays, question)
        return rows_of(name, found, took)


SETS = {
    "games": Comparison("neural", games, 20, OF_NEURAL),
    "courses": Comparison("sequential", courses, 30, OF_SEQUENTIAL),
    "office": Comparison("sequential", office, 60, OF_SEQUENTIAL),
}


def rows_of(
    name: str, found: Mapping[str, dict[str, np.ndarray]], took: Mapping[str, dict[str, float]]
) -> list[dict[str, Any]]:
    """A row for each option and part, with its difference to the first option's."""
    scores = {
        option: {(part, NDCG): values for part, values in own.items()}
        for option, own in found.items()
    }
    bootstrap = Bootstrap.of(scores)
    gains = bootstrap.differences(BASELINE).set_index(["strategy", "slice"])
    columns = ["difference", "low", "high"]
    rows = []
    for row in bootstrap.intervals().to_dict("records"):
        option, part = row["strategy"], row["slice"]
        gain = {} if option == BASELINE else gains.loc[(option, part), columns].to_dict()
        rows.append(
            {"set": name, "option": option, "part": part}
            | {figure: row[figure] for figure in ("users", "value")}
            | gain
            | took[option]
        )
    return rows


def as_markdown(rows: list[dict[str, Any]]) -> str:
    """A line for each option."""
    lines = [
        f"| {rows[0]['set']} | {' | difference | '.join(PARTS)} | difference | batches |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for option in dict.fromkeys(row["option"] for row in rows):
        own = [row for row in rows if row["option"] == option]
        cells = [option]
        for row in own:
            cells.append(f"{row['value']:.4f}")
            told = "difference" in row
            cells.append(
                f"{row['difference']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]" if told else ""
            )
        lines.append(f"| {' | '.join([*cells, format(own[0]['batches'], ',.0f')])} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--only", choices=SETS, nargs="+", default=list(SETS))
    parser.add_argument("--json", type=Path, help="write the rows to this file too")
    parser.add_argument(
        "--cache", type=Path, default=Path(".recsys/vectors"), help="where vectors are kept"
    )
    arguments = parser.parse_args()
    rows = []
    for name in arguments.only:
        own = SETS[name].run(name, arguments.data, arguments.cache)
        print(as_markdown(own), flush=True)
        rows += own
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
