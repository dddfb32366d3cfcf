"""A job for a whole catalog, and one for each stage of it."""

from typing import Any

import dagster as dg

CATALOG_TAG = "recsys/catalog"
"""Tag of a run: whose it is. The run queue lets one run a catalog in at a time."""

STAGES: dict[str, tuple[str, ...]] = {
    "read": ("raw_interactions", "raw_items", "raw_users"),
    "clean": ("interactions", "rejected_interactions", "items", "rejected_items", "users"),
    "compose": ("item_texts", "user_texts"),
    "embed": ("item_embeddings", "user_embeddings"),
    "compare": ("similarity_matrix", "item_neighbours"),
    "tune": ("evaluation_split", "tuning"),
    "recommend": ("popular_items", "recommendations"),
    "publish": ("published",),
    "evaluate": ("evaluation_split", "evaluation"),
}
"""The verb that names a stage's job, and the assets that it makes, in flow order."""
SEARCHED = "tuning"
"""Made when somebody asks for it, never by a refresh: a search takes many fits."""


def refresh_job_name(catalog: str) -> str:
    """The job that materialises a whole catalog."""
    return f"refresh_{catalog}"


def catalog_jobs(catalog: str, *, evaluate_on_refresh: bool) -> list[Any]:
    """The jobs `refresh_<catalog>`, `read_<catalog>`, …, `tune_<catalog>`, `evaluate_<catalog>`."""
    refreshed = dg.AssetSelection.groups(catalog) - _tables(catalog, (SEARCHED,))
    if not evaluate_on_refresh:
        refreshed -= _tables(catalog, STAGES["evaluate"])
    tags = {CATALOG_TAG: catalog}
    refresh = dg.define_asset_job(
        refresh_job_name(catalog),
        refreshed,
        description=f"Everything from the sources of {catalog} to its published snapshot.",
        tags=tags,
        executor_def=dg.in_process_executor,
    )
    stages = [
        dg.define_asset_job(
            f"{verb}_{catalog}",
            _tables(catalog, tables),
            description=f"{', '.join(tables)} of {catalog}, from the tables before them.",
            tags=tags,
            executor_def=dg.in_process_executor,
        )
        for verb, tables in STAGES.items()
    ]
    return [refresh, *stages]


def _tables(catalog: str, tables: tuple[str, ...]) -> dg.AssetSelection:
    return dg.AssetSelection.assets(*(dg.AssetKey([catalog, table]) for table in tables))
