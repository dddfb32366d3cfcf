"""The lists, and the one list for users nobody knows."""

import json
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa
from scipy import sparse

from recsys_dagster.assets.common import TABLE, table_assets, utc_now
from recsys_dagster.assets.metadata import (
    bars,
    column_lineage,
    counted,
    curve,
    first_list,
    preview,
    rests_on,
)
from recsys_dagster.assets.progress import log_progress
from recsys_dagster.catalog.item_lists import named_items, named_items_digest
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.resources.compute import ComputeResource
from recsys_dagster.resources.model_store import ModelStore
from recsys_dagster.resources.warehouse import StoredTable, Warehouse
from recsys_dagster.steps.lists import recommendations as step
from recsys_dagster.steps.lists.candidates import candidates
from recsys_dagster.steps.lists.reranking import Reranking
from recsys_dagster.steps.models import STRATEGIES
from recsys_dagster.steps.models.base import POSITIVES, SIMILARITIES, Strategy
from recsys_dagster.steps.models.behaviour import Behaviour
from recsys_dagster.steps.models.popular import popularity
from recsys_dagster.steps.similarity.tables import to_sparse

TIMES = ["histories.first_timestamps", "histories.last_timestamps"]


def recommendations_assets(catalog: Catalog) -> list[dg.AssetsDefinition]:
    """The assets popular_items and recommendations of a catalog."""

    def named_in_files(_: Any) -> str:
        """Files of rules are no tables of Dagster's: what is in them is compared here."""
        return named_items_digest(catalog)

    return [
        table_assets(
            catalog,
            popular_items,
            stage="recommendations",
            also_made_with=named_in_files,
            guarded_by=("interactions",),
        ),
        table_assets(
            catalog,
            recommendations,
            stage="recommendations",
            kinds={*TABLE, "scikitlearn"},
            guarded_by=("interactions",),
        ),
    ]


def popular_items(
    context: dg.AssetExecutionContext,
    catalog: Catalog,
    histories: pa.Table,
    items: pd.DataFrame,
) -> dg.Output[pd.DataFrame]:
    """Every item by the share of users who like it: what unknown users get, and what all lists are
    filled up with.

    What has a rank may be recommended: it is available, and let in by the catalog's rules.

    `p_i = |{u : x_ui = 1}| / |users|`
    """
    available = items["available"].astype(bool)
    if catalog.rules.narrow:
        named = named_items(catalog)
        for sentence in named.unknown(items):
            context.log.warning(sentence)
        available &= candidates(items, catalog.rules, named)
    behaviour = Behaviour.of(histories, items["item_id"], items.loc[available, "item_id"])
    table = step.popular_items(behaviour, popularity(behaviour.positives), items)
    ranked = table[table["rank"].notna()]
    return dg.Output(
        table,
        metadata={
            "recommendable": len(ranked),
            "preview": preview(ranked.drop(columns="item_id")),
            **column_lineage(
                catalog.name,
                {
                    "item_id": ["items.item_id"],
                    "title": ["items.title"],
                    "score": list(POSITIVES),
                    "rank": [*POSITIVES, "items.available", "items.category"],
                    "category": ["items.category"],
                    "age_days": ["items.created_at", *TIMES],
                },
            ),
            "plot": curve(
                ranked["score"].to_numpy(), "The long tail", "rank", "share of users who like it"
            ),
        },
    )


