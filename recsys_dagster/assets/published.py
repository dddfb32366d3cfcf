"""The gate's other side: what passed the checks becomes a snapshot that others read."""

import inspect
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from recsys_dagster.assets.common import (
    MADE_BY_CODE,
    MADE_OF,
    OWNERS,
    data_version,
    pool_of,
    spec_metadata,
    unchanged,
    utc_now,
)
from recsys_dagster.assets.gate import GUARDED, Objection, forced_reason, objections, refusal
from recsys_dagster.assets.metadata import ENCODER, FINGERPRINT, STAGE, first_list, rests_on
from recsys_dagster.catalog.names import LIVE_FILES
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.errors import UserError
from recsys_dagster.resources.model_store import ModelStore
from recsys_dagster.resources.snapshot_store import SnapshotStore
from recsys_dagster.resources.warehouse import (
    DATA_VERSION,
    STORED,
    StoredTable,
    Warehouse,
    to_pandas,
)
from recsys_dagster.snapshots.current import current_manifest
from recsys_dagster.snapshots.reader import History, Snapshot
from recsys_dagster.snapshots.remote import Folder, here
from recsys_dagster.snapshots.writer import publish
from recsys_dagster.steps.prepare.columns import own_columns
from recsys_dagster.steps.prepare.interactions import interaction_columns
from recsys_dagster.versions import code_version, digest

RAW = ("raw_interactions", "raw_items", "raw_users")
RESTS_ON = (
    "interactions",
    "items",
    "users",
    "histories",
    "item_texts",
    "user_texts",
    "item_embeddings",
    "user_embeddings",
    "similarity_matrix",
    "item_neighbours",
    "item_map",
    "model",
    "popular_items",
    "recommendations",
)
"""What a snapshot is made of, directly or not, in flow order."""

PUBLISHED = (
    "histories",
    "item_texts",
    "item_neighbours",
    "item_map",
    "model",
    "popular_items",
    "recommendations",
)
"""What is in a snapshot, in flow order."""
HISTORY = ("user_id", *(field.name for field in fields(History)))
RESOURCES = ("recsys_snapshots", "recsys_warehouse", "recsys_models")


def published_assets(catalog: Catalog) -> list[dg.AssetsDefinition]:
    """The asset published of a catalog."""
    name = catalog.name

    def compute(context: dg.AssetExecutionContext, **tables: StoredTable) -> dg.MaterializeResult:
        resources = {each: getattr(context.resources, each) for each in RESOURCES}
        return published(context, catalog, **resources, **tables)

    asset = dg.asset(
        name="published",
        key_prefix=name,
        group_name=name,
        description=inspect.getdoc(published),
        ins={
            table: dg.AssetIn(dg.AssetKey([name, table]), dagster_type=STORED)
            for table in PUBLISHED
        },
        required_resource_keys=set(RESOURCES),
        kinds={"parquet", "file"},
        owners=OWNERS,
        tags={STAGE: "published"},
        metadata=spec_metadata(catalog, "published", published),
        pool=pool_of(name),
    )(compute)
    return [asset]


def published(
    context: dg.AssetExecutionContext,
    catalog: Catalog,
    recsys_snapshots: SnapshotStore,
    recsys_warehouse: Warehouse,
    recsys_models: ModelStore,
    histories: StoredTable,
    item_texts: StoredTable,
    item_neighbours: StoredTable,
    item_map: StoredTable,
    model: StoredTable,
    popular_items: StoredTable,
    recommendations: StoredTable,
) -> dg.MaterializeResult:
    """A snapshot folder of lists, histories, neighbours, the map of items, popular items, titles,
    texts and the model that made the lists, with a manifest of run, counts and checksums, written
    beside the current one and made current by one atomic rename, or sent to object storage and made
    current by one conditional write.

    Nothing is published unless the last result of every blocking check of every table that it
    rests on passed, and was of the tables as they are now, whatever run asks for it. A run that
    somebody forced goes on; the manifest then has the reason and what was objected to.

    The checks of the next run compare its counts with the last snapshot that passed, and its first
    items with what is published here.
    """
    found = objections(recsys_warehouse, catalog, GUARDED, together=True)
    found += out_of_date(recsys_warehouse, catalog)
    reason = forced_reason(context.run)
    if found and reason is None:
        raise refusal(catalog.name, "published", found)
    gate = verdict(found, reason)
    made_of = (
        recommendations,
        histories,
        item_neighbours,
        item_map,
        popular_items,
        item_texts,
        model,
    )
    counts = _counts(recsys_warehouse, catalog.name)
    made_from = digest(
        code_version("published", catalog),
        *(f"{table.name} {data_version(table)}" for table in made_of),
        # The manifest says them, and the next run's checks go by what it says.
        *(f"{name} {count}" for name, count in counts.items()),
        json.dumps(gate),
    )
    folder = recsys_snapshots.place
    if _is_current(folder, catalog.name, made_from):
        context.log.info("the current snapshot is kept: nothing in it has changed")
        return unchanged(context, context.asset_key, made_from)
    vectors = recsys_warehouse.comment(catalog.name, "item_embeddings")
    (fitted,) = model.arrow().to_pylist()
    ranked = popular_items.arrow()
    lists = recommendations.arrow()
    tables = {
        "recommendations": lists,
        "histories": histories.arrow(HISTORY),
        "item_neighbours": item_neighbours.arrow(),
        "item_map": item_map.arrow(),
        "popular_items": ranked.filter(ranked["rank"].is_valid()),
        "items": _readable(ranked, item_texts.arrow(("item_id", "text"))),
    }
    context.log.info(
        "writing a snapshot: "
        + ", ".join(f"{table.num_rows:,} rows of {name}" for name, table in tables.items())
    )
    path = publish(
        folder,
        catalog.name,
        context.run.run_id,
        utc_now(),
        tables,
        {
            "made_from": made_from,
            "counts": counts,
            "gate": gate,
            "encoder": {
                "model": vectors.get(ENCODER, ""),
                "fingerprint": vectors.get(FINGERPRINT, ""),
            },
            "settings": catalog.model_dump(mode="json"),
            **_told_of_source(recsys_warehouse, catalog),
        },
        recsys_models.home(catalog.name) / fitted["fingerprint"],
        json.loads(fitted["settings"]),
        _began(context),
    )
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return dg.MaterializeResult(
        data_version=dg.DataVersion(made_from),
        metadata={
            "first_list": first_list(lists, to_pandas(ranked)),
            **counts,
            "snapshot": dg.MetadataValue.path(_shown(folder, path)),
            "dagster/row_count": lists.num_rows,
            "size_bytes": size,
            "passed": gate["passed"],
            **({} if gate["passed"] else {"forced_past": dg.MetadataValue.json(gate)}),
            "lists": dg.MetadataValue.asset(dg.AssetKey([catalog.name, "recommendations"])),
            **rests_on(catalog, vectors),
            "unchanged": False,
        },
    )


