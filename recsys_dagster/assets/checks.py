"""The gate, in flow order: blocking where the next stage would be wrong.

Each check counts in the warehouse; no user id leaves it.
"""

import dagster as dg
import numpy as np

from recsys_dagster.catalogs import Catalogs
from recsys_dagster.resources.embedding_store import vectors_from_arrow
from recsys_dagster.resources.run_context import catalog_of
from recsys_dagster.resources.warehouse import Warehouse, quote
from recsys_dagster.schemas import TABLES
from recsys_dagster.steps.embeddings import mean_cosine

LEAST_ACCEPTED_SHARE = 0.5
FEW_UNKNOWN = 0.95
"""Share of interactions with items of the catalogue below which a person should look."""
COLLAPSED = 0.98
"""Mean cosine of all pairs above which vectors no longer tell items apart."""

CatalogsParam = dg.ResourceParam[Catalogs]


def _result(problems: int, found: str, **figures: float) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=problems == 0, description=found, metadata={"problems": problems, **figures}
    )


def _count(
    context: dg.AssetCheckExecutionContext, catalogs: Catalogs, warehouse: Warehouse, sql: str
) -> tuple[int, ...]:
    return warehouse.query(catalog_of(context, catalogs).name, sql)[0]


def _keys_unique(
    context: dg.AssetCheckExecutionContext, catalogs: Catalogs, warehouse: Warehouse, table: str
) -> dg.AssetCheckResult:
    key = ", ".join(map(quote, TABLES[table].key))
    rows, repeated = _count(
        context,
        catalogs,
        warehouse,
        f"select coalesce(sum(n), 0)::bigint, (count(*) filter (n > 1))::bigint from "
        f"(select count(*) as n from {quote(table)} group by {key})",
    )
    return _result(
        repeated + (rows == 0), f"{rows:,} rows, {repeated:,} repeated keys ({key})", rows=rows
    )


def _accepted_share(
    context: dg.AssetCheckExecutionContext,
    catalogs: Catalogs,
    warehouse: Warehouse,
    table: str,
) -> dg.AssetCheckResult:
    raw, faulty, by_setting = _count(
        context,
        catalogs,
        warehouse,
        f"select (select count(*) from {quote('raw_' + table)}), "
        f"count(*) filter (not by_setting), count(*) filter (by_setting) "
        f"from {quote('rejected_' + table)}",
    )
    judged = raw - by_setting
    share = 1 - faulty / judged if judged else 0.0
    return _result(
        int(share < LEAST_ACCEPTED_SHARE),
        f"{share:.1%} of {judged:,} rows accepted, at least {LEAST_ACCEPTED_SHARE:.0%} expected; "
        f"the reasons are in rejected_{table}",
        accepted_share=share,
        left_out_by_settings=by_setting,
    )


@dg.asset_check(asset="interactions", blocking=True)
def interactions_keys_unique(
    context: dg.AssetCheckExecutionContext, catalogs: CatalogsParam, warehouse: Warehouse
) -> dg.AssetCheckResult:
    """There are interactions, one row a (user, item)."""
    return _keys_unique(context, catalogs, warehouse, "interactions")


@dg.asset_check(asset="interactions", blocking=True)
def interactions_accepted_share(
    context: dg.AssetCheckExecutionContext, catalogs: CatalogsParam, warehouse: Warehouse
) -> dg.AssetCheckResult:
    """Most rows of the source are accepted: otherwise a column was misread."""
    return _accepted_share(context, catalogs, warehouse, "interactions")


@dg.asset_check(asset="items", blocking=True)
def items_keys_unique(
    context: dg.AssetCheckExecutionContext, catalogs: CatalogsParam, warehouse: Warehouse
) -> dg.AssetCheckResult:
    """There are items, one row each."""
    return _keys_unique(context, catalogs, warehouse, "items")


@dg.asset_check(asset="items", blocking=True)
def items_accepted_share(
    context: dg.AssetCheckExecutionContext, catalogs: CatalogsParam, warehouse: Warehouse
) -> dg.AssetCheckResult:
    """Most rows of the source are accepted: otherwise a column was misread."""
    return _accepted_share(context, catalogs, warehouse, "items")


