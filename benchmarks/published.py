"""Ours beside published rows, on the same splits and by the same protocol.

| table | data | split | input | masked | k |
| --- | --- | --- | --- | --- | --- |
| B | MovieLens-100K | random 75/25 by item (Microsoft recommenders) | train | train | 10 |
| C | MovieLens-1M | DiffRec clean, by user in time | train | train, valid | 10, 20 |
| E | Amazon movies | random 8:1:1 (EasyRec) | train | train | 20 |
| F | Amazon games | random 8:1:1 (EasyRec) | train | train | 20 |
| cold | Amazon games | a fifth of the items taken out whole, seed 0 | train | train | 20 |
| G | Yelp, ids alone | random 3:1:1 (RLMRec) | train | train | 20 |
| H | Amazon books, ids alone | random 3:1:1 (RLMRec) | train | train | 20 |
| S | Amazon beauty, ids alone | last out, by user (S3-Rec) | train, valid | train, valid | 10 |

Of S the published rows do not say whether what a user has seen is left out of lists, so what goes
by order is measured both ways; all methods learn from train alone.

Of the cold items all pairs are asked for, of users who have a history without them.

Every item is ranked. Texts are of items alone. Recall divides by the number of test pairs,
truncated recall by no more than k, as GiffCF's published figures do (`models/recommender.py` of its
repository VinciZhu/GiffCF).

`--tune` tries settings on validation (of B, a tenth of train drawn with seed 0) and writes the best
of each table and strategy to `published_settings.json`; without it they are used from there, and
test is looked at once. What is trained by gradient takes its `minutes` a table, and is measured
where `--trained` asks for it; its settings were tried by hand on validation.

`python -m benchmarks.published --data DIR --json FILE` writes rows of table, method, metric, value
and seconds.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table as RichTable
from scipy import sparse

from benchmarks.published_tasks import AT_20, PROTOCOLS, Protocol, Task, evidence_of, read_task
from recsys_dagster.resources.training import device
from recsys_dagster.steps.evaluation.intervals import Bootstrap
from recsys_dagster.steps.evaluation.metrics import accuracy
from recsys_dagster.steps.evaluation.ranked import rank_for_evaluation
from recsys_dagster.steps.evaluation.tuning import Values, chosen, in_words, search
from recsys_dagster.steps.models import STRATEGIES
from recsys_dagster.steps.models.base import Evidence
from recsys_dagster.steps.models.fitted import Fitted
from recsys_dagster.steps.models.fitting import Fits
from recsys_dagster.steps.models.item_weights import ItemWeightsModel
from recsys_dagster.steps.models.popular import popularity
from recsys_dagster.steps.models.trainer import Trainer, Validation

SETTINGS = Path(__file__).with_name("published_settings.json")
COLD_SHARE = 0.2
COLD_BOOSTS = (1.0, 1.5, 2.0, 3.0)
METHODS = ("popular", "item_knn", "ease", "l3ae", "hybrid")
IN_ORDER = "hybrid, in order"
"""hybrid where it is told the order of each user's pairs, which published methods do not use."""
TOLD = ", in order"
GOES_BY_ORDER = "markov"
TRAINED = "neural"
TRAINED_IN_ORDER = ("neural, in order", "sequential")
NOTHING_MASKED = "{}, nothing masked"
TRIALS = 20
CONSOLE = Console(width=120)


@dataclass(frozen=True)
class Measured:
    """What a method did.

    Attributes:
        users: metric → float64 (users,), of those with something held back.
        fit_seconds: of learning.
        recommend_seconds: of ranking for all of them.
    """

    users: dict[str, np.ndarray]
    fit_seconds: float
    recommend_seconds: float

    def mean(self, metric: str) -> float:
        """Mean over users."""
        return float(np.nanmean(self.users[metric]))

    def rows(self, table: str, method: str, metrics: Sequence[tuple[str, str]]) -> list[dict]:
        """A row for each metric, named with the part of the data it is of."""
        return [
            {
                "table": table,
                "method": method,
                "metric": f"{metric}, {part}" if part else metric,
                "value": self.mean(metric),
                "seconds": self.fit_seconds + self.recommend_seconds,
            }
            for metric, part in metrics
        ]


def timed_fit(evidence: Evidence, method: str, settings: Values) -> tuple[Fitted, float]:
    """Fit a method, and the seconds that took.

    Args:
        evidence: what may be learned from.
        method: a strategy, after which a comma and how it is used may follow.
        settings: its settings, where they are other than the product's.
    """
    started = time.perf_counter()
    trainer = Trainer(device, lambda: time.perf_counter() - started, _tell)
    fitted = fit(Fits(replace(evidence, trainer=trainer)), method, settings)
    return fitted, time.perf_counter() - started


