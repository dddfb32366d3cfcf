"""What is held back from models that are measured, and what they may know."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa
from scipy import sparse

from recsys_dagster.assets.common import quality_group, table_assets
from recsys_dagster.assets.embeddings import encode_texts
from recsys_dagster.assets.metadata import bars
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.errors import UserError
from recsys_dagster.resources.compute import ComputeResource
from recsys_dagster.resources.embedding_store import vectors_from_arrow
from recsys_dagster.resources.encoder import TextEncoder
from recsys_dagster.resources.warehouse import StoredTable, Warehouse
from recsys_dagster.steps.evaluation.comparison import Known
from recsys_dagster.steps.evaluation.labels import label_columns, labels_of
from recsys_dagster.steps.evaluation.splits import kind_of, parted, split
from recsys_dagster.steps.models.behaviour import align
from recsys_dagster.steps.similarity.tables import to_sparse

PARTS = ("train", "valid", "test")
NOT_IN_CATALOGUE = "all that was held back is of items that the catalogue lacks"


def held_back_assets(catalog: Catalog) -> list[dg.AssetsDefinition]:
    """The asset evaluation_split of a catalog."""
    return [
        table_assets(
            catalog,
            evaluation_split,
            stage="evaluation",
            inputs=("raw_interactions",) if catalog.evaluation.split == "column" else (),
            group=quality_group(catalog.name),
        )
    ]


def evaluation_split(
    context: dg.AssetExecutionContext | dg.OpExecutionContext,
    catalog: Catalog,
    interactions: pd.DataFrame,
    raw_interactions: StoredTable | None = None,
) -> dg.Output[pd.DataFrame]:
    """What models that are measured may learn from, and what is held back from them.

    - time: one cut for everybody; the newest tenth is test, the tenth before it validation
    - last: of each user's positives the last is test, the one before it validation
    - random: a tenth and a tenth, by chance
    - column: as a column of the source says

    Only positives are held back; what is not positive counts as seen.
    """
    kind = catalog.evaluation.split or kind_of(interactions)
    labels = None
    if raw_interactions is not None:
        asked = catalog.evaluation.column, catalog.interactions.columns
        read = label_columns(raw_interactions.schema().names, *asked)
        raw = raw_interactions.frame([*dict.fromkeys(read.values())])
        labels = labels_of(raw, interactions, *asked)
    metadata: dict[str, Any] = {"split": kind}
    try:
        parts = split(interactions, kind, labels=labels)
    except UserError as error:
        # Too little to measure is no reason to stop what can be recommended.
        context.log.warning(f"not measured: {error}")
        metadata["not_measured"] = str(error)
        parts = pd.Series(None, index=interactions.index, dtype=object)
    counts = parts.value_counts().to_dict()
    return dg.Output(
        parted(interactions, parts, kind),
        metadata=metadata
        | {part: int(counts.get(part, 0)) for part in PARTS}
        | {"plot": bars(counts, f"Parts of the split by {kind}", "interactions")},
    )


def known_of(
    context: dg.AssetExecutionContext | dg.OpExecutionContext,
    catalog: Catalog,
    recsys_compute: ComputeResource,
    recsys_encoder: TextEncoder,
    recsys_warehouse: Warehouse,
    evaluation_split: pd.DataFrame,
    tables: Mapping[str, Any],
) -> Known:
    """What models may know of all items and users: texts as vectors, and what those say.

    Args:
        context: of what runs.
        catalog: whose.
        recsys_compute: where they are encoded.
        recsys_encoder: encodes profile texts.
        recsys_warehouse: keeps what was encoded.
        evaluation_split: whose users there are.
        tables: those of `known_tables`.
    """
    embeddings: pa.Table = tables["item_embeddings"]
    items: pd.DataFrame | None = tables.get("items")
    if items is None:
        items = pd.DataFrame({"item_id": embeddings["item_id"].to_pandas()})
    user_ids = pd.Series(evaluation_split["user_id"].unique(), dtype="str")
    user_ids = user_ids.sort_values(ignore_index=True)
    order = pd.Index(embeddings["item_id"].to_pandas()).get_indexer(items["item_id"])
    vectors = vectors_from_arrow(embeddings["embedding"])[order]
    text_vectors = None
    user_texts: pd.DataFrame | None = tables.get("user_texts")
    if user_texts is not None:
        encoded, _ = encode_texts(
            context,
            catalog,
            recsys_compute,
            recsys_encoder,
            recsys_warehouse,
            user_texts,
            tables.get("item_texts"),
            "query",
        )
        text_vectors = align(pd.Index(user_ids), user_texts["user_id"], encoded.vectors)
    elif catalog.users.vectors != "history":
        text_vectors = np.zeros((len(user_ids), vectors.shape[1]), dtype=np.float32)

    def neighbours(item_ids: pd.Index) -> sparse.csr_matrix:
        ids = pa.array(item_ids, pa.string())
        return to_sparse(tables["item_neighbours"], ids, ids, ("item_id", "neighbour_item_id"))

    return Known(user_ids, items, vectors, text_vectors, neighbours)


def known_tables(catalog: Catalog) -> tuple[str, ...]:
    """The tables that `known_of` needs beside the split.

    What stands for all items and users by text; items, where rules put lists in order; profile
    texts, where they may be known, with what tfidf is fitted on.
    """
    texts: tuple[str, ...] = ()
    if catalog.evaluation.user_texts and catalog.users.source is not None:
        texts = ("user_texts",)
        if catalog.encoder.model == "tfidf":
            texts = ("user_texts", "item_texts")
    items = ("items",) if catalog.rules.reorder else ()
    return ("item_embeddings", "item_neighbours", *items, *texts)
