"""What each table is made by, settings and code: a change of either makes it out of date."""

import hashlib
import json
from functools import cache

import numpy as np
import pyarrow as pa

from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.code_digest import WHOLE, code_digest, names_of
from recsys_dagster.schemas import TABLES
from recsys_dagster.sql import in_memory

WRITTEN_BY = ("recsys_dagster.resources.warehouse", "WarehouseIOManager")
"""What writes every table, and reads the inputs of what makes it."""
PROVENANCE = ("run_id", "made_at", "seconds", "peak_memory_bytes")
"""Columns of ours that say who made a row, when and with what effort."""
HISTORY = ("users.half_life_days", "users.half_life_positions")
SPACE = ("similarity", "centre")
NARROWING = ("rules.allow", "rules.deny", "rules.categories", "rules.without_categories")
ORDERING = (
    "rules.max_per_category",
    "rules.diversity",
    "rules.freshness_boost",
    "rules.freshness_half_life_days",
)
MEASURED = (
    "strategy",
    "models",
    "encoder",
    "users",
    "evaluation.split",
    "evaluation.user_texts",
    "evaluation.k",
    "evaluation.strategies",
    "evaluation.max_users",
    "matrix_width",
    "max_exact_pairs",
    *SPACE,
)

READ_IN_SNAPSHOTS = (
    "description",
    "strategy",
    "list_length",
    "encoder.model",
    "encoder.preset",
    "encoder.max_length",
    "matrix_width",
    "users.half_life_days",
    "users.text",
    "users.text_share",
    "users.vectors",
    "interactions.timestamp_format",
    "interactions.decimal",
    *SPACE,
    *ORDERING,
)
"""What readers take from the settings in a manifest: folding in, the server, lists of snapshots."""

MADE_WITH: dict[str, tuple[str, tuple[str, ...]]] = {
    "raw_interactions": ("raw", ("interactions.source",)),
    "raw_items": ("raw", ("items.source",)),
    "raw_users": ("raw", ("users.source",)),
    "interactions": (
        "interactions",
        (
            "interactions.columns",
            "interactions.timestamp_format",
            "interactions.decimal",
            "interactions.events",
            "interactions.returns",
            "interactions.positive",
            "interactions.repeats",
            "interactions.weight_scale",
            "interactions.minimum_per_user",
            "interactions.minimum_per_item",
        ),
    ),
    "items": ("items", ("items.columns", "items.text")),
    "users": ("users", ("users.columns",)),
    "histories": ("users", HISTORY),
    "item_texts": ("texts", ("items.text",)),
    "user_texts": ("texts", ("users.text",)),
    "item_embeddings": ("embeddings", ("encoder",)),
    "user_embeddings": (
        "embeddings",
        ("encoder", "users.vectors", "users.text_share"),
    ),
    "similarity_matrix": ("similarity", (*SPACE, "max_exact_pairs", "matrix_width")),
    "item_neighbours": ("similarity", (*SPACE, "max_exact_pairs", "neighbours")),
    "item_map": ("similarity", ()),
    "model": ("model", ("strategy", "models", *SPACE)),
    "popular_items": ("recommendations", NARROWING),
    "recommendations": (
        "recommendations",
        ("strategy", "list_length", *ORDERING, *SPACE),
    ),
    "published": ("published", READ_IN_SNAPSHOTS),
    "evaluation_split": (
        "held_back",
        ("evaluation.split", "evaluation.column", "interactions.columns"),
    ),
    "tuning": ("tuning", MEASURED),
    "evaluation": ("evaluation", (*MEASURED, "evaluation.mask", *ORDERING)),
}
"""The module in `assets/` and the settings in the YAML that make each asset."""
TOGETHER = {"rejected_interactions": "interactions", "rejected_items": "items"}


def code_version(table: str, catalog: Catalog) -> str:
    """A short fingerprint of the code and the settings that make a table."""
    maker = TOGETHER.get(table, table)
    module, settings = MADE_WITH[maker]
    values = catalog.model_dump(mode="json")
    chosen = {path: _value(values, path) for path in settings}
    code = _code_of(maker, f"recsys_dagster.assets.{module}")
    return digest(code, _schema_of(table), json.dumps(chosen))


def fit_version(catalog: Catalog) -> str:
    """A short fingerprint of the code that fits models, and of the space where they compare."""
    values = catalog.model_dump(mode="json")
    chosen = {path: _value(values, path) for path in SPACE}
    return digest(_fitting(), json.dumps(chosen))


def digest(*parts: str) -> str:
    """A short fingerprint of texts, hexadecimal."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def content_digest(rows: pa.Table, table: str = "", *, ordered: bool = True) -> str:
    """A fingerprint of a table's content and columns, hexadecimal.

    Who made a row and when is no part of what it says. Values are hashed, not memory: what lies
    under a null is chance.

    Args:
        rows: the table.
        table: which of `schemas.TABLES` it is, if one; only there our own columns say who made a
            row, and a source may have any.
        ordered: whether the order of the rows is a part of the content.
    """
    ours = TABLES[table].column_names if table else []
    named = [name for name in rows.column_names if name not in PROVENANCE or name not in ours]
    content = rows.select(named).replace_schema_metadata()
    described = [f"{field.name} {field.type}" for field in content.schema]
    if ordered or not named:
        content = content.append_column("", pa.array(np.arange(content.num_rows)))
    # By number, because a column called `content` would be taken for the whole row.
    content = content.rename_columns([f"c{number}" for number in range(content.num_columns)])
    with in_memory() as connection:
        connection.register("content", content)
        found = connection.execute("select count(*), sum(hash(content)) from content").fetchall()
    return digest(str(found), *described, *(["in order"] if ordered else []))


def _value(values: object, path: str) -> object:
    for part in path.split("."):
        values = values[part] if isinstance(values, dict) else None
    return values


@cache
def _code_of(table: str, module: str) -> str:
    """A fingerprint of the code that makes a table, named as the table or as what it parses."""
    own = names_of(module)
    makers = [name for name in (table, f"parse_raw_{table}") if name in own]
    return code_digest([*((module, name) for name in makers or [WHOLE]), WRITTEN_BY])


@cache
def _fitting() -> str:
    """A fingerprint of the code that fits, be it for lists or to be measured."""
    return code_digest(
        [
            ("recsys_dagster.assets.model", "model"),
            ("recsys_dagster.steps.evaluation.comparison", "train_evidence"),
        ]
    )


def _schema_of(table: str) -> str:
    """What a table's key and columns are, not what is said of them."""
    if table not in TABLES:
        return ""
    schema = TABLES[table]
    return repr((schema.key, schema.open, [(each.name, each.type) for each in schema.columns]))
