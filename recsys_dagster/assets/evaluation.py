"""How good the lists are: strategies side by side on interactions that were held back."""

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from recsys_dagster.assets.common import (
    LAST,
    TABLE,
    data_version,
    quality_group,
    table_assets,
    utc_now,
)
from recsys_dagster.assets.held_back import NOT_IN_CATALOGUE, known_of, known_tables
from recsys_dagster.assets.metadata import (
    grouped_bars,
    intervals,
    named_curves,
    named_points,
    preview,
)
from recsys_dagster.assets.progress import Narrator
from recsys_dagster.catalog.base import Settings
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.errors import UserError, did_you_mean
from recsys_dagster.resources.compute import ComputeResource
from recsys_dagster.resources.encoder import TextEncoder
from recsys_dagster.resources.model_store import FitRequest, ModelStore
from recsys_dagster.resources.snapshot_store import SnapshotStore
from recsys_dagster.resources.warehouse import Warehouse
from recsys_dagster.schemas import EVALUATION, MODEL
from recsys_dagster.snapshots.current import current_name
from recsys_dagster.snapshots.evaluations import append
from recsys_dagster.steps.evaluation.comparison import (
    BASELINE,
    RULED,
    HeldBack,
    compare,
    possible_pairs,
)
from recsys_dagster.steps.models import STRATEGIES
from recsys_dagster.steps.models.base import Arrays, Evidence, Strategy
from recsys_dagster.steps.models.fitting import tuned_of
from recsys_dagster.versions import digest, fit_version

MAX_RUNS = 50
"""Runs that the history goes back."""
POPULARITY_SLICES = ("head_items", "tail_items", "cold_items")


class EvaluationConfig(dg.Config):
    """What to measure, where it is other than the catalog says."""

    strategies: list[str] = []  # noqa: RUF012, Dagster copies it
    k: list[int] = []  # noqa: RUF012


def evaluation_assets(catalog: Catalog) -> list[dg.AssetsDefinition]:
    """The asset evaluation of a catalog."""
    return [
        table_assets(
            catalog,
            evaluation,
            stage="evaluation",
            inputs=known_tables(catalog),
            also_made_with=lambda arguments: str(arguments["config"]),
            kinds={*TABLE, "scikitlearn"},
            group=quality_group(catalog.name),
            priority=LAST,
        )
    ]


def evaluation(
    context: dg.AssetExecutionContext,
    catalog: Catalog,
    config: EvaluationConfig,
    recsys_compute: ComputeResource,
    recsys_encoder: TextEncoder,
    recsys_warehouse: Warehouse,
    recsys_models: ModelStore,
    recsys_snapshots: SnapshotStore,
    evaluation_split: pd.DataFrame,
    tuning: pd.DataFrame,
    **tables: Any,
) -> dg.Output[pd.DataFrame]:
    """The strategies of a catalog, each fitted without what was held back and asked for it.

    Every item of the catalogue is ranked, nothing is sampled. Texts are known of all items; what
    is learned from behaviour comes from train alone; what was learned from the same train part
    before is not learned again.

    - recall@k: found of the user's test items, over all of them
    - ndcg@k: Σ 1/log₂(place + 1) over the found ones, over that of a list that begins with
      min(k, test items) of them
    - intervals: 95 %, by drawing users with replacement, the same users for every strategy; p by
      Holm for all strategies together

    The figures of all users are also kept beside the snapshots, those of earlier runs with them.
    """
    settings = catalog.evaluation
    require_strategies(config.strategies)
    if any(place < 1 for place in config.k):
        raise UserError(f"k: {config.k}: expected places of a list, at least 1, such as [10, 20].")
    ks = tuple(config.k or settings.k)
    strategies = tuple(config.strategies or settings.strategies)
    empty = pd.DataFrame({name: pd.Series(dtype=object) for name in EVALUATION.column_names})
    if not (evaluation_split["part"] == "test").any():
        return dg.Output(empty, metadata={"not_measured": "nothing was held back to measure with"})
    known = known_of(
        context,
        catalog,
        recsys_compute,
        recsys_encoder,
        recsys_warehouse,
        evaluation_split,
        tables,
    )
    held_back = HeldBack.of(evaluation_split)
    if not len(possible_pairs(held_back.test, known.items)):
        return dg.Output(empty, metadata={"not_measured": NOT_IN_CATALOGUE})
    versions = train_versions(catalog, evaluation_split, tables)
    fingerprints: dict[str, str] = {}
    with Narrator(context.log) as narrator:

        def learn(strategy: Strategy[Any], own: Settings, evidence: Evidence) -> Arrays:
            request = FitRequest(catalog.name, strategy, own, evidence, versions, recsys_compute)
            fit = recsys_models.fit_once(request, context.run.run_id, narrator.doing)
            fingerprints[strategy.name] = fit.manifest["fingerprint"]
            return fit.model(strategy.name, own.model_dump(mode="json")).learned

        table = compare(
            catalog,
            held_back,
            known,
            strategies,
            ks,
            settings.mask,
            tuned_of(tuning),
            narrator.doing,
            learn,
            recsys_compute,
        )
    recsys_models.forget(
        catalog.name, _measured_before(recsys_warehouse, catalog.name) - set(fingerprints.values())
    )
    names = table["strategy"].str.removesuffix(RULED.format(""))
    table["model"] = names.map(fingerprints)
    figure = f"ndcg@{max(ks)}"
    split = str(evaluation_split["split"].iloc[0])
    shown = _described(table, catalog.strategy, split, max(ks))
    key = dg.AssetKey([catalog.name, EVALUATION.name])
    over_runs = [*_earlier(context, key, figure), shown[figure]]
    snapshots = recsys_snapshots.place
    if current_name(snapshots, catalog.name) is not None:  # they are kept beside what is published
        append(
            snapshots,
            catalog.name,
            context.run.run_id,
            utc_now(),
            split,
            catalog.strategy,
            table,
        )
    return dg.Output(
        table[EVALUATION.column_names],
        metadata=shown
        | {"computed_on": recsys_compute.in_words}
        | {
            "over_runs": named_curves(
                {catalog.strategy: over_runs}, f"{figure} over runs", "run", figure
            )
        },
    )


