"""A small table for tests of the warehouse."""

from recsys_dagster.schemas import Column, Table

RANKED = Table(
    "ranked_items",
    ("item_id",),
    (
        Column("item_id", "VARCHAR", "the item"),
        Column("score", "DOUBLE", "how good"),
        Column("rank", "INTEGER", "1 is the best"),
    ),
)