@dg.asset_check(asset="items", additional_deps=["interactions"], blocking=True)
def interactions_know_items(
    context: dg.AssetCheckExecutionContext, catalogs: CatalogsParam, warehouse: Warehouse
) -> dg.AssetCheckResult:
    """Interactions are with items of the catalogue: otherwise the two tables write ids differently.

    Items that the catalogue lacks are learned from and never recommended; a few are a warning.
    """
    name = catalog_of(context, catalogs).name
    if not warehouse.has(name, "interactions"):
        return _result(0, "there are no interactions yet")
    pairs, unknown, unknown_items = warehouse.query(
        name,
        "select count(*), count(*) filter (i.item_id is null), "
        "count(distinct x.item_id) filter (i.item_id is null) "
        "from interactions as x left join items as i using (item_id)",
    )[0]
    share = 1 - unknown / pairs if pairs else 0.0
    none_known = pairs > 0 and unknown == pairs
    return dg.AssetCheckResult(
        passed=not none_known and share >= FEW_UNKNOWN,
        severity=dg.AssetCheckSeverity.ERROR if none_known else dg.AssetCheckSeverity.WARN,
        description=f"{share:.1%} of {pairs:,} interactions are with items of the catalogue; "
        f"{unknown_items:,} items are only in interactions: never recommended",
        metadata={"known_share": share, "unknown_items": unknown_items},
    )


@dg.asset_check(asset="item_texts", blocking=True)
def every_item_has_a_text(
    context: dg.AssetCheckExecutionContext, catalogs: CatalogsParam, warehouse: Warehouse
) -> dg.AssetCheckResult:
    """One text an item, none of them empty."""
    items, texts, empty, missing = _count(
        context,
        catalogs,
        warehouse,
        "select (select count(*) from items), (select count(*) from item_texts), "
        "(select count(*) from item_texts where text = ''), "
        "(select count(*) from items anti join item_texts using (item_id))",
    )
    return _result(
        abs(items - texts) + empty + missing,
        f"{items:,} items, {texts:,} texts, {empty:,} empty, {missing:,} items without one",
    )


@dg.asset_check(asset="item_embeddings", blocking=True)
def one_vector_per_item(
    context: dg.AssetCheckExecutionContext, catalogs: CatalogsParam, warehouse: Warehouse
) -> dg.AssetCheckResult:
    """Every item of the catalogue has one vector, and nothing else has."""
    vectors, missing, unknown = _count(
        context,
        catalogs,
        warehouse,
        "select (select count(*) from item_embeddings), "
        "(select count(*) from items anti join item_embeddings using (item_id)), "
        "(select count(*) from item_embeddings anti join items using (item_id))",
    )
    repeated = _keys_unique(context, catalogs, warehouse, "item_embeddings")
    return _result(
        missing + unknown + (not repeated.passed),
        f"{vectors:,} vectors, {missing:,} items without one, {unknown:,} of unknown items; "
        f"{repeated.description}",
    )


def _sound(
    context: dg.AssetCheckExecutionContext, catalogs: Catalogs, warehouse: Warehouse, table: str
) -> dg.AssetCheckResult:
    data = warehouse.read(catalog_of(context, catalogs).name, table)
    vectors = vectors_from_arrow(data["embedding"])
    not_finite = int((~np.isfinite(vectors)).any(axis=1).sum())
    alike = mean_cosine(np.nan_to_num(vectors))
    collapsed = len(vectors) > 1 and alike > COLLAPSED
    return _result(
        not_finite + collapsed,
        f"{len(vectors):,} vectors of {vectors.shape[1]} numbers, {not_finite:,} not finite, "
        f"mean cosine of all pairs {alike:.3f} "
        f"(above {COLLAPSED} they no longer tell anything apart)",
        mean_cosine=alike,
    )


@dg.asset_check(asset="item_embeddings", blocking=True)
def item_embeddings_sound(
    context: dg.AssetCheckExecutionContext, catalogs: CatalogsParam, warehouse: Warehouse
) -> dg.AssetCheckResult:
    """Vectors are finite and not collapsed into one direction."""
    return _sound(context, catalogs, warehouse, "item_embeddings")


