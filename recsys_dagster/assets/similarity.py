"""Text and behaviour in one space: user-item similarity, items' neighbours, a map of the items."""

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa

from recsys_dagster.assets.common import readable_items, table_assets
from recsys_dagster.assets.metadata import (
    column_lineage,
    curve,
    distribution,
    grouped_points,
    histogram,
    preview,
    sampled,
)
from recsys_dagster.assets.progress import log_progress
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.resources.compute import ComputeResource
from recsys_dagster.resources.embedding_store import vectors_from_arrow
from recsys_dagster.resources.encoder import TextEncoder
from recsys_dagster.resources.warehouse import Warehouse, to_pandas
from recsys_dagster.steps.similarity import item_map as map_step
from recsys_dagster.steps.similarity import tables as step
from recsys_dagster.steps.similarity.space import Space

PREVIEW_ROWS = 8


def similarity_assets(catalog: Catalog) -> list[dg.AssetsDefinition]:
    """The assets similarity_matrix, item_neighbours and item_map of a catalog."""
    return [
        table_assets(catalog, similarity_matrix, stage="similarity", guarded_by=("interactions",)),
        table_assets(catalog, item_neighbours, stage="similarity"),
        table_assets(catalog, item_map, stage="similarity"),
    ]


def similarity_matrix(
    context: dg.AssetExecutionContext,
    catalog: Catalog,
    recsys_compute: ComputeResource,
    recsys_encoder: TextEncoder,
    user_embeddings: pa.Table,
    item_embeddings: pa.Table,
) -> dg.Output[pa.Table]:
    """For each user the nearest items, seen ones included, so wide that `matrix_width` unseen
    ones are left; computed in blocks, exact up to `max_exact_pairs`.

    - cosine: `S_ui = cos(v_u − μ, v_i − μ)` with μ the mean item vector, or 0 where `centre` is
      false
    - euclidean: `S_ui = 1 / (1 + ‖v_u − v_i‖)`
    - dot: `S_ui = v_u · v_i`
    """
    items, space = _projected_items(item_embeddings, catalog)
    entries = step.similarity_matrix(
        space.project(_vectors(user_embeddings)),
        items,
        user_embeddings["seen_count"].to_numpy(),
        catalog.matrix_width,
        catalog.similarity,
        log_progress(context.log, "compared", "users"),
        recsys_encoder.search_device,
        catalog.max_exact_pairs,
        recsys_compute,
    )
    table = entries.table(
        _ids(user_embeddings, "user_id"), _ids(item_embeddings, "item_id"), ("user_id", "item_id")
    )
    return dg.Output(
        table,
        metadata=_described(table, entries, catalog)
        | {"computed_on": _place(recsys_compute, recsys_encoder.search_device)}
        | column_lineage(
            catalog.name,
            {
                "user_id": ["user_embeddings.user_id"],
                "item_id": ["item_embeddings.item_id"],
                "similarity": ["user_embeddings.embedding", "item_embeddings.embedding"],
                "rank": ["user_embeddings.embedding", "item_embeddings.embedding"],
            },
        )
        | {
            "plot": _similarity_by_rank(
                entries, catalog.matrix_width, f"{catalog.similarity} of user and item by rank"
            )
        },
    )


