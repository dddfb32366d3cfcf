"""What each table is made by, settings and code: a change of either makes it out of date."""

import hashlib
import json
import re
from functools import cache
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from recsys_dagster.catalog.settings import Catalog

PACKAGE = Path(__file__).parent
IMPORT = re.compile(rf"^\s*from ({PACKAGE.name}[\w.]*) import (?:\(([^)]*)\)|(.+))$", re.MULTILINE)
CODE_ROOMS = ("recsys_dagster.steps", "recsys_dagster.resources", "recsys_dagster.snapshots")
"""Code whose change may change a table; what is drawn and logged may not."""
PROVENANCE = ("run_id", "made_at", "seconds", "peak_memory_bytes")
PLACE = "place of the row"
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
    "matrix_width",
    *SPACE,
)

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
    "similarity_matrix": ("similarity", (*SPACE, "matrix_width")),
    "item_neighbours": ("similarity", (*SPACE, "neighbours")),
    "model": ("model", ("strategy", "models", *SPACE)),
    "popular_items": ("recommendations", NARROWING),
    "recommendations": (
        "recommendations",
        ("strategy", "list_length", *ORDERING, *SPACE),
    ),
    "published": ("published", ()),
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
    module, settings = MADE_WITH[TOGETHER.get(table, table)]
    values = catalog.model_dump(mode="json")
    chosen = {path: _value(values, path) for path in settings}
    return digest(_code_digest(f"recsys_dagster.assets.{module}"), json.dumps(chosen))


def fit_version(catalog: Catalog) -> str:
    """A short fingerprint of the code that fits models, and of the space where they compare."""
    values = catalog.model_dump(mode="json")
    chosen = {path: _value(values, path) for path in SPACE}
    return digest(_code_digest("recsys_dagster.steps.models"), json.dumps(chosen))


def digest(*parts: str) -> str:
    """A short fingerprint of texts, hexadecimal."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def content_digest(rows: pa.Table, *, ordered: bool = True) -> str:
    """A fingerprint of a table's content and columns, hexadecimal.

    Who made a row and when is no part of what it says. Values are hashed, not memory: what lies
    under a null is chance.

    Args:
        rows: the table.
        ordered: whether the order of the rows is a part of the content.
    """
    named = [name for name in rows.column_names if name not in PROVENANCE]
    table = rows.select(named).replace_schema_metadata()
    if ordered or not named:
        table = table.append_column(PLACE, pa.array(np.arange(table.num_rows)))
    with duckdb.connect() as connection:
        connection.register("content", table)
        found = connection.execute("select count(*), sum(hash(content)) from content").fetchall()
    return digest(str(found), *(f"{field.name} {field.type}" for field in table.schema))


def _value(values: object, path: str) -> object:
    for part in path.split("."):
        values = values[part] if isinstance(values, dict) else None
    return values


@cache
def _code_digest(module: str) -> str:
    """Of a module's source and all sources that it uses, directly or not."""
    reached: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += [used for used in _imports(name) if used.startswith(CODE_ROOMS)]
    return digest(*(f"{name}\n{_source(name)}" for name in sorted(reached)))


@cache
def _imports(module: str) -> frozenset[str]:
    """The modules of this package that a module imports, those named in `from a import b` too."""
    names = set()
    for origin, in_brackets, on_the_line in IMPORT.findall(_source(module)):
        names.add(origin)
        names |= {f"{origin}.{name}" for name in re.findall(r"\w+", in_brackets or on_the_line)}
    return frozenset(name for name in names if _file(name) is not None)


def _source(module: str) -> str:
    file = _file(module)
    return file.read_text(encoding="utf-8") if file is not None else ""


@cache
def _file(module: str) -> Path | None:
    first, *parts = module.split(".")
    if first != PACKAGE.name:
        return None
    stem = PACKAGE.joinpath(*parts)
    files = (stem.with_suffix(".py"), stem / "__init__.py")
    return next((file for file in files if file.is_file()), None)
