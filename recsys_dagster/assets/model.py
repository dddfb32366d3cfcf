"""What is learned, kept: lists, snapshots and whoever folds in a history use the same model."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
from scipy import sparse

from recsys_dagster.assets.common import TABLE, data_version, table_assets
from recsys_dagster.assets.metadata import column_lineage, learning_curve, preview, rests_on
from recsys_dagster.assets.progress import Narrator
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.resources.compute import ComputeResource
from recsys_dagster.resources.embedding_store import vectors_from_arrow
from recsys_dagster.resources.model_store import FitRequest, ModelStore
from recsys_dagster.resources.warehouse import StoredTable, Warehouse
from recsys_dagster.schemas import MODEL
from recsys_dagster.steps.models import STRATEGIES
from recsys_dagster.steps.models.base import Evidence
from recsys_dagster.steps.models.behaviour import Behaviour, align
from recsys_dagster.steps.models.fitting import tuned_of, tuned_settings, used_of
from recsys_dagster.steps.models.trainer import CURVE, NO_CURVE
from recsys_dagster.steps.similarity.space import Space
from recsys_dagster.steps.similarity.tables import to_sparse
from recsys_dagster.versions import fit_version


def model_assets(catalog: Catalog) -> list[dg.AssetsDefinition]:
    """The asset model of a catalog."""

    def still_there(arguments: Mapping[str, Any]) -> str:
        """The arrays are no part of the table: where they are gone, it is made again."""
        warehouse, models = arguments["recsys_warehouse"], arguments["recsys_models"]
        if not warehouse.has(catalog.name, MODEL.name):
            return ""
        rows = warehouse.query(catalog.name, "select fingerprint from model")
        return "".join("" if models.holds(catalog.name, own) else f"lost {own}" for (own,) in rows)

    return [
        table_assets(
            catalog,
            model,
            stage="model",
            also_made_with=still_there,
            kinds={*TABLE, "scikitlearn"},
            guarded_by=("interactions",),
        )
    ]


def model(
    context: dg.AssetExecutionContext,
    catalog: Catalog,
    recsys_compute: ComputeResource,
    recsys_warehouse: Warehouse,
    recsys_models: ModelStore,
    histories: pa.Table,
    item_embeddings: pa.Table,
    item_neighbours: StoredTable,
    tuning: pd.DataFrame,
) -> dg.Output[pd.DataFrame]:
    """The catalog's strategy, fitted, in a row; its arrays lie under its fingerprint in
    `$RECSYS_HOME/models`.

    What is learned goes by strategy, settings, code and the content of what it is learned from:
    where all are as before, so is the model, and nothing is learned again. Settings that a search
    found come from `tuning`, unless the YAML names them.
    """
    strategy = STRATEGIES[catalog.strategy]
    tuned = tuned_of(tuning)
    settings = tuned_settings(catalog, strategy.name, tuned)
    versions = {
        "histories": data_version(histories),
        "item_embeddings": data_version(item_embeddings),
        "item_neighbours": data_version(item_neighbours),
    }
    evidence = evidence_of(catalog, histories, item_embeddings, item_neighbours)
    with Narrator(context.log) as narrator:
        request = FitRequest(
            catalog.name,
            strategy,
            settings,
            evidence,
            versions | {"code": fit_version(catalog)},
            recsys_compute,
        )
        last = None
        if getattr(settings, "warm_start", False):
            last = _last(recsys_warehouse, catalog.name)
        fit = recsys_models.fit_from(last, request, context.run.run_id, narrator.doing)
    used = used_of(tuned, catalog, strategy.name)
    about = fit.manifest
    curve = fit.model(strategy.name, about["settings"]).learned.get(CURVE, NO_CURVE)
    row = dict(about) | {
        "settings": settings.model_dump_json(),
        "tuned": json.dumps(used),
        "newest": _naive(about["newest"]),
        "made_at": _naive(about["made_at"]),
    }
    return dg.Output(
        pd.DataFrame([row])[MODEL.column_names],
        metadata={
            "strategy": strategy.name,
            "formula": dg.MetadataValue.md(strategy.formula),
            "settings": dg.MetadataValue.json(settings.model_dump(mode="json")),
            "tuned": used,
            "learned_from": evidence.in_words,
            "model_bytes": about["bytes"],
            "fit_seconds": about["seconds"],
            "peak_memory_bytes": about["peak_memory_bytes"],
            "folder": dg.MetadataValue.path(str(fit.folder)),
        }
        | {"computed_on": recsys_compute.in_words}
        | ({"learning_curve": learning_curve(curve)} if len(curve) else {})
        | ({"warm_start": about["warm_start"]} if about.get("warm_start") else {})
        | _parted(about.get("learned", {}))
        | _competition(about.get("learned", {}))
        | rests_on(catalog, recsys_warehouse.comment(catalog.name, "item_embeddings"))
        | column_lineage(catalog.name, {"fingerprint": list(strategy.columns)}),
    )


def evidence_of(
    catalog: Catalog, histories: pa.Table, item_embeddings: pa.Table, item_neighbours: StoredTable
) -> Evidence:
    """What the catalog's strategy may learn from."""
    item_ids = item_embeddings["item_id"].to_pandas()
    behaviour = Behaviour.of(histories, item_ids)
    vectors = vectors_from_arrow(item_embeddings["embedding"])
    ids = pa.array(behaviour.item_ids, pa.string())
    names = ("item_id", "neighbour_item_id")

    @cache
    def neighbours() -> sparse.csr_matrix:
        return to_sparse(item_neighbours.arrow((*names, "similarity")), ids, ids, names)

    return Evidence(
        behaviour,
        align(behaviour.item_ids, item_ids, vectors),
        Space.of(vectors, catalog.similarity, catalog.centre),
        neighbours,
    )


def _last(warehouse: Warehouse, catalog: str) -> str | None:
    """The fingerprint of the catalog's last model; None where there is none."""
    if not warehouse.has(catalog, MODEL.name):
        return None
    rows = warehouse.query(catalog, "select fingerprint from model")
    return rows[0][0] if rows else None


def _parted(learned: Mapping[str, Any]) -> dict[str, str]:
    """How many items were learned of densely, where that is not all of them."""
    if "head" not in learned:
        return {}
    return {"learned_densely": f"{learned['head']:,} of {learned['learned']:,} items"}


def _competition(learned: Mapping[str, Any]) -> dict[str, Any]:
    """What was chosen among candidates, and what each found; nothing where there were none."""
    if "candidates" not in learned:
        return {}
    rows = pd.DataFrame(learned["candidates"])
    return {
        "chosen": learned["chosen"],
        "asked_users": learned["users"],
        "candidates": preview(rows.round(4), rows=len(rows)),
    }


def _naive(moment: str | None) -> Any:
    return pd.NaT if moment is None else pd.to_datetime(moment).tz_localize(None)
