"""Vectors of items and users. Each text is encoded once, ever; the rest comes from the store."""

import time
from collections.abc import Mapping
from typing import Any, Literal

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa

from recsys_dagster.assets.common import COSTLY, TABLE, table_assets
from recsys_dagster.assets.metadata import (
    ENCODER,
    FINGERPRINT,
    bars,
    column_lineage,
    counted,
    plane,
    sampled,
)
from recsys_dagster.assets.progress import Narrator
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.resources.compute import ComputeResource
from recsys_dagster.resources.embedding_store import (
    Encoded,
    encode_once,
    vectors_from_arrow,
    vectors_to_arrow,
)
from recsys_dagster.resources.encoder import SentenceEncoder, TextEncoder, load_encoder
from recsys_dagster.resources.encoder_models import EncoderOutOfMemoryError
from recsys_dagster.resources.encoder_static import StaticEncoder
from recsys_dagster.resources.locks import Holder
from recsys_dagster.resources.warehouse import Warehouse, with_comment
from recsys_dagster.steps.embed.tfidf import TfidfEncoder
from recsys_dagster.steps.embed.user_vectors import UserVectors, mean_cosine, user_vectors
from recsys_dagster.steps.models.behaviour import Behaviour, align

OUT_OF_MEMORY_RETRIES = 2
RETRY_SECONDS = 60
ENCODED = {*TABLE, "pytorch", "huggingface"}


def embeddings_assets(catalog: Catalog) -> list[dg.AssetsDefinition]:
    """The assets item_embeddings and user_embeddings of a catalog."""
    is_tfidf = catalog.encoder.model == "tfidf"

    def encoder(arguments: Mapping[str, Any]) -> str:
        """The fingerprint of the weights: a model's name says nothing of what is behind it."""
        if is_tfidf:
            return ""
        return load_encoder(arguments["recsys_encoder"], catalog, "document").fingerprint

    return [
        table_assets(
            catalog,
            item_embeddings,
            stage="embeddings",
            also_made_with=encoder,
            kinds=ENCODED,
            # Where those are refused, no list comes of what is encoded.
            guarded_by=("interactions",),
            priority=COSTLY,
        ),
        table_assets(
            catalog,
            user_embeddings,
            stage="embeddings",
            inputs=("item_texts",) if is_tfidf else (),
            also_made_with=encoder,
            kinds=ENCODED,
            guarded_by=("interactions",),
            priority=COSTLY,
        ),
    ]


def item_embeddings(
    context: dg.AssetExecutionContext,
    catalog: Catalog,
    recsys_compute: ComputeResource,
    recsys_encoder: TextEncoder,
    recsys_warehouse: Warehouse,
    item_texts: pd.DataFrame,
) -> dg.Output[pa.Table]:
    """A vector an item: its text encoded by the catalog's encoder, float32, as the encoder gives
    it. Only texts that this encoder never saw are encoded.

    `v_i = encoder(text_i)`, kept under `(fingerprint, text_hash)`; the fingerprint covers weights,
    preset, prompt, length, dimension and number format.
    """
    encoded, metadata = encode_texts(
        context,
        catalog,
        recsys_compute,
        recsys_encoder,
        recsys_warehouse,
        item_texts,
        item_texts,
        "document",
    )
    table = pa.table(
        {
            "item_id": pa.array(item_texts["item_id"], pa.string()),
            "embedding": vectors_to_arrow(encoded.vectors),
        }
    )
    sample = sampled(len(item_texts))
    lengths = item_texts["text"].str.len().to_numpy()[sample]
    kept = {name: str(metadata[name].value) for name in (ENCODER, FINGERPRINT)}
    return dg.Output(
        with_comment(table, kept),
        metadata=metadata
        | {
            "dimension": encoded.vectors.shape[1],
            "mean_cosine": mean_cosine(encoded.vectors),
            **column_lineage(
                catalog.name,
                {"item_id": ["item_texts.item_id"], "embedding": ["item_texts.text"]},
            ),
            "plot": plane(
                encoded.vectors[sample],
                np.log10(np.maximum(lengths, 1)),
                "Item embeddings on their two principal axes",
                "log₁₀ characters of text",
            ),
        },
    )