def require_strategies(names: Iterable[str]) -> None:
    """See that a run's config names strategies.

    Raises:
        UserError: one of them is none; the nearest names.
    """
    for name in names:
        if name not in STRATEGIES:
            raise UserError(f"{name!r} is no strategy.{did_you_mean(name, STRATEGIES)}")


def _measured_before(warehouse: Warehouse, catalog: str) -> set[str]:
    """The fingerprints of the models that the table names, and that lists are not made with.

    There may be ten of a refresh, and the next one measures others.
    """
    if not warehouse.has(catalog, EVALUATION.name):
        return set()
    sql = "select model from evaluation"
    if warehouse.has(catalog, MODEL.name):
        sql += " except select fingerprint from model"
    found = warehouse.query(catalog, sql)
    return {fingerprint for (fingerprint,) in found}


def train_versions(
    catalog: Catalog, evaluation_split: pd.DataFrame, tables: Mapping[str, Any]
) -> dict[str, str]:
    """What models that are measured are learned from, as `ModelStore.fit_once` knows it."""
    users = catalog.users
    return {
        "train": digest(
            data_version(evaluation_split), f"{users.half_life_days} {users.half_life_positions}"
        ),
        "item_embeddings": data_version(tables["item_embeddings"]),
        "item_neighbours": data_version(tables["item_neighbours"]),
        "code": fit_version(catalog),
    }


def _earlier(context: dg.AssetExecutionContext, key: dg.AssetKey, figure: str) -> list[float]:
    """The champion's figure in earlier runs that measured it, oldest first."""
    found = context.instance.fetch_materializations(key, limit=MAX_RUNS).records
    known = [record.asset_materialization for record in reversed(found)]
    shown = [materialization.metadata for materialization in known if materialization]
    return [
        float(entries[figure].value)
        for entries in shown
        if figure in entries and not entries["unchanged"].value
    ]


def _described(table: pd.DataFrame, champion: str, split: str, k: int) -> dict[str, Any]:
    overall = table[table["slice"] == "all"].set_index(["strategy", "metric"])
    names = list(dict.fromkeys(table["strategy"]))
    figure, recall = f"ndcg@{k}", f"recall@{k}"

    def value(name: str, metric: str) -> float:
        return float(overall.loc[(name, metric), "value"])

    def shown(name: str, metric: str) -> str:
        low, high = (overall.loc[(name, metric), end] for end in ("low", "high"))
        return f"{value(name, metric):.4f} [{low:.4f}, {high:.4f}]"

    rows = [
        {"strategy": name}
        | {metric: shown(name, metric) for metric in (figure, recall)}
        | {f"coverage@{k}": f"{value(name, f'coverage@{k}'):.3f}"}
        for name in sorted(names, key=lambda name: -value(name, figure))
    ]
    by_popularity = table[table["metric"] == recall].set_index(["strategy", "slice"])["value"]
    return {
        "strategies": preview(pd.DataFrame(rows), rows=len(rows)),
        "split": split,
        "users": int(overall.loc[(champion, figure), "users"]),
        # Numbers of the champion: Dagster draws them over runs.
        figure: value(champion, figure),
        recall: value(champion, recall),
        "better_than_popular": bool(
            champion != BASELINE and overall.loc[(champion, figure), "to_popular_low"] > 0
        ),
        "plot": intervals(
            {row["strategy"]: _interval(overall, row["strategy"], figure) for row in rows},
            f"{figure} by strategy, 95 % intervals",
            figure,
        ),
        "accuracy_and_coverage": named_points(
            {name: (value(name, f"coverage@{k}"), value(name, figure)) for name in names},
            "Accuracy against coverage",
            f"coverage@{k}",
            figure,
        ),
        "recall_by_popularity": grouped_bars(
            {
                part: {
                    name: float(np.nan_to_num(by_popularity.get((name, part), np.nan)))
                    for name in names
                }
                for part in POPULARITY_SLICES
            },
            f"{recall} by how popular the item is",
            recall,
        ),
    }


def _interval(overall: pd.DataFrame, name: str, metric: str) -> tuple[float, float, float]:
    row = overall.loc[(name, metric)]
    return float(row["value"]), float(row["low"]), float(row["high"])
