"""How good the lists are: strategies side by side on interactions that were held back."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa
from scipy import sparse

from recsys_dagster.assets.common import TABLE, table_asset
from recsys_dagster.assets.embeddings import encode_texts
from recsys_dagster.catalog import Catalog
from recsys_dagster.catalogs import Catalogs
from recsys_dagster.errors import UserError
from recsys_dagster.metadata import (
    STAGE,
    bars,
    grouped_bars,
    intervals,
    named_points,
    preview,
)
from recsys_dagster.progress import log_progress
from recsys_dagster.resources.embedding_store import vectors_from_arrow
from recsys_dagster.resources.encoder import TextEncoder
from recsys_dagster.resources.run_context import catalog_of
from recsys_dagster.resources.warehouse import Warehouse
from recsys_dagster.schemas import EVALUATION
from recsys_dagster.steps.columns import as_ids, own_columns, require_column
from recsys_dagster.steps.evaluation.comparison import BASELINE, HeldBack, Known, compare
from recsys_dagster.steps.evaluation.splits import MOST_UNORDERED, Kind, split
from recsys_dagster.steps.matrices import align
from recsys_dagster.steps.similarity_tables import to_sparse

POPULARITY_SLICES = ("head_items", "tail_items", "cold_items")


class EvaluationConfig(dg.Config):
    """What to measure, where it is other than the catalog says."""

    strategies: list[str] = []  # noqa: RUF012, Dagster copies it
    k: list[int] = []  # noqa: RUF012


def kind_of(catalog: Catalog, interactions: pd.DataFrame) -> Kind:
    """The split of a catalog: time, where nine in ten positive pairs have one, else last."""
    if catalog.evaluation.split is not None:
        return catalog.evaluation.split
    times = interactions.loc[interactions["positive"], "first_timestamp"]
    return "time" if len(times) and times.isna().mean() <= MOST_UNORDERED else "last"


@table_asset(tags={STAGE: "evaluation"})
def evaluation_split(
    context: dg.AssetExecutionContext,
    recsys_catalogs: dg.ResourceParam[Catalogs],
    raw_interactions: pd.DataFrame,
    interactions: pd.DataFrame,
) -> dg.Output[pd.DataFrame]:
    """Which interactions are held back from models that are measured.

    - time: one cut for everybody; the newest tenth is test, the tenth before it validation
    - last: of each user's likes the last is test, the one before it validation
    - random: a tenth and a tenth, by chance
    - column: as a column of the source says

    Only likes are held back; what is not liked counts as seen.
    """
    catalog = catalog_of(context, recsys_catalogs)
    kind = kind_of(catalog, interactions)
    labels = _labels(catalog, raw_interactions, interactions) if kind == "column" else None
    metadata: dict[str, Any] = {"split": kind}
    try:
        parts = split(interactions, kind, labels=labels)
    except UserError as error:
        # Too little to measure is no reason to stop what can be recommended.
        context.log.warning(f"not measured: {error}")
        metadata["not_measured"] = str(error)
        parts = pd.Series(None, index=interactions.index, dtype=object)
    table = interactions[["user_id", "item_id"]].assign(part=parts.astype("str"))
    table["part"] = table["part"].where(parts.notna())
    counts = parts.value_counts().to_dict()
    return dg.Output(
        table,
        metadata=metadata
        | {part: int(counts.get(part, 0)) for part in ("train", "valid", "test")}
        | {"plot": bars(counts, f"Parts of the split by {kind}", "interactions")},
    )


def _labels(
    catalog: Catalog, raw_interactions: pd.DataFrame, interactions: pd.DataFrame
) -> pd.Series:
    """The last label that the source has of each pair."""
    names = own_columns(raw_interactions.columns)
    column = catalog.evaluation.column
    if column not in names:
        raise UserError(
            f"raw_interactions: evaluation: column: {column!r} is not in the source. Found: "
            f"{', '.join(map(repr, names))}."
        )
    mapping = catalog.interactions.columns
    keys = {
        wanted: as_ids(raw_interactions[require_column(wanted, names, mapping, "raw_interactions")])
        for wanted in ("user_id", "item_id")
    }
    labelled = pd.DataFrame(keys | {"label": raw_interactions[column]})
    labelled = labelled.drop_duplicates(["user_id", "item_id"], keep="last")
    pairs = interactions[["user_id", "item_id"]]
    joined = pairs.merge(labelled, on=["user_id", "item_id"], how="left")
    return joined["label"].set_axis(interactions.index)


def _what_was_asked(_: Catalog, arguments: Mapping[str, Any]) -> str:
    return str(arguments["config"])


@table_asset(
    also_made_with=_what_was_asked, kinds={*TABLE, "scikitlearn"}, tags={STAGE: "evaluation"}
)
def evaluation(
    context: dg.AssetExecutionContext,
    config: EvaluationConfig,
    recsys_catalogs: dg.ResourceParam[Catalogs],
    recsys_encoder: TextEncoder,
    recsys_warehouse: Warehouse,
    interactions: pd.DataFrame,
    items: pd.DataFrame,
    users: pd.DataFrame,
    user_texts: pd.DataFrame,
    item_texts: pd.DataFrame,
    item_embeddings: pa.Table,
    item_neighbours: pa.Table,
    evaluation_split: pd.DataFrame,
) -> dg.Output[pd.DataFrame]:
    """The strategies of a catalog, each fitted without what was held back and asked for it.

    Every item of the catalogue is ranked, nothing is sampled. Texts are known of all items; what
    is learned from behaviour comes from train alone.

    - recall@k: found of the user's test items, over all of them
    - ndcg@k: Σ 1/log₂(place + 1) over the found ones, over that of a list that begins with
      min(k, test items) of them
    - intervals: 95 %, by drawing users with replacement, the same users for every strategy; p by
      Holm for all strategies together
    """
    catalog = catalog_of(context, recsys_catalogs)
    settings = catalog.evaluation
    ks = tuple(config.k or settings.k)
    strategies = tuple(config.strategies or settings.strategies)
    if not (evaluation_split["part"] == "test").any():
        empty = pd.DataFrame({name: pd.Series(dtype=object) for name in EVALUATION.column_names})
        return dg.Output(empty, metadata={"not_measured": "nothing was held back to measure with"})
    user_ids = users["user_id"].sort_values(ignore_index=True)
    text_vectors = None
    if len(user_texts):
        encoded, _ = encode_texts(
            context, catalog, recsys_encoder, recsys_warehouse, user_texts, item_texts, "query"
        )
        text_vectors = align(pd.Index(user_ids), user_texts["user_id"], encoded.vectors)

    def neighbours(item_ids: pd.Index) -> sparse.csr_matrix:
        ids = pa.array(item_ids, pa.string())
        return to_sparse(item_neighbours, ids, ids, ("item_id", "neighbour_item_id"))

    order = pd.Index(item_embeddings["item_id"].to_pandas()).get_indexer(items["item_id"])
    known = Known(
        user_ids,
        items,
        vectors_from_arrow(item_embeddings["embedding"])[order],
        text_vectors,
        neighbours,
    )
    kind = kind_of(catalog, interactions)
    pairs = interactions[["user_id", "item_id"]].merge(
        evaluation_split, on=["user_id", "item_id"], how="left"
    )
    parts = pairs["part"].set_axis(interactions.index)
    table = compare(
        catalog,
        HeldBack.of(interactions, parts, kind),
        known,
        strategies,
        ks,
        settings.mask,
        log_progress(context.log, "measured", "strategies"),
    )
    return dg.Output(
        table[EVALUATION.column_names], metadata=_described(table, catalog.strategy, kind, max(ks))
    )


def _described(table: pd.DataFrame, champion: str, kind: str, k: int) -> dict[str, Any]:
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
        | {metric: shown(name, metric) for metric in (recall, figure)}
        | {f"coverage@{k}": f"{value(name, f'coverage@{k}'):.3f}"}
        for name in sorted(names, key=lambda name: -value(name, figure))
    ]
    by_popularity = table[table["metric"] == recall].set_index(["strategy", "slice"])["value"]
    return {
        "split": kind,
        "users": int(overall.loc[(champion, figure), "users"]),
        # Numbers of the champion: Dagster draws them over runs.
        figure: value(champion, figure),
        recall: value(champion, recall),
        "better_than_popular": bool(
            champion != BASELINE and overall.loc[(champion, figure), "to_popular_low"] > 0
        ),
        "preview": preview(pd.DataFrame(rows), rows=len(rows)),
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