def _readable(popular_items: pa.Table, item_texts: pa.Table) -> pa.Table:
    """What a person reads of every item: title, category and text; sorted by item_id."""
    items = popular_items.select(["item_id", "title", "category"]).sort_by("item_id")
    ids = item_texts["item_id"].combine_chunks()
    places = pc.call_function("index_in", [items["item_id"]], pc.SetLookupOptions(ids))
    return items.append_column("text", item_texts["text"].take(places))


def out_of_date(recsys_warehouse: Warehouse, catalog: Catalog) -> list[Objection]:
    """What is not made of the other tables as they are now, or with other settings or code."""
    memories = recsys_warehouse.comments(catalog.name, (*RAW, *RESTS_ON))
    found = []
    for table in RESTS_ON:
        memory = memories[table]
        if memory.get(MADE_BY_CODE) != code_version(table, catalog):
            reason = "it was made with other settings or other code"
        else:
            given = json.loads(memory[MADE_OF])
            changed = [
                name
                for name, version in given.items()
                if name in memories and memories[name].get(DATA_VERSION) != version
            ]
            if not changed:
                continue
            reason = f"{' and '.join(changed)} changed after it was made"
        found.append(Objection(table, "up_to_date", reason, failed=False))
    return found


def verdict(found: list[Objection], reason: str | None) -> dict[str, Any]:
    """What a manifest says of the gate: passed, or why it was forced and past what."""
    if not found:
        return {"passed": True}
    return {"passed": False, "reason": reason, "failed": [asdict(each) for each in found]}


def _counts(recsys_warehouse: Warehouse, catalog: str) -> dict[str, int]:
    """How much went into the snapshot, for the next run to compare with."""
    ((interactions, users, items),) = recsys_warehouse.query(
        catalog,
        "select count(*), count(distinct user_id), (select count(*) from items) from interactions",
    )
    return {"interactions": interactions, "users": users, "items": items}


def _told_of_source(recsys_warehouse: Warehouse, catalog: Catalog) -> dict[str, Any]:
    """What whoever takes new interactions must know of the source.

    Its columns and their types, and which of them are ours, so that new rows are written as it
    writes them; and which files of such rows are in the lists.
    """
    types = dict(
        recsys_warehouse.query(
            catalog.name,
            "select column_name, data_type from duckdb_columns() "
            "where table_name = 'raw_interactions' and schema_name = current_schema()",
        )
    )
    own = own_columns(types)
    found = interaction_columns(own, catalog.interactions)
    files = recsys_warehouse.query(
        catalog.name,
        "select distinct parse_filename(source_file) as name from raw_interactions "
        "where parse_filename(source_file) glob $live order by name",
        {"live": LIVE_FILES},
    )
    return {
        "source_columns": {name: types[name] for name in own},
        "interaction_columns": {ours: name for ours, name in found.items() if name is not None},
        "live_files": [name for (name,) in files],
    }


def _shown(folder: Folder, path: Path) -> str:
    """Where a snapshot lies that was published, whose folder here is `path`."""
    return (
        str(path)
        if isinstance(folder, Path)
        else f"{folder.address}/{path.parent.name}/{path.name}"
    )


def _began(context: dg.AssetExecutionContext) -> float | None:
    """When the run's first step began, in Unix seconds: before it, it may wait for another run."""
    steps = context.instance.get_run_step_stats(context.run.run_id)
    return min((step.start_time for step in steps if step.start_time is not None), default=None)


def _is_current(folder: Folder, catalog: str, made_from: str) -> bool:
    """Whether what is published was made from the same, and is what was written.

    A damaged snapshot is none that could be kept: a new one takes its place. Of one that lies
    elsewhere the copy is looked at that is here; nothing is fetched.
    """
    try:
        manifest = current_manifest(folder, catalog)
        if manifest["made_from"] != made_from:
            return False
        path = here(folder) / catalog / manifest["snapshot"]
        if path.is_dir():
            Snapshot(path, manifest).verify()
    except (UserError, OSError, KeyError):
        return False
    return True
