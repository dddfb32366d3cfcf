"""What is held back from models that are measured, and what they may know."""

from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa
from scipy import sparse

from recsys_dagster.assets.common import table_asset
from recsys_dagster.assets.embeddings import encode_texts
from recsys_dagster.assets.metadata import STAGE, bars
from recsys_dagster.assets.run_context import catalog_of
from recsys_dagster.catalog.files import Catalogs
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.errors import UserError
from recsys_dagster.resources.embedding_store import vectors_from_arrow
from recsys_dagster.resources.encoder import TextEncoder
from recsys_dagster.resources.warehouse import Warehouse
from recsys_dagster.steps.evaluation.comparison import HeldBack, Known
from recsys_dagster.steps.evaluation.splits import MAX_UNORDERED_SHARE, Kind, split
from recsys_dagster.steps.models.behaviour import align
from recsys_dagster.steps.prepare.columns import own_columns, require_column
from recsys_dagster.steps.prepare.ids import as_ids
from recsys_dagster.steps.similarity.tables import to_sparse


def kind_of(catalog: Catalog, interactions: pd.DataFrame) -> Kind:
    """The split of a catalog: as it says, else the strictest that its interactions allow.

    Time where nine in ten positive pairs have one, last where so many have a time or a position,
    random otherwise.
    """
    if catalog.evaluation.split is not None:
        return catalog.evaluation.split
    liked = interactions[interactions["positive"]]
    if liked["first_timestamp"].isna().sum() <= MAX_UNORDERED_SHARE * len(liked):
        return "time"
    unordered = liked["last_timestamp"].isna() & liked["last_position"].isna()
    return "last" if unordered.sum() <= MAX_UNORDERED_SHARE * len(liked) else "random"


@table_asset(tags={STAGE: "evaluation"})
def evaluation_split(
    context: dg.AssetExecutionContext,
    recsys_catalogs: dg.ResourceParam[Catalogs],
    raw_interactions: pd.DataFrame,
    interactions: pd.DataFrame,
) -> dg.Output[pd.DataFrame]:
    """Which interactions are held back from models that are measured.

    - time: one cut for everybody; the newest tenth is test, the tenth before it validation
    - last: of each user's likes the last is test, the one before it validation
    - random: a tenth and a tenth, by chance
    - column: as a column of the source says

    Only likes are held back; what is not liked counts as seen.
    """
    table, metadata = split_of(
        catalog_of(context, recsys_catalogs), raw_interactions, interactions, context.log
    )
    return dg.Output(table, metadata=metadata)


def split_of(
    catalog: Catalog,
    raw_interactions: pd.DataFrame,
    interactions: pd.DataFrame,
    log: dg.DagsterLogManager,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The rows of `evaluation_split`, and what the UI shows of them."""
    kind = kind_of(catalog, interactions)
    labels = _labels(catalog, raw_interactions, interactions) if kind == "column" else None
    metadata: dict[str, Any] = {"split": kind}
    try:
        parts = split(interactions, kind, labels=labels)
    except UserError as error:
        # Too little to measure is no reason to stop what can be recommended.
        log.warning(f"not measured: {error}")
        metadata["not_measured"] = str(error)
        parts = pd.Series(None, index=interactions.index, dtype=object)
    table = interactions[["user_id", "item_id"]].assign(part=parts.astype("str"))
    table["part"] = table["part"].where(parts.notna())
    counts = parts.value_counts().to_dict()
    return table, (
        metadata
        | {part: int(counts.get(part, 0)) for part in ("train", "valid", "test")}
        | {"plot": bars(counts, f"Parts of the split by {kind}", "interactions")}
    )


def _labels(
    catalog: Catalog, raw_interactions: pd.DataFrame, interactions: pd.DataFrame
) -> pd.Series:
    """The last label that the source has of each pair."""
    names = own_columns(raw_interactions.columns)
    column = catalog.evaluation.column
    if column not in names:
        raise UserError(
            f"raw_interactions: evaluation: column: {column!r} is not in the source. Found: "
            f"{', '.join(map(repr, names))}."
        )
    mapping = catalog.interactions.columns
    keys = {
        wanted: as_ids(raw_interactions[require_column(wanted, names, mapping, "raw_interactions")])
        for wanted in ("user_id", "item_id")
    }
    labelled = pd.DataFrame(keys | {"label": raw_interactions[column]})
    labelled = labelled.drop_duplicates(["user_id", "item_id"], keep="last")
    pairs = interactions[["user_id", "item_id"]]
    joined = pairs.merge(labelled, on=["user_id", "item_id"], how="left")
    return joined["label"].set_axis(interactions.index)


def known_of(
    context: dg.AssetExecutionContext | dg.OpExecutionContext,
    catalog: Catalog,
    recsys_encoder: TextEncoder,
    recsys_warehouse: Warehouse,
    items: pd.DataFrame,
    users: pd.DataFrame,
    user_texts: pd.DataFrame,
    item_texts: pd.DataFrame,
    item_embeddings: pa.Table,
    item_neighbours: pa.Table,
) -> Known:
    """What models may know of all items and users: texts as vectors, and what those say."""
    user_ids = users["user_id"].sort_values(ignore_index=True)
    order = pd.Index(item_embeddings["item_id"].to_pandas()).get_indexer(items["item_id"])
    vectors = vectors_from_arrow(item_embeddings["embedding"])[order]
    text_vectors = None
    if len(user_texts) and catalog.evaluation.user_texts:
        encoded, _ = encode_texts(
            context, catalog, recsys_encoder, recsys_warehouse, user_texts, item_texts, "query"
        )
        text_vectors = align(pd.Index(user_ids), user_texts["user_id"], encoded.vectors)
    elif len(user_texts):
        text_vectors = np.zeros((len(user_ids), vectors.shape[1]), dtype=np.float32)

    def neighbours(item_ids: pd.Index) -> sparse.csr_matrix:
        ids = pa.array(item_ids, pa.string())
        return to_sparse(item_neighbours, ids, ids, ("item_id", "neighbour_item_id"))

    return Known(user_ids, items, vectors, text_vectors, neighbours)


def held_back_of(
    catalog: Catalog, interactions: pd.DataFrame, evaluation_split: pd.DataFrame
) -> HeldBack:
    """The interactions in the parts that `evaluation_split` says."""
    pairs = interactions[["user_id", "item_id"]].merge(
        evaluation_split, on=["user_id", "item_id"], how="left"
    )
    parts = pairs["part"].set_axis(interactions.index)
    return HeldBack.of(interactions, parts, kind_of(catalog, interactions))
