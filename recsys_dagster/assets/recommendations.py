"""The lists, and the one list for users nobody knows."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa

from recsys_dagster.assets.common import TABLE, table_asset
from recsys_dagster.assets.metadata import (
    STAGE,
    bars,
    column_lineage,
    counted,
    curve,
    first_list,
    preview,
    rests_on,
)
from recsys_dagster.assets.model import kept_model
from recsys_dagster.assets.progress import log_progress
from recsys_dagster.assets.run_context import catalog_of
from recsys_dagster.catalog.files import Catalogs
from recsys_dagster.catalog.item_lists import named_items, named_items_digest
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.resources.model_store import ModelStore
from recsys_dagster.resources.warehouse import Warehouse
from recsys_dagster.steps.lists import recommendations as step
from recsys_dagster.steps.lists.candidates import narrowed
from recsys_dagster.steps.lists.reranking import Reranking
from recsys_dagster.steps.models import STRATEGIES
from recsys_dagster.steps.models.base import POSITIVES
from recsys_dagster.steps.models.behaviour import Behaviour
from recsys_dagster.steps.models.popular import popularity
from recsys_dagster.steps.similarity.tables import to_sparse

TIMES = ["interactions.first_timestamp", "interactions.last_timestamp"]


def _named_in_files(catalog: Catalog, _: Mapping[str, Any]) -> str:
    """Files of rules are no tables of Dagster's: what is in them is compared here."""
    return named_items_digest(catalog)


def _with_rules(
    behaviour: Behaviour, catalog: Catalog, items: pd.DataFrame, log: dg.DagsterLogManager
) -> Behaviour:
    """The matrices, where only what the catalog's rules let into lists can be recommended."""
    if not catalog.rules.narrow:
        return behaviour
    named = named_items(catalog)
    for sentence in named.unknown(items):
        log.warning(sentence)
    return narrowed(behaviour, items, catalog.rules, named)


@table_asset(also_made_with=_named_in_files, tags={STAGE: "recommendations"})
def popular_items(
    context: dg.AssetExecutionContext,
    recsys_catalogs: dg.ResourceParam[Catalogs],
    interactions: pd.DataFrame,
    items: pd.DataFrame,
    users: pd.DataFrame,
) -> dg.Output[pd.DataFrame]:
    """Every item by the share of users who like it: what unknown users get.

    `p_i = |{u : x_ui = 1}| / |users|`
    """
    catalog = catalog_of(context, recsys_catalogs)
    behaviour = Behaviour.of(
        interactions,
        users["user_id"],
        items,
        catalog.users.half_life_days,
        catalog.users.half_life_positions,
    )
    behaviour = _with_rules(behaviour, catalog, items, context.log)
    table = step.popular_items(behaviour, popularity(behaviour.positives))
    titles = items.set_index("item_id")["title"]
    return dg.Output(
        table,
        metadata={
            "preview": preview(table.assign(item_id=table["item_id"].map(titles))),
            "plot": curve(
                table["score"].to_numpy(), "The long tail", "rank", "share of users who like it"
            ),
        },
    )


@table_asset(
    also_made_with=_named_in_files,
    kinds={*TABLE, "scikitlearn"},
    tags={STAGE: "recommendations"},
)
def recommendations(
    context: dg.AssetExecutionContext,
    recsys_catalogs: dg.ResourceParam[Catalogs],
    recsys_warehouse: Warehouse,
    recsys_models: ModelStore,
    interactions: pd.DataFrame,
    items: pd.DataFrame,
    users: pd.DataFrame,
    similarity_matrix: pa.Table,
    model: pd.DataFrame,
) -> dg.Output[pa.Table]:
    """Every user's list by the catalog's model: seen items left out, ranked, filled up from
    popular items, each row with the history items that contributed most.

    Where the catalog has rules, they say which items may be in lists, and in which order.
    """
    catalog = catalog_of(context, recsys_catalogs)
    fitted_of = kept_model(recsys_models, catalog.name, model)
    behaviour = Behaviour.of(
        interactions,
        users["user_id"],
        items,
        catalog.users.half_life_days,
        catalog.users.half_life_positions,
        fitted_of.item_ids,
    )
    behaviour = _with_rules(behaviour, catalog, items, context.log)
    reranking = Reranking.of(
        catalog.rules, behaviour, items, interactions, fitted_of.item_vectors, catalog.centre
    )
    if reranking and reranking.lifts_nothing:
        context.log.warning(
            "rules.freshness_boost lifts no item: none has a created_at or a timed interaction"
        )
    user_ids = pa.array(behaviour.user_ids, pa.string())
    item_ids = pa.array(behaviour.item_ids, pa.string())
    table = step.recommendations_table(
        step.recommend(
            fitted_of.fitted,
            behaviour,
            to_sparse(similarity_matrix, user_ids, item_ids, ("user_id", "item_id")),
            catalog.list_length,
            log_progress(context.log, "recommended to", "users"),
            reranking,
        ),
        behaviour,
        fitted_of.strategy,
        context.run.run_id,
        pd.Timestamp.now("UTC").tz_localize(None),
    )
    return dg.Output(
        table,
        metadata=_described(table, items, len(users))
        | rests_on(catalog, recsys_warehouse.comment(catalog.name, "item_embeddings"))
        | column_lineage(catalog.name, _origins(catalog)),
    )


def _origins(catalog: Catalog) -> dict[str, list[str]]:
    """The columns that each column of the lists is made of."""
    # Users without a history may be ranked by the matrix, whatever the strategy.
    strategy = STRATEGIES[catalog.strategy]
    profiles = ["similarity_matrix.similarity"] if strategy.needs_history else []
    scored = list(dict.fromkeys([*strategy.columns, *profiles, *POSITIVES]))
    rules, ruled = catalog.rules, ["items.item_id", "items.available"]
    if rules.categories or rules.without_categories or rules.max_per_category:
        ruled.append("items.category")
    if rules.diversity > 0:
        ruled.append("item_embeddings.embedding")
    if rules.freshness_boost > 0:
        ruled += ["items.created_at", *TIMES]
    chosen = list(dict.fromkeys([*ruled, *scored]))
    return {
        "user_id": ["users.user_id"],
        "item_id": chosen,
        "score": scored,
        "rank": chosen,
        "strategy": scored,
        "because": scored,
    }


def _described(table: pa.Table, items: pd.DataFrame, users: int) -> dict[str, dg.MetadataValue]:
    item_ids = table["item_id"].to_pandas()
    strategies = table["strategy"].to_pandas().value_counts().to_dict()
    shown = np.sort(item_ids.value_counts().to_numpy())[::-1]
    return {
        "first_list": first_list(table, items),
        "users": dg.MetadataValue.int(users),
        "items_recommended": dg.MetadataValue.int(len(shown)),
        "catalogue_coverage": dg.MetadataValue.float(len(shown) / max(1, len(items))),
        "rows_by_strategy": dg.MetadataValue.text(counted(strategies)),
        "plot_of_strategies": bars(strategies, "What put rows there", "rows"),
        "plot": curve(shown, "How often items are recommended", "items, most shown first", "lists"),
    }
