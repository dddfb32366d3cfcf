"""Lists: ranked, unseen, for everybody, not the same few items, not turned upside down."""

import glob

import dagster as dg
import duckdb
import numpy as np

from recsys_dagster.assets.checks.common import (
    Checked,
    blocking,
    table_check,
    warning,
)
from recsys_dagster.catalog.item_lists import named_items
from recsys_dagster.resources.warehouse import to_pandas
from recsys_dagster.steps.lists.candidates import candidates
from recsys_dagster.steps.lists.statistics import Spread
from recsys_dagster.steps.prepare.shares import beside, expected, percent


@table_check("recommendations")
def recommendations_ranked(checked: Checked) -> dg.AssetCheckResult:
    """Each user's ranks are 1..n without a repeated item."""
    users, broken = checked.numbers(
        "select count(*), count(*) filter "
        "(first <> 1 or last <> n or distinct_ranks <> n or distinct_items <> n) from ("
        "select count(*) as n, min(rank) as first, max(rank) as last, "
        "count(distinct rank) as distinct_ranks, count(distinct item_id) as distinct_items "
        "from recommendations group by user_id)"
    )
    return blocking(
        not broken,
        f"{users:,} lists, {broken:,} with broken ranks; none expected",
        {"lists": users, "broken_lists": broken},
    )


@table_check("recommendations")
def no_seen_item_recommended(checked: Checked) -> dg.AssetCheckResult:
    """Nobody is recommended an item they had, or one that the catalogue lacks."""
    seen, unknown = checked.numbers(
        "select (select count(*) from recommendations semi join interactions "
        "using (user_id, item_id)), "
        "(select count(*) from recommendations anti join items using (item_id))"
    )
    return blocking(
        not seen and not unknown,
        f"{seen:,} seen items and {unknown:,} unknown ones recommended; none expected",
        {"seen_items": seen, "unknown_items": unknown},
    )


@table_check("recommendations")
def every_user_served(checked: Checked) -> dg.AssetCheckResult:
    """Every user has a list, unless they have seen all that may be recommended."""
    condition, parameters = _may_be_recommended(checked)
    users, missing = checked.numbers(
        f"with candidates as (select item_id from items where {condition}) "
        "select (select count(*) from users), (select count(*) from "
        "(select user_id, count(c.item_id) as seen from users as u "
        "left join interactions as x using (user_id) left join candidates as c using (item_id) "
        "group by user_id) anti join recommendations using (user_id) "
        "where seen < (select count(*) from candidates))",
        parameters,
    )
    return blocking(
        not missing,
        f"{users:,} users, {missing:,} without a list; none expected",
        {"users": users, "users_without_list": missing},
    )


@table_check("recommendations")
def recommendations_cover_items(checked: Checked) -> dg.AssetCheckResult:
    """Lists hold a fair part of the items that they have room for: otherwise everybody gets the
    same ones.
    """
    min_coverage = checked.catalog.checks.coverage
    items, spread = _spread(checked)
    found = (
        f"{spread.recommended:,} of {items:,} available items are in some list; of the "
        f"{spread.reachable:,} that lists have room for {percent(spread.coverage, min_coverage)}, "
        f"at least {expected(min_coverage)} expected"
    )
    if spread.coverage < min_coverage:
        found += (
            "; try another strategy or more recommendations in the YAML, or lower checks: coverage"
        )
    return warning(
        spread.coverage >= min_coverage,
        found,
        {
            "coverage": spread.coverage,
            "expected_coverage": min_coverage,
            "items_recommended": spread.recommended,
            "items_reachable": spread.reachable,
            "items_available": items,
        },
    )


@table_check("recommendations")
def recommendations_not_concentrated(checked: Checked) -> dg.AssetCheckResult:
    """Lists do not repeat a few items over and over: the Gini coefficient of how often each of the
    items that lists have room for is recommended.
    """
    max_concentration = checked.catalog.checks.concentration
    _, spread = _spread(checked)
    found = (
        f"Gini coefficient {beside(spread.concentration, (max_concentration,), 3)} of how often "
        f"{spread.reachable:,} items are recommended, at most {max_concentration:g} expected "
        "(0: all alike, 1: one item is everywhere)"
    )
    if spread.concentration > max_concentration:
        found += (
            "; try another strategy or a weaker regularisation under models in the YAML, or raise "
            "checks: concentration"
        )
    return warning(
        spread.concentration <= max_concentration,
        found,
        {
            "concentration": spread.concentration,
            "allowed_concentration": max_concentration,
            "items_reachable": spread.reachable,
        },
    )


@table_check("recommendations")
def lists_not_upset(checked: Checked) -> dg.AssetCheckResult:
    """Most users who have a published list keep its first item: if hardly anybody does, data or
    settings changed more than a refresh does.
    """
    max_changed = checked.catalog.checks.changed_lists
    snapshot = checked.published()
    if snapshot is None:
        return warning(
            True,
            "nothing is published that the lists could be compared with",
            {"allowed_share": max_changed},
        )
    file = snapshot.path / "recommendations.parquet"
    try:
        compared, changed, new, gone = checked.numbers(
            "select count(*) filter (now.item_id is not null and before.item_id is not null), "
            "count(*) filter (now.item_id <> before.item_id), "
            "count(*) filter (before.item_id is null), count(*) filter (now.item_id is null) "
            "from (select user_id, item_id from recommendations where rank = 1) as now "
            "full join (select user_id, item_id from read_parquet($published) where rank = 1) "
            "as before using (user_id)",
            # Escaped, because DuckDB reads paths as patterns.
            {"published": glob.escape(str(file))},
        )
    except (duckdb.IOException, duckdb.InvalidInputException):
        # What is published is damaged. To fail would keep it: nothing new could take its place.
        return warning(
            False,
            f"{file} could not be read: there is nothing that the lists could be compared with; "
            "the next snapshot takes its place",
            {"allowed_share": max_changed},
        )
    share = changed / compared if compared else 0.0
    found = (
        f"{percent(share, max_changed)} of {compared:,} users have another first item than in the "
        f"published snapshot, at most {expected(max_changed)} expected; {new:,} users are new, "
        f"{gone:,} are gone"
    )
    if share > max_changed:
        found += (
            "; look at what changed in the sources and the YAML before others do; if it is meant "
            "so, raise checks: changed_lists"
        )
    return warning(
        share <= max_changed,
        found,
        {
            "changed_share": share,
            "allowed_share": max_changed,
            "users_compared": compared,
            "new_users": new,
            "users_gone": gone,
        },
    )


def _may_be_recommended(checked: Checked) -> tuple[str, dict[str, list[str]]]:
    """What is true of the items that may be in lists, as SQL, and its parameters."""
    if not checked.catalog.rules.narrow:
        return "available", {}
    items = to_pandas(checked.warehouse.read(checked.catalog.name, "items"))
    left = candidates(items, checked.catalog.rules, named_items(checked.catalog))
    return "available and item_id in (select unnest($left))", {
        "left": items.loc[left, "item_id"].tolist()
    }


def _spread(checked: Checked) -> tuple[int, Spread]:
    """How many items may be recommended, and how lists spread over them."""
    condition, parameters = _may_be_recommended(checked)
    (available,) = checked.numbers(f"select count(*) from items where {condition}", parameters)
    # By how often first: as many rows as there are different counts, not as there are items.
    frequencies = checked.rows(
        "select times, count(*) from "
        "(select count(*) as times from recommendations group by item_id) group by times"
    )
    times, items = np.array(frequencies, dtype=np.int64).reshape(-1, 2).T
    return available, Spread.of(np.repeat(times, items), available)
