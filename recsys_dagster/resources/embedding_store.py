"""The content-addressed store of vectors: each text is encoded once, ever.

A vector's address is the hash of its text and the fingerprint of what encoded it, so a changed
text, weight file, prompt or number type never meets a vector that is not its own. Every batch is
committed as it comes: an interrupted run loses one batch.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import numpy as np
import pandas as pd
import pyarrow as pa

from recsys_dagster.resources.encoder_batches import EncodingProgress
from recsys_dagster.resources.warehouse import Warehouse
from recsys_dagster.sql import quoted
from recsys_dagster.steps.embed.user_vectors import distinct_texts

SCHEMA = "encoded_texts"
TEXTS = ("item_texts", "user_texts")
"""Tables with the hashes of all texts that are encoded."""


class Encoder(Protocol):
    """What can turn texts into vectors."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever the same text might get another vector."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    def encode(
        self,
        texts: Sequence[str],
        *,
        progress: EncodingProgress | None = None,
        doing: Callable[[str], None] = lambda _what: None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Positions and float32 vectors of all texts, batch by batch, in any order."""
        ...


@dataclass(frozen=True)
class EmbeddingStore:
    """The vectors of one encoder in the warehouse of one catalog."""

    warehouse: Warehouse
    catalog: str
    fingerprint: str
    dimension: int

    @property
    def _table(self) -> str:
        return f"{quoted(SCHEMA)}.{quoted(self.fingerprint)}"

    def create(self) -> None:
        """Make the store where it is missing."""
        with self.warehouse.connect(self.catalog) as connection:
            connection.execute(f"create schema if not exists {quoted(SCHEMA)}")
            connection.execute(
                f"create table if not exists {self._table} "
                f"(text_hash varchar primary key, embedding float[{self.dimension}])"
            )
            connection.execute(
                f"alter table {self._table} add column if not exists added_at timestamp "
                "default current_timestamp"
            )

    def add(self, hashes: Sequence[str], vectors: np.ndarray) -> None:
        """Commit vectors, float32 (len(hashes) × dimension); addresses already there are kept."""
        incoming = pa.table(
            {"text_hash": pa.array(hashes, pa.string()), "embedding": vectors_to_arrow(vectors)}
        )
        with self.warehouse.connect(self.catalog) as connection:
            connection.register("incoming", incoming)
            connection.execute(
                f"insert or ignore into {self._table} (text_hash, embedding) "
                "select text_hash, embedding from incoming"
            )

    def get(self, hashes: Sequence[str]) -> tuple[list[str], np.ndarray]:
        """The stored ones among `hashes`: their hashes, and their vectors, float32."""
        wanted = pa.table({"text_hash": pa.array(list(dict.fromkeys(hashes)), pa.string())})
        with self.warehouse.connect(self.catalog) as connection:
            connection.register("wanted", wanted)
            found = connection.sql(
                f"select text_hash, embedding from {self._table} semi join wanted using (text_hash)"
            ).to_arrow_table()
        return found["text_hash"].to_pylist(), vectors_from_arrow(found["embedding"])


@dataclass(frozen=True)
class Encoded:
    """Vectors of a table of texts.

    Attributes:
        vectors: float32 (rows × dimension), in the order of the table.
        encoded: distinct texts encoded now.
        reused: distinct texts whose vector was stored.
    """

    vectors: np.ndarray
    encoded: int
    reused: int


def encode_once(
    texts: pd.DataFrame,
    encoder: Encoder,
    warehouse: Warehouse,
    catalog: str,
    progress: EncodingProgress | None = None,
    doing: Callable[[str], None] = lambda _what: None,
    turn: AbstractContextManager[None] | None = None,
) -> Encoded:
    """Vectors of all texts, encoding only those whose vector is not stored.

    Args:
        texts: columns text and text_hash.
        encoder: what encodes them.
        warehouse: where the store lies.
        catalog: whose store it is.
        progress: called with (texts encoded, texts to encode, share of the work done).
        doing: called with what begins, in words, before anything that takes long.
        turn: held while texts are encoded, where there are any.
    """
    store = EmbeddingStore(warehouse, catalog, encoder.fingerprint, encoder.dimension)
    store.create()
    hashes = texts["text_hash"].tolist()
    stored, _ = store.get(hashes)
    missing = distinct_texts(texts, set(stored))
    missing_hashes = missing["text_hash"].to_numpy(dtype=object)
    doing(f"texts to encode: {len(missing):,}, from the store: {len(stored):,}")
    with turn if turn is not None and len(missing) else nullcontext():
        encoding = encoder.encode(missing["text"].tolist(), progress=progress, doing=doing)
        for positions, vectors in encoding:
            store.add(missing_hashes[positions].tolist(), vectors)
    found, vectors = store.get(hashes)
    order = pd.Index(found).get_indexer(hashes)
    return Encoded(vectors[order], encoded=len(missing), reused=len(stored))


def remove_unused(
    warehouse: Warehouse, catalog: str, fingerprints: Collection[str], before: datetime
) -> int:
    """Delete vectors that no text and no encoder of a catalog needs; how many they were.

    Args:
        warehouse: where the store lies.
        catalog: whose.
        fingerprints: of the encoders in use.
        before: only vectors added before this time, with a zone, are deleted.
    """
    if not warehouse.path(catalog).exists():
        return 0
    added_before = before.astimezone(UTC).replace(tzinfo=None)
    removed = 0
    with warehouse.connect(catalog) as connection:
        tables = {
            (schema, name)
            for schema, name in connection.execute(
                "select schema_name, table_name from duckdb_tables()"
            ).fetchall()
        }
        # Where a table of texts is still to be made, every vector may be of one of them.
        are_known = all(("main", name) in tables for name in TEXTS)
        hashes = " union ".join(f"select text_hash from {name}" for name in TEXTS)
        for schema, name in sorted(tables):
            if schema != SCHEMA:
                continue
            store = f"{quoted(SCHEMA)}.{quoted(name)}"
            unused = "added_at < $1"
            if name in fingerprints:
                if not are_known:
                    continue
                unused += f" and text_hash not in ({hashes})"
            connection.execute(
                f"alter table {store} add column if not exists added_at timestamp "
                "default current_timestamp"
            )
            found = connection.execute(
                f"delete from {store} where {unused} returning 1", [added_before]
            ).fetchall()
            removed += len(found)
    return removed


def vectors_to_arrow(vectors: np.ndarray) -> pa.FixedSizeListArray:
    """Float32 (n × d) as an Arrow column that DuckDB stores as FLOAT[d]."""
    flat = np.ascontiguousarray(vectors, dtype=np.float32).ravel()
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), vectors.shape[1])


def vectors_from_arrow(column: pa.ChunkedArray) -> np.ndarray:
    """An Arrow column of FLOAT[d] as float32 (n × d)."""
    chunks = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    flat = np.concatenate(chunks) if chunks else np.empty(0, dtype=np.float32)
    return flat.astype(np.float32, copy=False).reshape(-1, column.type.list_size)