def _tell(found: Validation) -> None:
    CONSOLE.print(
        f"  {found.batches:,} batches, loss {found.loss:.3f}, NDCG@20 of what is hidden "
        f"{found.ndcg:.4f}{' best' if found.best else ''}",
        highlight=False,
    )


def fit(fits: Fits, method: str, settings: Values) -> Fitted:
    """The strategy of a method, fitted with these settings and the product's own."""
    strategy = strategy_of(method)
    return fits.fit(strategy, STRATEGIES[strategy].settings.model_validate(settings))


def ask(
    fitted: Fitted,
    fit_seconds: float,
    evidence: Evidence,
    held_back: sparse.csr_matrix,
    mask: sparse.csr_matrix,
    ks: Sequence[int],
) -> Measured:
    """Rank for the users with something held back.

    Args:
        fitted: what ranks.
        fit_seconds: that fitting it took.
        evidence: whose histories are ranked for.
        held_back: bool csr (users × items), what is asked for.
        mask: bool csr (users × items), what lists must not hold.
        ks: places that count.
    """
    users = np.flatnonzero(np.diff(held_back.indptr))
    started = time.perf_counter()
    ranked = rank(fitted, evidence, users, mask, max(ks))
    seconds = time.perf_counter() - started
    return Measured(figures(ranked, held_back[users], ks), fit_seconds, seconds)


def rank(
    fitted: Fitted, evidence: Evidence, users: np.ndarray, mask: sparse.csr_matrix, k: int
) -> np.ndarray:
    """Lists of users, int64 (users × k), item positions, best first.

    There are no texts of users: those without a history get what is popular.
    """
    nothing = sparse.csr_matrix(mask.shape, dtype=np.float32)
    return rank_for_evaluation(fitted, evidence.behaviour, nothing, users, mask, k)


def figures(
    ranked: np.ndarray, held_back: sparse.csr_matrix, ks: Sequence[int]
) -> dict[str, np.ndarray]:
    """The product's metrics and truncated recall, each float64 (users,)."""
    found = accuracy(ranked, held_back, ks)
    asked = np.diff(held_back.indptr)
    truncated = {
        f"truncated_recall@{k}": found[f"recall@{k}"] * asked / np.minimum(asked, k) for k in ks
    }
    return found | truncated


def all_similarities(evidence: Evidence) -> Fitted:
    """`content` with all similarities of texts, for which the product keeps the nearest.

    Ranks among cold items need them.
    """
    vectors = evidence.projected
    model = ItemWeightsModel(vectors @ vectors.T, np.arange(len(vectors)))
    return Fitted(STRATEGIES["content"], model, popularity(evidence.behaviour.positives))


def strategy_of(method: str) -> str:
    """The strategy of a method: what comes before the comma."""
    return method.partition(",")[0]


def told_the_order(method: str) -> bool:
    """Whether a method is told the order of each user's pairs."""
    return method.endswith(TOLD) or STRATEGIES[strategy_of(method)].needs_order


def without_valid(task: Task) -> sparse.csr_matrix:
    """What is learned from while settings are tried: train without validation, bool csr."""
    return (task.train - task.train.multiply(task.valid)).tocsr()


def masked_at_test(task: Task, protocol: Protocol) -> sparse.csr_matrix:
    """What lists must not hold at test, bool csr: train, and validation where it is masked too."""
    return ((task.train + task.valid) > 0).tocsr() if protocol.mask_valid else task.train


def tune(task: Task, method: str, protocol: Protocol) -> Values:
    """The settings that the search of `recsys tune` chooses on validation.

    Where the order of a user's pairs is not told, there is nothing to find for recency_power.
    """
    in_order = told_the_order(method)
    evidence = evidence_of(task, without_valid(task), in_order=in_order)
    fits, seen = Fits(evidence), evidence.behaviour.seen
    users = np.flatnonzero(np.diff(task.valid.indptr))

    def score(settings: Values) -> np.ndarray:
        ranked = rank(fit(fits, method, settings), evidence, users, seen, max(protocol.ks))
        return figures(ranked, task.valid[users], protocol.ks)[protocol.chosen_by]

    strategy = STRATEGIES[strategy_of(method)]
    ladders = {name: mark.values for name, mark in strategy.searched.items()}
    if not in_order:
        ladders.pop("recency_power", None)
    own = strategy.settings()
    start = {name: getattr(own, name) for name in ladders}
    trials = list(search(ladders, start, score, TRIALS))
    best = chosen(trials)
    CONSOLE.print(
        f"  {method}: {len(trials)} trials, {protocol.chosen_by} on validation "
        f"{trials[0].value:.4f} → {best.value:.4f} with {in_words(best.settings)}",
        highlight=False,
    )
    return best.settings


