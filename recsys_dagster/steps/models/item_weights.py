"""What every strategy of the form x·B shares: a user's history times item-item weights."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import sparse

from recsys_dagster.compute.blocks import once
from recsys_dagster.steps.models.base import NOT_RANKED, Arrays, UserBlock
from recsys_dagster.steps.models.pairs import stored_values

Weights = np.ndarray | sparse.csr_matrix
SMALL_CELLS = 1 << 24
"""A matrix of so many weights, 64 MiB, is kept whole."""
MAX_KEPT = 1_440
"""Of a larger one, the weights of an item that are kept: those that speak most for it."""
BYTES_OF_WEIGHT = 8
"""Of a sparse weight in float32 with its place in int32."""
LARGEST_HALF = 2.0**15
"""Below it float16 is exact to 11 bits; weights are kept as shares of it."""
COLUMNS = 256
"""Of a dense matrix that are looked at together."""
MAX_DENSE_CELLS = 1 << 27
"""Of a matrix that many users are scored with: half a GiB, less than learning it took."""
MAX_WEIGHTS = 1 << 27
"""Of all items together: half a GiB in four bytes each, 671 of each of 200,000 items."""
MIN_KEPT, KEPT_STEP = 32, 32
BYTES_WHILE_KEPT = 24
"""Of a weight, while the columns of all items become one matrix."""
KEPT_SHARE = 0.7
"""Of the memory that is left when the head is learned."""
MIN_BATCH = 32
"""Users from whom on it pays to have it dense."""
WEIGHTS_OF_BLOCK = 1 << 19
"""That are added up together, but for those of one user: 4 MiB stay in a cache."""


@dataclass(frozen=True)
class ItemWeightsModel:
    """Scores x·B, with B = W + 1·restᵀ.

    Attributes:
        weights: W, float32 (h × items), dense or csr; B_ji is what history item j says of i.
        history_items: int64 (h,), the items that the rows of B stand for; a history's other items
            say nothing.
        recency_power: x is recency ** recency_power; 0 counts all of a history alike.
        prior: float32 (items,), what is said of an item before any history; it is divided by the
            cube of the number of a user's positives. None says nothing.
        rest: float32 (items,), what every history item says of an item alike, beside W; None where
            nothing was left out of W.
    """

    weights: Weights
    history_items: np.ndarray
    recency_power: float = 0.0
    prior: np.ndarray | None = None
    rest: np.ndarray | None = None

    def score(self, block: UserBlock) -> np.ndarray:
        """x·B + prior / n³.

        Users of whose history nothing is known are not ranked; nor is, where there is no prior, an
        item that nothing in a history speaks of.
        """
        histories = block.discounted(self.recency_power)[:, self.history_items]
        scores = self.times(histories)
        if self.prior is None:
            # By bits and without asking for each: zeros come at random, which a mask is slow for.
            bits = scores.view(np.uint32)
            bits |= (scores == 0) * NOT_RANKED.view(np.uint32)
        else:
            scores += self.prior / np.maximum(block.lengths, 1).astype(np.float32)[:, None] ** 3
            scores[np.diff(histories.indptr) == 0] = NOT_RANKED
        return scores

    def times(self, histories: sparse.csr_matrix | np.ndarray) -> np.ndarray:
        """x·B, float32 (b × items).

        Args:
            histories: x, float32 (b × h).
        """
        if histories.shape[0] >= MIN_BATCH and np.prod(self.weights.shape) <= MAX_DENSE_CELLS:
            # Sparse times dense is the faster product, and adds up in the same order.
            return histories @ self._dense
        if isinstance(histories, np.ndarray) or isinstance(self.weights, np.ndarray):
            products = histories @ self.weights
        else:
            products = added_up(histories, self.weights)
        if self.rest is not None:
            products += np.asarray(histories.sum(axis=1), np.float32).reshape(-1, 1) * self.rest
        return products

    @once
    def _dense(self) -> np.ndarray:
        if isinstance(self.weights, np.ndarray):
            return self.weights
        dense = self.weights.toarray()
        if self.rest is not None:
            dense += self.rest
        return dense

    def contributions(self, block: UserBlock, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """x_j·B_ji for history items j."""
        row_of_item = np.full(block.positives.shape[1], -1)
        row_of_item[self.history_items] = np.arange(len(self.history_items))
        entries = block.entries(rows)
        history = row_of_item[block.positives.indices[entries]]
        items = np.repeat(items, block.lengths[rows])
        known = history >= 0
        parts = np.zeros(len(history), dtype=np.float32)
        if known.any():
            parts[known] = self.weights_of(history[known], items[known])
            parts *= block.discounted(self.recency_power).data[entries]
        return parts

    def weights_of(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Single weights, float32 (e,): those at rows int64 (e,) and columns int64 (e,), e > 0."""
        if isinstance(self.weights, np.ndarray):
            return self.weights[rows, columns]
        found = stored_values(self.weights, rows, columns)
        return found if self.rest is None else found + self.rest[columns]


