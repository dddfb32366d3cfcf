"""Similarity: ranked, of known items, and readable by a person."""

import dagster as dg
import pandas as pd

from recsys_dagster.assets.checks.common import (
    Checked,
    blocking,
    table_check,
    warning,
)
from recsys_dagster.assets.metadata import preview
from recsys_dagster.steps.lists.statistics import spaced_ranks

READ_ITEMS = 5
NEAREST = ("nearest", "second", "third")


@table_check("similarity_matrix")
def similarity_matrix_ranked(checked: Checked) -> dg.AssetCheckResult:
    """Each user's ranks are 1..n, and similarity falls with rank."""
    rows, broken = checked.numbers(
        "select coalesce(sum(n), 0)::bigint, (count(*) filter (last <> n or rises))::bigint from ("
        "select count(*) as n, max(rank) as last, bool_or(similarity > before) as rises from ("
        "select user_id, rank, similarity, lag(similarity) over (partition by user_id "
        "order by rank) as before from similarity_matrix) group by user_id)"
    )
    return blocking(
        not broken,
        f"{rows:,} similarities, {broken:,} users with broken ranks; none expected",
        {"rows": rows, "users_with_broken_ranks": broken},
    )


@table_check("item_neighbours")
def item_neighbours_known(checked: Checked) -> dg.AssetCheckResult:
    """Neighbours are other items of the catalogue."""
    rows, itself, unknown = checked.numbers(
        "select count(*), count(*) filter (item_id = neighbour_item_id), "
        "count(*) filter (neighbour_item_id not in (select item_id from items)) "
        "from item_neighbours"
    )
    return blocking(
        not itself and not unknown,
        f"{rows:,} neighbours, {itself:,} of themselves, {unknown:,} unknown; none of either "
        "expected",
        {"rows": rows, "of_themselves": itself, "unknown": unknown},
    )


@table_check("item_neighbours", also=("interactions",))
def item_neighbours_to_read(checked: Checked) -> dg.AssetCheckResult:
    """For people: a few items from the most to the least liked, each with its nearest neighbours.
    Where they make no sense, look at `items: text` and `encoder` in the YAML.
    """
    if not checked.has("interactions"):
        return dg.AssetCheckResult(passed=True, description="there are no interactions yet")
    (items,) = checked.numbers("select count(*) from items")
    rows = checked.rows(
        """
        with liked as (
            select i.item_id, i.title, count(x.item_id) as likes,
                row_number() over (order by count(x.item_id) desc, i.item_id) as place
            from items as i left join interactions as x
                on x.item_id = i.item_id and x.positive
            group by i.item_id, i.title
        )
        select title, likes,
            (
                select list(format('{} ({:.2f})', o.title, n.similarity) order by n.rank)
                from item_neighbours as n join items as o on o.item_id = n.neighbour_item_id
                where n.item_id = liked.item_id and n.rank <= $neighbours
            )
        from liked where list_contains($places, place) order by place
        """,
        {"places": spaced_ranks(items, READ_ITEMS), "neighbours": len(NEAREST)},
    )
    return warning(
        True,
        f"{len(rows)} of {items:,} items, from the most to the least liked, for a person to read",
        {
            "items": len(rows),
            "neighbours": preview(
                pd.DataFrame(
                    [_readable(title, likes, near or []) for title, likes, near in rows],
                    columns=["item", "likes", *NEAREST],
                )
            ),
        },
    )


def _readable(title: str, likes: int, near: list[str]) -> tuple[str | int, ...]:
    return (title, likes, *near, *[""] * (len(NEAREST) - len(near)))