def without_cold(task: Task) -> tuple[Task, np.ndarray]:
    """The task with a fifth of the items taken out of train whole; which they are."""
    items = task.train.shape[1]
    cold = np.zeros(items, dtype=bool)
    cold[np.random.default_rng(0).permutation(items)[: round(COLD_SHARE * items)]] = True
    return replace(task, train=_columns(task.train, ~cold)), cold


def cold_rows(task: Task, protocol: Protocol, settings: dict[str, Values]) -> list[dict]:
    """Cold items among cold ones and among all, and warm items, by `cold_boost`."""
    everything = (task.train + task.valid + task.test) > 0
    task, cold = without_cold(task)
    evidence = evidence_of(task, task.train)
    seen = evidence.behaviour.seen
    has_history = sparse.diags_array((np.diff(seen.indptr) > 0).astype(np.float64))
    of_cold = _columns((has_history @ everything).tocsr(), cold)
    of_warm = _columns(task.test, ~cold)
    warm_too = ((seen + _everywhere(~cold, seen.shape[0])) > 0).tocsr()
    parts = {
        "cold among cold": (of_cold, warm_too),
        "cold among all": (of_cold, seen),
        "warm": (of_warm, seen),
    }
    own = settings.get("hybrid", {})
    methods = {"l3ae": settings.get("l3ae", {})} | {
        _boosted(boost): own | {"cold_boost": boost} for boost in COLD_BOOSTS
    }
    fits = Fits(evidence)
    fits_of = {"content": partial(all_similarities, evidence)} | {
        method: partial(fit, fits, method, values) for method, values in methods.items()
    }
    rows, scores = [], {}
    for method, fitting in fits_of.items():
        started = time.perf_counter()
        fitted = fitting()
        seconds = time.perf_counter() - started
        for part, (held_back, mask) in parts.items():
            found = ask(fitted, seconds, evidence, held_back, mask, protocol.ks)
            if part == "cold among cold":
                scores[method] = {("cold", metric): found.users[metric] for metric in AT_20}
            rows += found.rows("cold", method, [(metric, part) for metric in protocol.metrics])
    rows += _over_content(scores)
    return rows


def _boosted(boost: float) -> str:
    return f"hybrid, cold_boost {boost:g}"


def _over_content(scores: dict[str, dict[tuple[str, str], np.ndarray]]) -> list[dict]:
    """How far the hybrid is ahead of content, cold among cold: 95 % intervals by user."""
    own = {name: scores[name] for name in ("content", _boosted(COLD_BOOSTS[0]))}
    differences = Bootstrap.of(own).differences("content")
    return [
        {
            "table": "cold",
            "method": "hybrid over content",
            "metric": f"{row['metric']}, {end} of the difference",
            "value": row[end],
            "seconds": 0.0,
        }
        for row in differences.to_dict("records")
        for end in ("low", "high")
    ]