def added_up(histories: sparse.csr_matrix, weights: sparse.csr_matrix) -> np.ndarray:
    """x·W, float32 (b × items).

    A sparse product of SciPy looks up for each weight whether its item has a sum already, twice.
    Here each is added to the sum of its item, in the same order, so the sums are the same: all
    users' sums are one vector, and what a history item says is a column that adds to it.
    """
    users, items = histories.shape[0], weights.shape[1]
    lengths = np.diff(weights.indptr).astype(np.int64)[histories.indices]
    ends = np.append(0, np.cumsum(lengths))[histories.indptr]
    products = np.empty((users, items), dtype=np.float32)
    cuts = np.flatnonzero(np.diff(ends[1:] // WEIGHTS_OF_BLOCK)) + 1
    for some in np.split(np.arange(users), cuts):
        own = histories[some]
        said = weights[own.indices]
        for place, (start, end) in enumerate(pairwise(said.indptr[own.indptr])):
            said.indices[start:end] += place * items
        columns = sparse.csc_matrix(
            (said.data, said.indices, said.indptr), shape=(len(some) * items, own.nnz)
        )
        products[some] = (columns @ own.data).reshape(len(some), items)
    return products


def kept_arrays(
    weights: np.ndarray,
    columns: np.ndarray,
    items: int,
    history_items: np.ndarray,
    positives: sparse.csr_matrix,
) -> Arrays:
    """What is kept of item-item weights: all where they are few, else the largest of each item.

    Args:
        weights: float32 (h × c), dense.
        columns: int64 (c,), the items that its columns stand for.
        items: how many items there are; the others have no weights.
        history_items: int64 (h,), the items that its rows stand for.
        positives: X, csr (users × h), of ones.
    """
    if len(weights) * items <= SMALL_CELLS:
        return weight_arrays(whole(weights, columns, items), history_items)
    counts = np.bincount(positives.indices, minlength=len(weights))
    largest, rest = largest_of_items(weights, columns, items, MAX_KEPT, counts)
    return weight_arrays(largest, history_items, rest)


def largest_of_items(
    weights: np.ndarray, columns: np.ndarray, items: int, number: int, counts: np.ndarray
) -> tuple[sparse.csr_matrix, np.ndarray]:
    """The largest weights of each item, and the mean of its others, which stands for them.

    The mean over histories: what the others say of an item is left as it is on the whole.

    The largest and not the largest by size: with large negative weights kept and small positive
    ones gone, what speaks against an item would outweigh what speaks for it.

    Args:
        weights: float32 (h × c), dense.
        columns: int64 (c,), the items that its columns stand for.
        items: how many items there are; the others have no weights.
        number: how many of each item, at least 1.
        counts: int64 (h,), how many histories have each history item.

    Returns:
        W and rest with W + 1·restᵀ the weights, but for those left out: float32 csr (h × items)
        without zeros, and float32 (items,).
    """
    histories = Histories(np.arange(len(weights)), counts)
    blocks = (
        Largest.of(
            columns[start : start + COLUMNS],
            Columns(
                np.ascontiguousarray(weights[:, start : start + COLUMNS].T),
                sparse.csr_matrix((len(columns[start : start + COLUMNS]), 0), dtype=np.float32),
            ),
            histories,
            number,
        )
        for start in range(0, len(columns), COLUMNS)
    )
    return largest_of_blocks(blocks, len(weights), items)


@dataclass(frozen=True)
class Columns:
    """Weights of some items, transposed.

    Attributes:
        head: float32 (c × h), what the first h history items say of each.
        tail: float32 csr (c × t), what the others say; nothing where it is not stored.
    """

    head: np.ndarray
    tail: sparse.csr_matrix

    def scaled(self, factor: float) -> "Columns":
        """All weights times a factor."""
        return Columns(np.float32(factor) * self.head, (np.float32(factor) * self.tail).tocsr())

    def kept(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The `number` largest weights of each item, or all that there are.

        Returns:
            Places among the h + t history items, int64 (c × k), and weights float32 (c × k),
            −inf in the places of an item that has fewer.
        """
        places, values = _largest(self.head, number)
        if not self.tail.nnz:
            return places, values
        lengths = np.diff(self.tail.indptr)
        at = np.arange(self.tail.nnz) - np.repeat(self.tail.indptr[:-1], lengths)
        rows = np.repeat(np.arange(len(lengths)), lengths)
        more = np.full((len(lengths), lengths.max()), -np.inf, dtype=np.float32)
        more_places = np.zeros(more.shape, dtype=np.int64)
        more[rows, at] = self.tail.data
        more_places[rows, at] = self.tail.indices + self.head.shape[1]
        of_both, values = _largest(np.hstack([values, more]), number)
        return np.take_along_axis(np.hstack([places, more_places]), of_both, axis=1), values

    def times(self, counts: np.ndarray) -> np.ndarray:
        """Weights times a number of each history item, (h + t,), added up: (c,)."""
        head = self.head.shape[1]
        return self.head @ counts[:head] + self.tail @ counts[head:]


def _largest(values: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    places = np.argpartition(-values, min(number, values.shape[1]) - 1, axis=1)[:, :number]
    return places, np.take_along_axis(values, places, axis=1)


@dataclass(frozen=True)
class Histories:
    """The h + t history items that weights are of.

    Attributes:
        rows: int64 (h + t,), the row of the result that each place in `Columns` stands for.
        counts: int64 (h + t,), how many histories have the item of each place.
    """

    rows: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True)
class Largest:
    """What is kept of the weights of some items.

    Attributes:
        items: int64 (c,), which.
        values: float32 (k,), weights.
        rows: int32 (k,), the rows of the result where they lie.
        lengths: int64 (c,), how many of them are of each item; those of an item lie together.
        rest: float32 (c,), the mean of the other weights of each item.
    """

    items: np.ndarray
    values: np.ndarray
    rows: np.ndarray
    lengths: np.ndarray
    rest: np.ndarray

    @classmethod
    def of(
        cls, items: np.ndarray, weights: Columns, histories: Histories, number: int
    ) -> "Largest":
        """The largest weights of some items.

        Args:
            items: int64 (c,), which.
            weights: theirs.
            histories: what they are of.
            number: how many weights of each item, at least 1.
        """
        counts = histories.counts
        places, found = weights.kept(number)
        there = np.isfinite(found)
        of_kept = np.where(there, counts[places], 0)
        said = weights.times(counts) - (np.where(there, found, 0) * of_kept).sum(axis=1)
        others = counts.sum() - of_kept.sum(axis=1)
        rest = np.divide(said, others, out=np.zeros(len(items)), where=others > 0)
        rest = rest.astype(np.float32)
        found = found - rest[:, None]
        there &= found != 0
        return cls(
            items,
            found[there],
            histories.rows[places[there]].astype(np.int32),
            there.sum(axis=1),
            rest,
        )


def largest_of_blocks(
    blocks: Iterable[Largest], history_items: int, items: int
) -> tuple[sparse.csr_matrix, np.ndarray]:
    """`largest_of_items` of weights that come a few items at a time.

    Args:
        blocks: what is kept of the weights of some items.
        history_items: how many history items there are.
        items: how many items there are.
    """
    values, rows, lengths, own = [], [], [], []
    rest = np.zeros(items, dtype=np.float32)
    for block in blocks:
        rest[block.items] = block.rest
        values.append(block.values)
        rows.append(block.rows)
        lengths.append(block.lengths)
        own.append(block.items)
    if not values:
        return sparse.csr_matrix((history_items, items), dtype=np.float32), rest
    # By columns as they came and then by rows: as coordinates it would take twice the memory.
    starts = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
    order = np.concatenate(own).astype(np.int32)
    parts = (_joined(values), _joined(rows), starts)
    by_row = sparse.csc_matrix(parts, shape=(history_items, len(order))).tocsr()
    del parts
    found = (by_row.data, order[by_row.indices], by_row.indptr)
    weights = sparse.csr_matrix(found, shape=(history_items, items))
    weights.sort_indices()
    return weights, rest


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    """Arrays one after the other, and their list emptied."""
    joined = np.concatenate(parts)
    parts.clear()
    return joined


def kept_number(items: int, available: int | None = None) -> int:
    """How many weights of an item are kept where there are so many items.

    Args:
        items: how many there are.
        available: bytes of memory; None where that is of no matter.
    """
    number = min(MAX_KEPT, MAX_WEIGHTS // items)
    if available is not None:
        # In steps, so that a little memory more or less keeps as many.
        of_memory = int(KEPT_SHARE * available) // (BYTES_WHILE_KEPT * items)
        number = min(number, of_memory // KEPT_STEP * KEPT_STEP)
    return max(MIN_KEPT, number)


def whole(weights: np.ndarray, columns: np.ndarray, items: int) -> np.ndarray:
    """Weights (h × c) between history items and the items `columns`, as float32 (h × items)."""
    if len(columns) == items:
        return weights
    widened = np.zeros((len(weights), items), dtype=np.float32)
    widened[:, columns] = weights
    return widened


def weight_arrays(
    weights: Weights, history_items: np.ndarray, rest: np.ndarray | None = None
) -> Arrays:
    """Item-item weights as arrays to keep.

    Of many, each takes four bytes: they are scaled by a power of two, so that the largest is as
    large as float16 holds. Nothing is lost but digits, and no small weight becomes 0.
    """
    arrays: Arrays = {"history_items": history_items.astype(np.int64)}
    if rest is not None:
        arrays["rest"] = rest
    if isinstance(weights, np.ndarray):
        return arrays | {"weights": weights}
    weights.sort_indices()
    items = weights.shape[1]
    if weights.nnz * BYTES_OF_WEIGHT <= 4 * SMALL_CELLS:
        return arrays | {
            "weights": weights.data,
            "weight_items": weights.indices,
            "weight_starts": weights.indptr.astype(np.int64),
            "items": np.array([items], dtype=np.int64),
        }
    largest = float(np.abs(weights.data).max(initial=0))
    scale = 2.0 ** np.floor(np.log2(LARGEST_HALF / largest)) if largest else 1.0
    return arrays | {
        "weights": (weights.data * np.float32(scale)).astype(np.float16),
        "scale": np.array([scale], dtype=np.float64),
        "weight_items": weights.indices.astype(np.uint16 if items <= 1 << 16 else np.int32),
        "weight_starts": weights.indptr.astype(np.int64),
        "items": np.array([items], dtype=np.int64),
    }


def model_of(
    arrays: Arrays, recency_power: float = 0.0, prior: np.ndarray | None = None
) -> ItemWeightsModel:
    """The model of what `weight_arrays` made."""
    weights: Weights = arrays["weights"]
    if "weight_starts" in arrays:
        values = np.asarray(weights, dtype=np.float32)
        if "scale" in arrays:
            values = values / np.float32(arrays["scale"][0])
        weights = sparse.csr_matrix(
            (values, arrays["weight_items"].astype(np.int32, copy=False), arrays["weight_starts"]),
            shape=(len(arrays["history_items"]), int(arrays["items"][0])),
        )
    return ItemWeightsModel(
        weights, arrays["history_items"], recency_power, prior, arrays.get("rest")
    )