def item_neighbours(
    context: dg.AssetExecutionContext,
    catalog: Catalog,
    recsys_compute: ComputeResource,
    recsys_encoder: TextEncoder,
    recsys_warehouse: Warehouse,
    item_embeddings: pa.Table,
) -> dg.Output[pa.Table]:
    """For each item the nearest other items, by the same similarity in the same space: `S_ij` is
    `S_ui` of the similarity matrix with an item in the user's place.
    """
    vectors, _ = _projected_items(item_embeddings, catalog)
    entries = step.item_neighbours(
        vectors,
        catalog.neighbours,
        catalog.similarity,
        log_progress(context.log, "compared", "items"),
        recsys_encoder.search_device,
        catalog.max_exact_pairs,
        recsys_compute,
    )
    ids = _ids(item_embeddings, "item_id")
    table = entries.table(ids, ids, ("item_id", "neighbour_item_id"))
    titles = readable_items(recsys_warehouse, catalog.name)["title"]
    first = to_pandas(table.slice(0, PREVIEW_ROWS))
    readable = pd.DataFrame(
        {
            "item": first["item_id"].map(titles),
            "neighbour": first["neighbour_item_id"].map(titles),
            "similarity": first["similarity"],
        }
    )
    nearest = entries.similarities[entries.ranks == 1]
    return dg.Output(
        table,
        metadata=_described(table, entries, catalog)
        | {"computed_on": _place(recsys_compute, recsys_encoder.search_device)}
        | column_lineage(
            catalog.name,
            {
                "item_id": ["item_embeddings.item_id"],
                "neighbour_item_id": ["item_embeddings.item_id"],
                "similarity": ["item_embeddings.embedding"],
                "rank": ["item_embeddings.embedding"],
            },
        )
        | {
            "preview": preview(readable),
            "nearest": distribution(nearest),
            "plot": histogram(
                nearest, "How near the nearest neighbour is", catalog.similarity, "items"
            ),
        },
    )


def item_map(
    context: dg.AssetExecutionContext,
    catalog: Catalog,
    recsys_warehouse: Warehouse,
    item_embeddings: pa.Table,
) -> dg.Output[pa.Table]:
    """The catalogue on a plane, for people to look at: every item that has a vector, on the two
    principal axes of all vectors. No list rests on it.

    `(x_i, y_i) = W (v_i − μ) / s` with μ the mean item vector, W the two directions in which
    vectors differ most, and s such that x and y are between -1 and 1
    """
    made = map_step.item_map(_vectors(item_embeddings))
    x, y = made.places.T
    table = pa.table({"item_id": _ids(item_embeddings, "item_id"), "x": x, "y": y})
    known = readable_items(recsys_warehouse, catalog.name).reindex(table["item_id"].to_pylist())
    sample = sampled(table.num_rows)
    origins = ["item_embeddings.embedding"]
    return dg.Output(
        table,
        metadata={
            "share_of_variance": made.share,
            "preview": preview(known.assign(x=x, y=y)),
            **column_lineage(
                catalog.name, {"item_id": ["item_embeddings.item_id"], "x": origins, "y": origins}
            ),
            "plot": grouped_points(
                made.places[sample], known["category"].iloc[sample].tolist(), "Items by category"
            ),
        },
    )


def _place(compute: ComputeResource, search_device: str) -> str:
    """Where vectors are compared: on the run's own GPU, or wherever blocks of work are done."""
    return compute.in_words if search_device == "cpu" else search_device


def _described(
    table: pa.Table, entries: step.Entries, catalog: Catalog
) -> dict[str, dg.MetadataValue]:
    return {
        "similarity": dg.MetadataValue.text(catalog.similarity),
        "search": dg.MetadataValue.text(entries.search),
        "centred": dg.MetadataValue.bool(catalog.centre and catalog.similarity == "cosine"),
        "preview": preview(to_pandas(table.slice(0, 8))),
    }


def _similarity_by_rank(entries: step.Entries, ranks: int, title: str) -> dg.MarkdownMetadataValue:
    kept = entries.ranks <= ranks
    totals = np.bincount(entries.ranks[kept], weights=entries.similarities[kept])[1:]
    counts = np.bincount(entries.ranks[kept])[1:]
    return curve(totals / np.maximum(counts, 1), title, "rank", "mean similarity")


def _projected_items(embeddings: pa.Table, catalog: Catalog) -> tuple[np.ndarray, Space]:
    vectors = _vectors(embeddings)
    space = Space.of(vectors, catalog.similarity, catalog.centre)
    return space.project(vectors), space


def _vectors(embeddings: pa.Table) -> np.ndarray:
    return vectors_from_arrow(embeddings["embedding"])


def _ids(table: pa.Table, name: str) -> pa.Array:
    return table[name].combine_chunks()
