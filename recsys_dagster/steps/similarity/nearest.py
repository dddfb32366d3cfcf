"""The nearest items by cosine, euclidean or dot similarity, in blocks: exact, or of an index.

On a CPU a float32 matrix product is the whole cost and faiss runs at its speed, so faiss proposes
and this module disposes. BLAS may give identical vectors scores that differ in the last bits, so
float32 decides an order only where the gap exceeds its rounding error; nearer pairs are measured
again in float64, and a row whose k-th place stays open is measured against every item. The
similarity that counts is thus the float64 one rounded to float32, ties to the lower position.
Where an approximate index proposes, what it proposes is put in order in the same way.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from recsys_dagster.compute.blocks import LOCAL, Compute, once
from recsys_dagster.steps.similarity.approximate import ApproximateIndex, approximate_index
from recsys_dagster.steps.similarity.every_pair import EveryPair
from recsys_dagster.steps.similarity.vectors import (
    Similarity,
    as_pair,
    norms,
    require_known,
    row_blocks,
)

# Scores (b, fetch) float32 in descending order, larger is nearer, and their positions int64.
Search = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

# Candidates fetched beyond k: they cost nothing measurable and settle nearly all near ties at k.
_SPARE = 8
_QUERY_BLOCK = 4096
# Queries and items that faiss multiplies at a time: as many scores as by its own 4,096 and 1,024,
# in 4 to 10 % less time, because a query's best are looked for once in four times as many items.
_FAISS_QUERIES, _FAISS_ITEMS = 1024, 4096
# Below this float32 products may underflow, whatever their relative error.
_UNDERFLOW = 1e-35


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest items of every query, nearest first.

    Attributes:
        positions: (m, w) int64, row numbers of the items.
        similarities: (m, w) float32, never rising along a row.
    """

    positions: np.ndarray
    similarities: np.ndarray


def index_for(
    queries: np.ndarray,
    items: np.ndarray,
    k: int,
    similarity: Similarity,
    max_exact_pairs: float | None,
    *,
    device: str = "cpu",
    doing: Callable[[str], None] = lambda _what: None,
) -> ApproximateIndex | None:
    """What `top_k` should ask in place of all items; None where it should ask all.

    Args:
        queries: (m, d) float32, projected.
        items: (n, d) float32, projected.
        k: how many neighbours most queries will want.
        similarity: as in `top_k`.
        max_exact_pairs: up to so many pairs m × n are compared, every one; None: always.
        device: on another than the CPU all are compared: it is quick at that.
        doing: called with what begins, in words.
    """
    fetch = k + _SPARE + 1
    is_small = max_exact_pairs is None or len(queries) * len(items) <= max_exact_pairs
    if device != "cpu" or is_small or fetch >= len(items):
        return None
    return approximate_index(queries, items, fetch, similarity == "euclidean", doing)


def top_k(
    queries: np.ndarray,
    items: np.ndarray,
    k: int,
    similarity: Similarity,
    *,
    exclude: np.ndarray | None = None,
    device: str = "cpu",
    index: ApproximateIndex | None = None,
    progress: Callable[[int, int], None] | None = None,
    compute: Compute = LOCAL,
) -> Neighbours:
    """Find the k most similar items of every query, exactly unless an index is given.

    Args:
        queries: (m, d) float32, projected.
        items: (n, d) float32, projected.
        k: how many neighbours, at least 1.
        similarity: "cosine" is the inner product (of unit vectors), "dot" the plain inner product
            and "euclidean" 1 / (1 + distance).
        exclude: (m,) int64, one item position a query to leave out (itself, for item-item lists).
        device: "cpu" for faiss, "cuda" (or "cuda:0") for torch.
        index: of `index_for`, which proposes candidates of the items; a query for which it finds
            too few is compared with all.
        progress: called with (queries done, queries in all) after each block.
        compute: does the blocks, but for those of another device than the CPU.

    Returns:
        Neighbours of width min(k, n), or min(k, n − 1) with `exclude`. The order is exact, equal
        similarities in position order; identical items always tie, and an item identical to the
        query has euclidean similarity 1. The values of inner products are float32 ones: a cosine
        may pass 1 in its last digit.

    Raises:
        ValueError: shapes that do not match, k below 1, positions outside the items, or vectors
            that are not finite or too large for float32 products.
    """
    shape = (len(queries), _width(items, k, exclude))
    found = Neighbours(np.empty(shape, np.int64), np.empty(shape, np.float32))
    for own, near in nearest_blocks(
        queries,
        items,
        k,
        similarity,
        exclude=exclude,
        device=device,
        index=index,
        compute=compute,
    ):
        found.positions[own], found.similarities[own] = near.positions, near.similarities
        if progress is not None:
            progress(own.stop, len(queries))
    return found


