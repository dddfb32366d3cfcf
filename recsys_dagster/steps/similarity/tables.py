"""The user-item similarity matrix and the item-item neighbours, as flat tables."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from recsys_dagster.compute.blocks import LOCAL, Compute
from recsys_dagster.steps.similarity.nearest import index_for, nearest_blocks, top_k
from recsys_dagster.steps.similarity.vectors import Similarity

EXACT = "exact"
USUAL = 0.9
"""Of the users: an index is held to its recall for what they need, and not for the widest rows."""
Progress = Callable[[int, int], None] | None


@dataclass(frozen=True)
class Entries:
    """Entries of a matrix kept row by row, sorted by row and rank.

    Attributes:
        rows: int32 or int64 (entries,), row positions.
        columns: int32 or int64 (entries,), column positions.
        similarities: float32 (entries,).
        ranks: int32 (entries,), 1 is the nearest.
        search: how they were found, in words.
    """

    rows: np.ndarray
    columns: np.ndarray
    similarities: np.ndarray
    ranks: np.ndarray
    search: str = EXACT

    def table(self, row_ids: pa.Array, column_ids: pa.Array, names: tuple[str, str]) -> pa.Table:
        """The entries with ids for positions; ids are dictionary-encoded, as each comes often."""
        return pa.table(
            {
                names[0]: pa.DictionaryArray.from_arrays(pa.array(self.rows), row_ids),
                names[1]: pa.DictionaryArray.from_arrays(pa.array(self.columns), column_ids),
                "similarity": self.similarities,
                "rank": self.ranks,
            }
        )


def similarity_matrix(
    users: np.ndarray,
    items: np.ndarray,
    seen_counts: np.ndarray,
    width: int,
    similarity: Similarity,
    progress: Progress = None,
    device: str = "cpu",
    max_exact_pairs: float | None = None,
    compute: Compute = LOCAL,
) -> Entries:
    """For each user the nearest `width` + (items seen) items.

    So wide that `width` unseen items are left whatever the user has seen, and never dense.

    Args:
        users: projected vectors, float32 (users × d).
        items: projected vectors, float32 (items × d).
        seen_counts: int (users,), how many of the items each user has seen.
        width: unseen items to keep.
        similarity: of the space the vectors were projected into.
        progress: called with (users done, users).
        device: where vectors are compared, see `top_k`.
        max_exact_pairs: of more pairs an index is asked, see `index_for`; None asks none.
        compute: does the blocks.
    """
    needed = np.minimum(width + seen_counts, len(items)).astype(np.int64)
    starts = np.append(0, np.cumsum(needed))
    columns = np.empty(starts[-1], dtype=np.int32)
    similarities = np.empty(starts[-1], dtype=np.float32)
    # Users who need about as many items go together, so that nobody pays for the widest.
    classes = np.ceil(np.log2(np.maximum(needed, 1))).astype(int)
    usual = int(np.quantile(needed, USUAL)) if len(needed) else 1
    index = index_for(users, items, usual, similarity, max_exact_pairs, device=device)
    done = 0
    for size in np.unique(classes):
        members = np.flatnonzero(classes == size)
        widest = max(1, int(needed[members].max()))  # 0 where there are no items
        for own, near in nearest_blocks(
            users[members],
            items,
            widest,
            similarity,
            device=device,
            index=index,
            compute=compute,
        ):
            block = members[own]
            kept = np.arange(near.positions.shape[1]) < needed[block, None]
            places = np.repeat(starts[block], needed[block]) + np.nonzero(kept)[1]
            columns[places] = near.positions[kept]
            similarities[places] = near.similarities[kept]
            done += len(block)
            if progress:
                progress(done, len(users))
    rows = np.repeat(np.arange(len(users), dtype=np.int32), needed)
    ranks = (np.arange(starts[-1]) - np.repeat(starts[:-1], needed) + 1).astype(np.int32)
    search = EXACT if index is None else index.in_words
    return Entries(rows, columns, similarities, ranks, search)


def item_neighbours(
    items: np.ndarray,
    count: int,
    similarity: Similarity,
    progress: Progress = None,
    device: str = "cpu",
    max_exact_pairs: float | None = None,
    compute: Compute = LOCAL,
) -> Entries:
    """For each item the nearest `count` other items.

    Args:
        items: projected vectors, float32 (items × d).
        count: neighbours to keep.
        similarity: of the space the vectors were projected into.
        progress: called with (items done, items).
        device: where vectors are compared, see `top_k`.
        max_exact_pairs: of more pairs an index is asked, see `index_for`; None asks none.
        compute: does the blocks.
    """
    positions = np.arange(len(items))
    index = index_for(items, items, count, similarity, max_exact_pairs, device=device)
    near = top_k(
        items,
        items,
        count,
        similarity,
        exclude=positions,
        device=device,
        index=index,
        progress=progress,
        compute=compute,
    )
    width = near.positions.shape[1]
    return Entries(
        np.repeat(positions, width),
        near.positions.ravel(),
        near.similarities.ravel(),
        np.tile(np.arange(1, width + 1, dtype=np.int32), len(items)),
        EXACT if index is None else index.in_words,
    )


def to_sparse(
    table: pa.Table, row_ids: pa.Array, column_ids: pa.Array, names: tuple[str, str]
) -> sparse.csr_matrix:
    """A stored table of entries as float32 csr (len(row_ids) × len(column_ids)).

    Entries whose row or column is not among the ids are left out.
    """
    rows = _positions(table[names[0]], row_ids)
    columns = _positions(table[names[1]], column_ids)
    known = (rows >= 0) & (columns >= 0)
    return sparse.csr_matrix(
        (
            table["similarity"].to_numpy()[known],
            (rows[known], columns[known]),
        ),
        shape=(len(row_ids), len(column_ids)),
        dtype=np.float32,
    )


def _positions(values: pa.ChunkedArray, ids: pa.Array) -> np.ndarray:
    found = pc.call_function("index_in", [values], pc.SetLookupOptions(ids))
    return found.fill_null(-1).to_numpy().astype(np.int64)