@dg.asset_check(asset="user_embeddings", blocking=True)
def user_embeddings_finite(
    context: dg.AssetCheckExecutionContext, catalogs: CatalogsParam, warehouse: Warehouse
) -> dg.AssetCheckResult:
    """Every vector is finite, and every user who likes something of the catalogue has one."""
    vectors, not_finite, missing = _count(
        context,
        catalogs,
        warehouse,
        "select (select count(*) from user_embeddings), "
        "(select count(*) from user_embeddings "
        "where not list_bool_and(list_transform(embedding::float[], lambda x: isfinite(x)))), "
        "(select count(distinct user_id) from interactions semi join items using (item_id) "
        "anti join user_embeddings using (user_id) where positive and weight > 0)",
    )
    return _result(
        not_finite + missing,
        f"{vectors:,} vectors, {not_finite:,} not finite, {missing:,} users with likes lack one",
    )


@dg.asset_check(asset="similarity_matrix", blocking=True)
def similarity_matrix_ranked(
    context: dg.AssetCheckExecutionContext, catalogs: CatalogsParam, warehouse: Warehouse
) -> dg.AssetCheckResult:
    """Each user's ranks are 1..n, and similarity falls with rank."""
    rows, broken = _count(
        context,
        catalogs,
        warehouse,
        "select coalesce(sum(n), 0)::bigint, (count(*) filter (last <> n or rises))::bigint from ("
        "select count(*) as n, max(rank) as last, bool_or(similarity > before) as rises from ("
        "select user_id, rank, similarity, lag(similarity) over (partition by user_id "
        "order by rank) as before from similarity_matrix) group by user_id)",
    )
    return _result(broken, f"{rows:,} similarities, {broken:,} users with broken ranks")


@dg.asset_check(asset="item_neighbours", blocking=True)
def item_neighbours_known(
    context: dg.AssetCheckExecutionContext, catalogs: CatalogsParam, warehouse: Warehouse
) -> dg.AssetCheckResult:
    """Neighbours are other items of the catalogue."""
    rows, itself, unknown = _count(
        context,
        catalogs,
        warehouse,
        "select count(*), count(*) filter (item_id = neighbour_item_id), "
        "count(*) filter (neighbour_item_id not in (select item_id from items)) "
        "from item_neighbours",
    )
    return _result(
        itself + unknown, f"{rows:,} neighbours, {itself:,} of themselves, {unknown:,} unknown"
    )


@dg.asset_check(asset="recommendations", blocking=True)
def recommendations_ranked(
    context: dg.AssetCheckExecutionContext, catalogs: CatalogsParam, warehouse: Warehouse
) -> dg.AssetCheckResult:
    """Each user's ranks are 1..n without a repeated item."""
    users, broken = _count(
        context,
        catalogs,
        warehouse,
        "select count(*), count(*) filter "
        "(first <> 1 or last <> n or distinct_ranks <> n or distinct_items <> n) from ("
        "select count(*) as n, min(rank) as first, max(rank) as last, "
        "count(distinct rank) as distinct_ranks, count(distinct item_id) as distinct_items "
        "from recommendations group by user_id)",
    )
    return _result(broken, f"{users:,} lists, {broken:,} with broken ranks")


@dg.asset_check(asset="recommendations", blocking=True)
def no_seen_item_recommended(
    context: dg.AssetCheckExecutionContext, catalogs: CatalogsParam, warehouse: Warehouse
) -> dg.AssetCheckResult:
    """Nobody is recommended an item they had, or one that the catalogue lacks."""
    seen, unknown = _count(
        context,
        catalogs,
        warehouse,
        "select (select count(*) from recommendations semi join interactions "
        "using (user_id, item_id)), "
        "(select count(*) from recommendations anti join items using (item_id))",
    )
    return _result(seen + unknown, f"{seen:,} seen items and {unknown:,} unknown ones recommended")


@dg.asset_check(asset="recommendations", blocking=True)
def every_user_served(
    context: dg.AssetCheckExecutionContext, catalogs: CatalogsParam, warehouse: Warehouse
) -> dg.AssetCheckResult:
    """Every user has a list, unless they have seen the whole catalogue."""
    users, missing = _count(
        context,
        catalogs,
        warehouse,
        "select (select count(*) from users), (select count(*) from "
        "(select user_id, count(*) filter (i.available) as seen from users as u "
        "left join interactions as x using (user_id) left join items as i using (item_id) "
        "group by user_id) anti join recommendations using (user_id) "
        "where seen < (select count(*) from items where available))",
    )
    return _result(missing, f"{users:,} users, {missing:,} without a list", users=users)