def nearest_blocks(
    queries: np.ndarray,
    items: np.ndarray,
    k: int,
    similarity: Similarity,
    *,
    exclude: np.ndarray | None = None,
    device: str = "cpu",
    index: ApproximateIndex | None = None,
    compute: Compute = LOCAL,
) -> Iterator[tuple[slice, Neighbours]]:
    """What `top_k` finds, some queries at a time: which, and their neighbours.

    See `top_k` for arguments and errors.
    """
    require_known(similarity)
    queries, items = as_pair(queries, items)
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    m, n = len(queries), len(items)
    exclude = None if exclude is None else _excluded(exclude, m, n)
    width = _width(items, k, exclude)
    if m == 0 or width == 0:
        return

    fetch = min(n, width + _SPARE + (exclude is not None))
    slack = _slack(queries, items, similarity)
    rows = list(row_blocks(m, fetch, most=_QUERY_BLOCK))
    blocks = ((queries[own], slack[own], None if exclude is None else exclude[own]) for own in rows)
    searched = _Searched(items, fetch, width, similarity, device, index)
    chosen = compute if device == "cpu" else LOCAL
    found = chosen.map(_nearest, searched, blocks, "nearest items")
    for own, (positions, similarities) in zip(rows, found, strict=True):
        yield own, Neighbours(positions, similarities)


def _width(items: np.ndarray, k: int, exclude: np.ndarray | None) -> int:
    """How many neighbours a query has."""
    return max(0, min(k, len(items) - (exclude is not None)))


@dataclass(frozen=True, eq=False)
class _Searched:
    """Items that blocks of queries are compared with.

    Attributes:
        items: (n, d) float32.
        fetch: candidates that are looked at.
        width: those that are kept.
        similarity: as in `top_k`.
        device: as in `top_k`.
        index: as in `top_k`.
    """

    items: np.ndarray
    fetch: int
    width: int
    similarity: Similarity
    device: str
    index: ApproximateIndex | None

    @once
    def search(self) -> Search:
        """Finds candidates of queries."""
        if self.index is not None:
            return partial(self.index.search, fetch=self.fetch)
        if self.device == "cpu":
            return _faiss_search(self.items, self.fetch, self.similarity)
        return _torch_search(self.items, self.fetch, self.similarity, self.device)

    @once
    def table(self) -> EveryPair:
        """Settles queries whose candidates are not enough."""
        return EveryPair.of(self.items)


def _nearest(
    searched: _Searched, block: tuple[np.ndarray, np.ndarray, np.ndarray | None]
) -> tuple[np.ndarray, np.ndarray]:
    """Positions int64 and similarities float32 (b, width) of a block of queries.

    Args:
        searched: the items.
        block: queries (b, d), their slack (b,), and which item each leaves out (b,).
    """
    queries, slack, left_out = block
    items, width, similarity = searched.items, searched.width, searched.similarity
    scores, positions = searched.search(queries)
    if left_out is not None:
        scores, positions = _drop(scores, positions, left_out)
    if searched.index is None:
        # Nothing else can reach place k if the last candidate is clearly below it.
        below = scores[:, width - 1] - scores[:, -1]
        open_rows = (below <= slack) & (searched.fetch < len(items))
    else:
        open_rows = np.any(positions < 0, axis=1)
    is_zero = ~queries.any(axis=1) & (similarity != "euclidean")
    open_rows &= ~is_zero
    near = _near(scores, slack, similarity) & ~(open_rows | is_zero)[:, None]
    scores, positions = _reorder(
        scores, positions, near, queries=queries, items=items, similarity=similarity
    )
    scores, positions = scores[:, :width], positions[:, :width]
    if open_rows.any():
        of_open = None if left_out is None else left_out[open_rows]
        settled = searched.table.top_k(queries[open_rows], width, similarity, of_open)
        positions[open_rows], scores[open_rows] = settled
    if is_zero.any():
        # Everything is alike to a zero vector, and of equals the first are taken.
        first = np.arange(width)
        if left_out is not None:
            first = first + (first >= left_out[is_zero, None])
        positions[is_zero], scores[is_zero] = first, 0
    return positions, scores