def recommendations(
    context: dg.AssetExecutionContext,
    catalog: Catalog,
    recsys_compute: ComputeResource,
    recsys_warehouse: Warehouse,
    recsys_models: ModelStore,
    histories: pa.Table,
    similarity_matrix: StoredTable,
    model: pd.DataFrame,
    popular_items: pd.DataFrame,
) -> dg.Output[pa.Table]:
    """Every user's list by the catalog's model: seen items left out, ranked, filled up from
    popular items, each row with the history items that contributed most.

    Where the catalog has rules of order, they put the rows in order.
    """
    (row,) = model.to_dict("records")
    kept = recsys_models.find(catalog.name, row["fingerprint"]).model(
        row["strategy"], json.loads(row["settings"])
    )
    catalogue = pd.Index(kept.item_ids, dtype="str")[kept.in_catalogue]
    listed = popular_items[popular_items["rank"].notna()]
    behaviour = Behaviour.of(histories, catalogue, listed["item_id"], kept.item_ids)
    reranking = Reranking.of(
        catalog.rules,
        behaviour.item_ids,
        listed,
        kept.item_vectors,
        kept.in_catalogue,
        catalog.centre,
    )
    if reranking and reranking.lifts_nothing:
        context.log.warning(
            "rules.freshness_boost lifts no item: none has a created_at or a timed interaction"
        )
    similar = _similar(similarity_matrix, behaviour, kept.strategy)
    table = step.recommendations_table(
        step.recommend(
            kept.fitted,
            behaviour,
            similar,
            catalog.list_length,
            log_progress(context.log, "recommended to", "users"),
            reranking,
            recsys_compute,
        ),
        behaviour,
        kept.strategy,
        context.run.run_id,
        utc_now(),
    )
    return dg.Output(
        table,
        metadata=_described(table, popular_items, histories.num_rows)
        | {"computed_on": recsys_compute.in_words}
        | rests_on(catalog, recsys_warehouse.comment(catalog.name, "item_embeddings"))
        | column_lineage(catalog.name, _origins(catalog)),
    )


def _similar(
    matrix: StoredTable, behaviour: Behaviour, strategy: Strategy[Any]
) -> sparse.csr_matrix:
    """The rows of the similarity matrix that lists need, float32 csr (users × items).

    All, or those of users without a history, who are ranked by their texts: of many users the whole
    matrix is the largest table that there is.
    """
    user_ids = pa.array(behaviour.user_ids, pa.string())
    item_ids = pa.array(behaviour.item_ids, pa.string())
    only = None
    if SIMILARITIES not in strategy.columns:
        is_new = np.diff(behaviour.weights.indptr) == 0
        only = ("user_id", user_ids.filter(pa.array(is_new & strategy.needs_history)))
    rows = matrix.arrow(("user_id", "item_id", "similarity"), only)
    return to_sparse(rows, user_ids, item_ids, ("user_id", "item_id"))


def _origins(catalog: Catalog) -> dict[str, list[str]]:
    """The columns that each column of the lists is made of."""
    # Users without a history may be ranked by the matrix, whatever the strategy.
    strategy = STRATEGIES[catalog.strategy]
    profiles = [SIMILARITIES] if strategy.needs_history else []
    histories = [column for column in strategy.columns if column.startswith("histories.")]
    scored = list(dict.fromkeys(["model.fingerprint", *histories, *profiles, *POSITIVES]))
    rules, ruled = catalog.rules, ["popular_items.item_id"]
    if rules.max_per_category:
        ruled.append("popular_items.category")
    if rules.freshness_boost > 0:
        ruled.append("popular_items.age_days")
    chosen = list(dict.fromkeys([*ruled, *scored]))
    return {
        "user_id": ["histories.user_id"],
        "item_id": chosen,
        "score": scored,
        "rank": chosen,
        "strategy": scored,
        "because": scored,
    }


def _described(table: pa.Table, items: pd.DataFrame, users: int) -> dict[str, dg.MetadataValue]:
    strategies = {
        each["values"]: each["counts"] for each in table["strategy"].value_counts().to_pylist()
    }
    shown = np.sort(table["item_id"].value_counts().field("counts").to_numpy())[::-1]
    return {
        "first_list": first_list(table, items),
        "users": dg.MetadataValue.int(users),
        "items_recommended": dg.MetadataValue.int(len(shown)),
        "catalogue_coverage": dg.MetadataValue.float(len(shown) / max(1, len(items))),
        "rows_by_strategy": dg.MetadataValue.text(counted(strategies)),
        "plot_of_strategies": bars(strategies, "What put rows there", "rows"),
        "plot": curve(shown, "How often items are recommended", "items, most shown first", "lists"),
    }