def draw_cold_boost(rows: list[dict], file: Path) -> None:
    """Recall of cold and of warm items among all, over `cold_boost`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.2), dpi=100, layout="constrained")
    axes = figure.subplots()
    for part in ("cold among all", "warm"):
        values = [
            next(
                row["value"]
                for row in rows
                if row["method"] == _boosted(boost) and row["metric"] == f"recall@20, {part}"
            )
            for boost in COLD_BOOSTS
        ]
        axes.plot(COLD_BOOSTS, values, marker="o", label=part)
    axes.set_xlabel("cold_boost")
    axes.set_ylabel("recall@20")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    figure.savefig(file)


def _columns(matrix: sparse.csr_matrix, kept: np.ndarray) -> sparse.csr_matrix:
    chosen = (matrix @ sparse.diags_array(kept.astype(np.float64))).astype(bool).tocsr()
    chosen.eliminate_zeros()
    return chosen


def _everywhere(columns: np.ndarray, users: int) -> sparse.csr_matrix:
    row = sparse.csr_matrix(columns[None, :])
    return sparse.vstack([row] * users, format="csr")


def run(
    only: Sequence[str],
    data: Path,
    cache: Path,
    *,
    tuning: bool,
    trained: bool,
    wanted: Sequence[str] = (),
) -> list[dict]:
    """Rows of all tables asked for, of the methods wanted or of all."""
    settings = json.loads(SETTINGS.read_text("utf-8")) if SETTINGS.exists() else {}
    rows: list[dict] = []
    for name in only:
        protocol = PROTOCOLS[name]
        CONSOLE.rule(f"{name}: {protocol.folder}")
        task = read_task(protocol, data, cache)
        own = settings.setdefault("F" if name == "cold" else name, {})
        methods = (*METHODS, IN_ORDER, GOES_BY_ORDER) if protocol.in_order else METHODS
        methods = [method for method in methods if not wanted or method in wanted]
        if tuning and name != "cold":
            own |= {
                method: tune(task, method, protocol) for method in methods if method != METHODS[0]
            }
            SETTINGS.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        if trained:
            every = (TRAINED, *TRAINED_IN_ORDER) if protocol.in_order else (TRAINED,)
            methods += [method for method in every if not wanted or method in wanted]
        if name == "cold":
            rows += cold_rows(task, protocol, own)
            continue
        masked = masked_at_test(task, protocol)
        metrics = [(metric, "") for metric in protocol.metrics]
        orders = {told_the_order(method) for method in methods}
        learned_from = {order: evidence_of(task, task.train, in_order=order) for order in orders}
        asked_with = learned_from
        if protocol.feeds_valid:
            asked_with = {order: evidence_of(task, masked, in_order=order) for order in orders}
        for method in methods:
            in_order = told_the_order(method)
            fitted, seconds = timed_fit(learned_from[in_order], method, own.get(method, {}))
            asked = asked_with[in_order]
            found = ask(fitted, seconds, asked, task.test, masked, protocol.ks)
            rows += found.rows(name, method, metrics)
            if protocol.feeds_valid and STRATEGIES[strategy_of(method)].needs_order:
                nothing = sparse.csr_matrix(masked.shape, dtype=bool)
                found = ask(fitted, seconds, asked, task.test, nothing, protocol.ks)
                rows += found.rows(name, NOTHING_MASKED.format(method), metrics)
    return rows


def as_table(name: str, rows: list[dict]) -> RichTable:
    """Published rows, then ours, then what is aimed at."""
    protocol = PROTOCOLS[name]
    own = pd.DataFrame([row for row in rows if row["table"] == name])
    table = RichTable(title=f"{name}: {protocol.folder}", title_justify="left", title_style="bold")
    if name == "cold":
        for heading in ("method", "metric", "value"):
            table.add_column(heading, justify="right" if heading == "value" else "left")
        for row in own.to_dict("records"):
            table.add_row(row["method"], row["metric"], f"{row['value']:.4f}")
        return table
    metrics = list(protocol.metrics)
    for heading in ("method", *metrics, "seconds"):
        justify = "left" if heading == "method" else "right"
        table.add_column(heading.replace("_", " "), justify=justify, overflow="fold")
    for method, figures in protocol.published.items():
        shown = [f"{figure:.4f}" if figure is not None else "" for figure in figures]
        table.add_row(f"{method} (published)", *shown, "")
    for method, group in own.groupby("method", sort=False):
        values = group.set_index("metric")["value"]
        seconds = f"{group['seconds'].iloc[0]:.1f}"
        table.add_row(str(method), *(f"{values[metric]:.4f}" for metric in metrics), seconds)
    aimed = [f"≥ {protocol.aims[m]:g}" if m in protocol.aims else "" for m in metrics]
    table.add_row("[dim]aim", *aimed, "")
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--only", choices=PROTOCOLS, nargs="+", default=list(PROTOCOLS))
    parser.add_argument("--tune", action="store_true", help="search on validation first")
    parser.add_argument(
        "--trained", action="store_true", help="measure what is trained by gradient too"
    )
    parser.add_argument("--methods", nargs="+", default=(), help="these alone, but of cold")
    parser.add_argument("--json", type=Path, help="write the rows to this file too")
    parser.add_argument("--plot", type=Path, help="draw the curve over cold_boost to this file")
    parser.add_argument(
        "--cache", type=Path, default=Path(".recsys/vectors"), help="where vectors are kept"
    )
    arguments = parser.parse_args()
    rows = run(
        arguments.only,
        arguments.data,
        arguments.cache,
        tuning=arguments.tune,
        trained=arguments.trained,
        wanted=arguments.methods,
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    for name in dict.fromkeys(row["table"] for row in rows):
        CONSOLE.print(as_table(name, rows))
    if arguments.plot and "cold" in arguments.only:
        draw_cold_boost(rows, arguments.plot)


if __name__ == "__main__":
    main()