def _faiss_search(items: np.ndarray, fetch: int, similarity: Similarity) -> Search:
    """Search on the CPU; faiss reads the items where they lie, without an index's copy."""
    import faiss

    faiss.cvar.distance_compute_blas_query_bs = _FAISS_QUERIES
    faiss.cvar.distance_compute_blas_database_bs = _FAISS_ITEMS
    euclidean = similarity == "euclidean"
    metric = faiss.METRIC_L2 if euclidean else faiss.METRIC_INNER_PRODUCT

    def search(block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scores, positions = faiss.knn(block, items, fetch, metric=metric)
        return (-scores if euclidean else scores), positions

    return search


def _torch_search(items: np.ndarray, fetch: int, similarity: Similarity, device: str) -> Search:
    """Search on a torch device, a bounded part of the score matrix at a time."""
    import torch

    table = torch.from_numpy(items).to(device)
    squares = (table * table).sum(1)
    step = max(1, (1 << 28) // len(items))

    def part(block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        vectors = torch.from_numpy(block).to(device)
        scores = vectors @ table.T
        if similarity == "euclidean":
            scores = 2 * scores - squares - (vectors * vectors).sum(1, keepdim=True)
        best = torch.topk(scores, fetch, dim=1)
        return best.values.cpu().numpy(), best.indices.cpu().numpy()

    def search(block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        parts = [part(block[start : start + step]) for start in range(0, len(block), step)]
        scores, positions = zip(*parts, strict=True)
        return np.concatenate(scores), np.concatenate(positions)

    return search


def _drop(
    scores: np.ndarray, positions: np.ndarray, left_out: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Take one candidate out of each row: the excluded one, or else the last."""
    hit = positions == left_out[:, None]
    hit[:, -1] |= ~hit.any(axis=1)
    shape = (len(scores), scores.shape[1] - 1)
    return scores[~hit].reshape(shape), positions[~hit].reshape(shape)


def _near(scores: np.ndarray, slack: np.ndarray, similarity: Similarity) -> np.ndarray:
    """Which candidates (b, w) must be measured again to know their order.

    For euclidean all: ‖a‖² + ‖b‖² − 2ab cancels where vectors are near, which is where it counts.
    """
    if similarity == "euclidean":
        return np.ones(scores.shape, dtype=bool)
    close = scores[:, :-1] - scores[:, 1:] <= slack[:, None]
    near = np.zeros(scores.shape, dtype=bool)
    near[:, :-1] |= close
    near[:, 1:] |= close
    return near


def _reorder(
    scores: np.ndarray,
    positions: np.ndarray,
    near: np.ndarray,
    *,
    queries: np.ndarray,
    items: np.ndarray,
    similarity: Similarity,
) -> tuple[np.ndarray, np.ndarray]:
    """Measure the marked candidates in float64 and sort their rows by (−similarity, position)."""
    rows, columns = np.nonzero(near)
    if rows.size == 0:
        return scores, positions
    chosen = positions[rows, columns]
    for part in row_blocks(rows.size, items.shape[1]):
        scores[rows[part], columns[part]] = _measure_pairs(
            queries[rows[part]], items[chosen[part]], similarity
        )
    touched = np.unique(rows)
    values, places = scores[touched], positions[touched]
    swapped = (values[:, :-1] < values[:, 1:]) | (
        (values[:, :-1] == values[:, 1:]) & (places[:, :-1] > places[:, 1:])
    )
    wrong = swapped.any(axis=1)  # the few rows worth sorting
    order = np.lexsort((places[wrong], -values[wrong]), axis=1)
    scores[touched[wrong]] = np.take_along_axis(values[wrong], order, axis=1)
    positions[touched[wrong]] = np.take_along_axis(places[wrong], order, axis=1)
    return scores, positions


def _measure_pairs(left: np.ndarray, right: np.ndarray, similarity: Similarity) -> np.ndarray:
    """Similarities (p,) float64 of p pairs of rows, each summed in the same order."""
    if similarity != "euclidean":
        return np.multiply(left, right, dtype=np.float64).sum(axis=1)
    gaps = np.subtract(left, right, dtype=np.float64)
    return 1 / (1 + np.sqrt(np.square(gaps, out=gaps).sum(axis=1)))


def _slack(queries: np.ndarray, items: np.ndarray, similarity: Similarity) -> np.ndarray:
    """How near (m,) two float32 scores of a query may be without telling their order.

    Twice the error of one score, for which (√d + 2) half-ulps of |q|·|x| is the probabilistic
    bound (Higham and Mary, 2019); measured errors, constant vectors included, stay below half.
    """
    lengths, longest = norms(queries), norms(items).max()
    with np.errstate(over="ignore"):
        if not (lengths.max() + longest) ** 2 < np.finfo(np.float32).max:
            raise ValueError("vectors are not finite, or too large for float32 products")
    reach = (lengths + longest) ** 2 if similarity == "euclidean" else lengths * longest
    relative = np.finfo(np.float32).eps * (np.sqrt(items.shape[1]) + 2)
    return relative * reach + _UNDERFLOW


def _excluded(exclude: np.ndarray, m: int, n: int) -> np.ndarray:
    exclude = np.asarray(exclude, dtype=np.int64)
    if exclude.shape != (m,):
        raise ValueError(f"exclude must name one item a query, got {exclude.shape} for {m}")
    if m and (exclude.min() < 0 or exclude.max() >= n):
        raise ValueError(f"exclude names positions outside the {n} items")
    return exclude
