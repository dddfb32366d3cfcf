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
from recsys_dagster.assets.progress import Narrator, log_progress
from recsys_dagster.assets.run_context import catalog_of
from recsys_dagster.catalog.files import Catalogs
from recsys_dagster.catalog.item_lists import named_items, named_items_digest
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.resources.embedding_store import vectors_from_arrow
from recsys_dagster.resources.tuned_settings import tuned_settings
from recsys_dagster.resources.warehouse import Warehouse
from recsys_dagster.steps.lists import recommendations as step
from recsys_dagster.steps.lists.candidates import narrowed
from recsys_dagster.steps.lists.reranking import Reranking
from recsys_dagster.steps.models.behaviour import Behaviour, align
from recsys_dagster.steps.models.popular import popularity
from recsys_dagster.steps.models.strategies import (
    Evidence,
    fit,
    used_of,
    with_tuned,
    without_history,
)
from recsys_dagster.steps.similarity.tables import to_sparse

ORDER = ["interactions.last_timestamp", "interactions.last_position"]
LIKES = ["interactions.user_id", "interactions.item_id", "interactions.positive"]
TIMES = ["interactions.first_timestamp", "interactions.last_timestamp"]
LEARNED_FROM = {
    "popular": LIKES,
    "recent": [*LIKES, "interactions.last_timestamp"],
    "content": ["similarity_matrix.similarity", "item_embeddings.embedding", "interactions.weight"],
    "similar_items": ["item_neighbours.similarity"],
    "item_knn": [*LIKES, *ORDER],
    "ease": [*LIKES, *ORDER],
    "gfcf": [*LIKES, *ORDER],
    "als": LIKES,
    "l3ae": [*LIKES, *ORDER, "item_embeddings.embedding"],
    "hybrid": [*LIKES, *ORDER, "item_embeddings.embedding"],
}
"""The columns that each strategy looks at; all fill short lists by likes."""


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


def _rules_and_tuned(catalog: Catalog, arguments: Mapping[str, Any]) -> str:
    tuned = tuned_settings(arguments["recsys_warehouse"], catalog.name)
    return f"{_named_in_files(catalog, arguments)} {used_of(tuned, catalog)}"


@table_asset(
    also_made_with=_rules_and_tuned,
    kinds={*TABLE, "scikitlearn"},
    tags={STAGE: "recommendations"},
)
def recommendations(
    context: dg.AssetExecutionContext,
    recsys_catalogs: dg.ResourceParam[Catalogs],
    recsys_warehouse: Warehouse,
    interactions: pd.DataFrame,
    items: pd.DataFrame,
    users: pd.DataFrame,
    item_embeddings: pa.Table,
    similarity_matrix: pa.Table,
    item_neighbours: pa.Table,
) -> dg.Output[pa.Table]:
    """Every user's list by the catalog's strategy: seen items left out, ranked, filled up from
    popular items, each row with the history items that contributed most.

    Where the catalog has rules, they say which items may be in lists, and in which order.

    With X (users × items) ones for positive pairs and S the kept similarities:

    - popular: `r_ui = p_i`
    - content: `r_ui = S_ui` of the similarity matrix
    - similar_items: `r_ui = Σ S_ji` over the items j that u likes
    - item_knn: `r = X·S`, S the cosine of who liked two items
    - ease: `r = X·B`, `P = (XᵀX + λI)⁻¹`, `B_ij = −P_ij / P_jj`, `B_jj = 0` (Steck, 2019)
    - l3ae: `r = X·B`, B learned from X, near the weights that texts alone give (Moon, Park and
      Lee, 2025)
    - gfcf: `r = X·W`, W from the normalised XᵀX and its low-pass part (Shen et al., 2021)
    - als: `r = U·Vᵀ`, factors of users and items (Hu, Koren and Volinsky, 2008)
    - hybrid: `r = X·(B_l3ae + w·W_gfcf) + c·p / n³`, n the user's likes; items
      without interactions take over the columns of those whose texts are near
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
    user_ids = pa.array(behaviour.user_ids, pa.string())
    item_ids = pa.array(behaviour.item_ids, pa.string())
    evidence = Evidence(
        behaviour,
        align(
            behaviour.item_ids,
            item_embeddings["item_id"].to_pandas(),
            vectors_from_arrow(item_embeddings["embedding"]),
        ),
        to_sparse(similarity_matrix, user_ids, item_ids, ("user_id", "item_id")),
        to_sparse(item_neighbours, item_ids, item_ids, ("item_id", "neighbour_item_id")),
    )
    reranking = Reranking.of(
        catalog.rules, behaviour, items, interactions, evidence.item_vectors, catalog.centre
    )
    if reranking and reranking.lifts_nothing:
        context.log.warning(
            "rules.freshness_boost lifts no item: none has a created_at or a timed interaction"
        )
    tuned = tuned_settings(recsys_warehouse, catalog.name)
    with Narrator(context.log) as narrator:
        narrator.doing(f"fitting {catalog.strategy}: {evidence.in_words}")
        model = fit(with_tuned(catalog, tuned), evidence)
    table = step.recommendations_table(
        step.recommend(
            model,
            popularity(behaviour.positives),
            behaviour,
            catalog.list_length,
            log_progress(context.log, "recommended to", "users"),
            reranking,
        ),
        behaviour,
        catalog.strategy,
        without_history(catalog.strategy),
        context.run.run_id,
        pd.Timestamp.now("UTC").tz_localize(None),
    )
    return dg.Output(
        table,
        metadata=_described(table, items, len(users))
        | {"tuned": used_of(tuned, catalog)}
        | rests_on(catalog, recsys_warehouse.comment(catalog.name, "item_embeddings"))
        | column_lineage(catalog.name, _origins(catalog)),
    )


def _origins(catalog: Catalog) -> dict[str, list[str]]:
    """The columns that each column of the lists is made of."""
    # Users without a history may be ranked by the matrix, whatever the strategy.
    new_users = without_history(catalog.strategy) == "content"
    profiles = ["similarity_matrix.similarity"] if new_users else []
    scored = list(dict.fromkeys([*LEARNED_FROM[catalog.strategy], *profiles, *LIKES]))
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