def user_embeddings(
    context: dg.AssetExecutionContext,
    catalog: Catalog,
    recsys_compute: ComputeResource,
    recsys_encoder: TextEncoder,
    recsys_warehouse: Warehouse,
    histories: pa.Table,
    user_texts: pd.DataFrame,
    item_embeddings: pa.Table,
    item_texts: pd.DataFrame | None = None,
) -> dg.Output[pa.Table]:
    """A vector a user, in the space of the items: of the items they like, of their encoded profile
    text, or a blend of the two.

    - history: `v_u = Σ w_ui·d_ui·v_i / Σ w_ui·d_ui` over the items i they like, where the decay
      `d_ui` halves for every half-life before the user's own last interaction
    - text: `v_u = encoder(profile_u)`
    - blend: `text_share · text + (1 − text_share) · history`
    """
    settings = catalog.users
    item_ids = item_embeddings["item_id"].to_pandas()
    behaviour = Behaviour.of(histories, item_ids)
    vectors_of_items = vectors_from_arrow(item_embeddings["embedding"])
    metadata: dict[str, dg.MetadataValue] = {}
    text_vectors = None
    if len(user_texts):
        encoded, metadata = encode_texts(
            context,
            catalog,
            recsys_compute,
            recsys_encoder,
            recsys_warehouse,
            user_texts,
            item_texts,
            "query",
        )
        text_vectors = align(behaviour.user_ids, user_texts["user_id"], encoded.vectors)
    made = user_vectors(
        behaviour.weights,
        align(behaviour.item_ids, item_ids, vectors_of_items),
        text_vectors,
        settings.vectors,
        settings.text_share,
    )
    table = pa.table(
        {
            "user_id": pa.array(behaviour.user_ids[made.has_vector], pa.string()),
            "embedding": vectors_to_arrow(made.vectors),
            "vector_source": pa.array(made.sources.tolist(), pa.string()),
            "seen_count": pa.array(behaviour.seen_in_catalogue[made.has_vector], pa.int64()),
        }
    )
    counts = pd.Series(made.sources).value_counts().to_dict()
    counts["no vector: served from popular"] = int((~made.has_vector).sum())
    return dg.Output(
        table,
        metadata=metadata
        | {
            "made_of": counted(counts),
            "mean_cosine": mean_cosine(made.vectors),
            **column_lineage(catalog.name, _origins_of_users(settings.vectors)),
            "plot": bars(counts, "What users' vectors are made of", "users"),
        },
    )


def encode_texts(
    context: dg.AssetExecutionContext | dg.OpExecutionContext,
    catalog: Catalog,
    compute: ComputeResource,
    resource: TextEncoder,
    warehouse: Warehouse,
    texts: pd.DataFrame,
    corpus: pd.DataFrame | None,
    prompt: Literal["document", "query"],
) -> tuple[Encoded, dict[str, dg.MetadataValue]]:
    """Vectors of texts by a catalog's encoder, in their order, and what the UI shows of it.

    Only texts whose vector is not stored are encoded.

    Args:
        context: of the running asset.
        catalog: whose texts they are.
        compute: where they are encoded.
        resource: the encoder.
        warehouse: where vectors are stored.
        texts: columns text and text_hash.
        corpus: column text, what tfidf is fitted on; of no matter to other encoders.
        prompt: "document" for items, "query" for users.
    """
    started = time.monotonic()
    settings = catalog.encoder
    if settings.model == "tfidf":
        if corpus is None:
            raise ValueError("tfidf is fitted on a corpus")
        # Fitted anew on the corpus each time, and cheap: there is nothing for a store to save.
        with Narrator(context.log) as narrator:
            narrator.doing(f"fitting tfidf on {len(corpus):,} texts, encoding {len(texts):,}")
            encoder = TfidfEncoder.fit(corpus["text"].tolist(), settings.dimension)
            vectors = encoder.encode(texts["text"].tolist())
        encoded = Encoded(vectors, encoded=texts["text_hash"].nunique(), reused=0)
    else:
        encoder = load_encoder(resource, catalog, prompt)
        job = f"{catalog.name}, job {context.run.job_name}"
        try:
            with Narrator(context.log) as narrator:
                encoded = encode_once(
                    texts,
                    compute.encoder(encoder),
                    warehouse,
                    catalog.name,
                    narrator.bar("encoded", "texts"),
                    narrator.doing,
                    resource.turn(Holder.here(context.run.run_id, job), narrator.doing),
                )
        except EncoderOutOfMemoryError as error:
            raise dg.RetryRequested(OUT_OF_MEMORY_RETRIES, RETRY_SECONDS) from error
    return encoded, {
        ENCODER: dg.MetadataValue.text(settings.model),
        FINGERPRINT: dg.MetadataValue.text(encoder.fingerprint),
        **_how_encoded(settings.preset, encoder),
        "texts_encoded": dg.MetadataValue.int(encoded.encoded),
        "texts_from_store": dg.MetadataValue.int(encoded.reused),
        "encoding_seconds": dg.MetadataValue.float(time.monotonic() - started),
        "computed_on": dg.MetadataValue.text(compute.in_words),
    }


def _how_encoded(
    preset: str, encoder: TfidfEncoder | SentenceEncoder | StaticEncoder
) -> dict[str, dg.MetadataValue]:
    """The preset and, where half precision was an open question, the number format and why."""
    said = {"preset": dg.MetadataValue.text(preset)}
    if isinstance(encoder, SentenceEncoder):
        said["dtype"] = dg.MetadataValue.text(encoder.dtype)
        if encoder.fidelity is not None:
            said["half_precision"] = dg.MetadataValue.text(str(encoder.fidelity))
    return said


def _origins_of_users(kind: UserVectors) -> dict[str, list[str]]:
    """The columns that each column of `user_embeddings` is made of."""
    history = [
        "item_embeddings.embedding",
        *(f"histories.{name}" for name in ("item_ids", "positives", "weights")),
    ]
    # Each of the two stands in for the other where that is missing.
    made_of = history if kind == "history" else [*history, "user_texts.text"]
    return {
        "user_id": ["histories.user_id"],
        "embedding": made_of,
        "vector_source": made_of,
        "seen_count": ["histories.item_ids", "item_embeddings.item_id"],
    }
