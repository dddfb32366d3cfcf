"""What is learned, kept: lists, snapshots and whoever folds in a history use the same model."""

import json
import time
from collections.abc import Mapping
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa

from recsys_dagster.assets.common import TABLE, data_version, table_asset
from recsys_dagster.assets.metadata import STAGE, column_lineage, rests_on
from recsys_dagster.assets.progress import Narrator
from recsys_dagster.assets.run_context import catalog_of
from recsys_dagster.catalog.base import Settings
from recsys_dagster.catalog.files import Catalogs
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.errors import UserError
from recsys_dagster.resources.embedding_store import vectors_from_arrow
from recsys_dagster.resources.machine import available_bytes, peak_bytes
from recsys_dagster.resources.model_store import ModelStore
from recsys_dagster.resources.tuned_settings import tuned_settings as found_by_search
from recsys_dagster.resources.warehouse import Warehouse
from recsys_dagster.schemas import MODEL
from recsys_dagster.snapshots.model_files import read_arrays, read_manifest, write_model
from recsys_dagster.steps.models import STRATEGIES
from recsys_dagster.steps.models.base import Evidence, Strategy
from recsys_dagster.steps.models.behaviour import Behaviour, align
from recsys_dagster.steps.models.fitting import learned_with, tuned_settings, used_of
from recsys_dagster.steps.models.kept import KeptModel
from recsys_dagster.steps.models.memory import learned_items, require_memory
from recsys_dagster.steps.similarity.nearest import Space
from recsys_dagster.steps.similarity.tables import to_sparse
from recsys_dagster.versions import code_version, digest


def _tuned(catalog: Catalog, arguments: Mapping[str, Any]) -> str:
    tuned = found_by_search(arguments["recsys_warehouse"], catalog.name)
    return str(used_of(tuned, catalog, catalog.strategy))


@table_asset(also_made_with=_tuned, kinds={*TABLE, "scikitlearn"}, tags={STAGE: "model"})
def model(
    context: dg.AssetExecutionContext,
    recsys_catalogs: dg.ResourceParam[Catalogs],
    recsys_warehouse: Warehouse,
    recsys_models: ModelStore,
    interactions: pd.DataFrame,
    items: pd.DataFrame,
    users: pd.DataFrame,
    item_embeddings: pa.Table,
    item_neighbours: pa.Table,
) -> dg.Output[pd.DataFrame]:
    """The catalog's strategy, fitted, in a row; its arrays lie under its fingerprint in
    `$RECSYS_HOME/models`.

    What is learned goes by strategy, settings, code and the content of what it is learned from:
    where all are as before, so is the model, and nothing is learned again.
    """
    catalog = catalog_of(context, recsys_catalogs)
    strategy = STRATEGIES[catalog.strategy]
    tuned = found_by_search(recsys_warehouse, catalog.name)
    settings = tuned_settings(catalog, strategy.name, tuned)
    versions = {
        "interactions": data_version(interactions),
        "items": data_version(items),
        "users": data_version(users),
        "item_embeddings": data_version(item_embeddings),
        "item_neighbours": data_version(item_neighbours),
    }
    evidence = evidence_of(catalog, interactions, items, users, item_embeddings, item_neighbours)
    fingerprint = fingerprint_of(catalog, strategy, settings, versions)
    folder = recsys_models.home(catalog.name) / fingerprint
    try:
        about = read_manifest(folder)
        context.log.info(f"{strategy.name} is fitted already: {fingerprint}")
    except UserError:
        about = None
    if about is None:
        with Narrator(context.log) as narrator:
            narrator.doing(f"fitting {strategy.name}: {evidence.in_words}")
            learned = learned_items(strategy, evidence)
            require_memory(strategy.name, learned, evidence.items, available_bytes())
            began = time.monotonic()
            kept = KeptModel.of(strategy, settings, strategy.learn(evidence, settings), evidence)
            seconds = time.monotonic() - began
        newest = interactions["last_timestamp"].max()
        about = read_manifest(
            write_model(
                recsys_models.home(catalog.name),
                fingerprint,
                kept.save(),
                {
                    "fingerprint": fingerprint,
                    "strategy": strategy.name,
                    "settings": settings.model_dump(mode="json"),
                    "made_from": versions,
                    "code_version": code_version("model", catalog),
                    "newest": None if pd.isna(newest) else newest.isoformat() + "Z",
                    "users": len(evidence.behaviour.user_ids),
                    "items": evidence.items,
                    "positives": int(evidence.behaviour.weights.nnz),
                    "seconds": seconds,
                    "peak_memory_bytes": peak_bytes(),
                    "run_id": context.run.run_id,
                    "made_at": pd.Timestamp.now("UTC").isoformat(),
                },
            )
        )
    used = used_of(tuned, catalog, strategy.name)
    table = pd.DataFrame(
        [
            about
            | {
                "settings": settings.model_dump_json(),
                "tuned": json.dumps(used),
                "newest": pd.to_datetime(about["newest"]).tz_localize(None)
                if about["newest"]
                else pd.NaT,
                "made_at": pd.to_datetime(about["made_at"]).tz_localize(None),
            }
        ]
    )[MODEL.column_names]
    return dg.Output(
        table,
        metadata={
            "strategy": strategy.name,
            "formula": dg.MetadataValue.md(strategy.formula),
            "settings": dg.MetadataValue.json(settings.model_dump(mode="json")),
            "tuned": used,
            "learned_from": evidence.in_words,
            "model_bytes": about["bytes"],
            "fit_seconds": about["seconds"],
            "peak_memory_bytes": about["peak_memory_bytes"],
            "folder": dg.MetadataValue.path(str(folder)),
        }
        | rests_on(catalog, recsys_warehouse.comment(catalog.name, "item_embeddings"))
        | column_lineage(catalog.name, {"fingerprint": list(strategy.columns)}),
    )


def evidence_of(
    catalog: Catalog,
    interactions: pd.DataFrame,
    items: pd.DataFrame,
    users: pd.DataFrame,
    item_embeddings: pa.Table,
    item_neighbours: pa.Table,
) -> Evidence:
    """What the catalog's strategy may learn from."""
    behaviour = Behaviour.of(
        interactions,
        users["user_id"],
        items,
        catalog.users.half_life_days,
        catalog.users.half_life_positions,
    )
    vectors = vectors_from_arrow(item_embeddings["embedding"])
    ids = pa.array(behaviour.item_ids, pa.string())
    return Evidence(
        behaviour,
        align(behaviour.item_ids, item_embeddings["item_id"].to_pandas(), vectors),
        Space.of(vectors, catalog.similarity, catalog.centre),
        lambda: to_sparse(item_neighbours, ids, ids, ("item_id", "neighbour_item_id")),
    )


def fingerprint_of(
    catalog: Catalog,
    strategy: Strategy[Any],
    settings: Settings,
    versions: Mapping[str, str],
) -> str:
    """What a fit is known by: all that what is learned depends on."""
    return digest(
        strategy.name,
        json.dumps(learned_with(strategy, settings), sort_keys=True),
        json.dumps(versions, sort_keys=True),
        code_version("model", catalog),
    )


def kept_model(recsys_models: ModelStore, catalog: str, model: pd.DataFrame) -> KeptModel:
    """The model that the table `model` names, its arrays mapped from the store.

    Raises:
        UserError: it is not there, or damaged.
    """
    (row,) = model.to_dict("records")
    folder = recsys_models.home(catalog) / row["fingerprint"]
    read_manifest(folder)
    return KeptModel.load(read_arrays(folder), row["strategy"], json.loads(row["settings"]))
