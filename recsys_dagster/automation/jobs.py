"""A job for a whole catalog, and one for each stage of it."""

import socket
from typing import Any

import dagster as dg

from recsys_dagster.assets.tuning import tuning_job
from recsys_dagster.catalog.settings import Catalog

CATALOG_TAG = "recsys/catalog"
"""Tag of a job's runs, for people: whose they are."""
HOST_TAG = "recsys/host"
"""Tag of a job's runs: the machine of the code server that starts them."""

STAGES: dict[str, tuple[str, ...]] = {
    "read": ("raw_interactions", "raw_items", "raw_users"),
    "clean": (
        "interactions",
        "rejected_interactions",
        "items",
        "rejected_items",
        "users",
        "histories",
    ),
    "compose": ("item_texts", "user_texts"),
    "embed": ("item_embeddings", "user_embeddings"),
    "compare": ("similarity_matrix", "item_neighbours", "item_map"),
    "fit": ("model",),
    "recommend": ("popular_items", "recommendations"),
    "publish": ("published",),
    "evaluate": ("evaluation_split", "evaluation"),
}
"""The verb that names a stage's job, and the assets that it makes, in flow order. Searching for
settings is apart (`tune_<catalog>`): no refresh does it."""


def refresh_job_name(catalog: str) -> str:
    """The job that materialises a whole catalog."""
    return f"refresh_{catalog}"


def catalog_jobs(catalog: Catalog, executor: dg.ExecutorDefinition) -> list[Any]:
    """The jobs `refresh_<catalog>`, `read_<catalog>`, …, `evaluate_<catalog>`, `tune_<catalog>`.

    Args:
        catalog: whose.
        executor: what executes them.
    """
    name = catalog.name
    tags = {CATALOG_TAG: name, HOST_TAG: socket.gethostname()}
    refreshed = [
        table
        for verb, tables in STAGES.items()
        for table in tables
        if verb != "evaluate" or catalog.evaluation.on_refresh
    ]
    refresh = dg.define_asset_job(
        refresh_job_name(name),
        _tables(name, refreshed),
        description=f"Everything from the sources of {name} to its published snapshot.",
        tags=tags,
        executor_def=executor,
    )
    stages = [
        dg.define_asset_job(
            f"{verb}_{name}",
            _tables(name, tables),
            description=f"{', '.join(tables)} of {name}, from the tables before them.",
            tags=tags,
            executor_def=executor,
        )
        for verb, tables in STAGES.items()
    ]
    return [refresh, *stages, tuning_job(catalog, tags, executor)]


def _tables(catalog: str, tables: tuple[str, ...] | list[str]) -> dg.AssetSelection:
    return dg.AssetSelection.assets(*(dg.AssetKey([catalog, table]) for table in tables))
