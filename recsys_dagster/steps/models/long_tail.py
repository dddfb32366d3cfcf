"""Linear models of more items than a dense inverse has memory or time for.

The items are parted by their positives: the head, which most interactions are with, and the long
tail. Weights B solve (XᵀX + Λ) B = XᵀX + λ_E C, but that no item stands for itself; one step of
block Gauss-Seidel on these equations takes the head first and the tail after it:

    B_HH  as ever, of the head alone
    b_Hi = P_H (G_Hi + λ_E C_Hi)                          what the head says of i in the tail
    b_ji = (G_ji + λ_E C_ji − G_jH b_Hi) / (G_jj + Λ_j)   what j in the tail says of any i

with G = XᵀX and P_H = (G_HH + Λ_H)⁻¹. The last is worked out where i and j have users in common or
near texts. GF-CF needs no inverse: RᵀR is sparse, and its low-pass part is a product of two thin
matrices. Columns come in blocks, and of each only the largest weights stay: memory goes with the
square of the head and with what is kept.
"""

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import sparse

from recsys_dagster.compute.blocks import LOCAL, Compute
from recsys_dagster.steps.models.base import MAX_EXACT_PAIRS, Arrays, Evidence
from recsys_dagster.steps.models.gram import regularised_gram_inverse
from recsys_dagster.steps.models.item_weights import (
    Columns,
    Histories,
    Largest,
    kept_number,
    largest_of_blocks,
    weight_arrays,
)
from recsys_dagster.steps.models.pairs import (
    most_of_rows,
    pair_products,
    stored_values,
)
from recsys_dagster.steps.models.semantic_weights import SemanticFactors, weights_from_inverse
from recsys_dagster.steps.similarity.nearest import index_for, top_k
from recsys_dagster.steps.similarity.space import Space

BLOCK = 256
"""Items whose weights are worked out together."""
MAX_TOGETHER = 256
"""Items of the tail that are asked about an item for the users in common: those with most."""
NEIGHBOURS = 100
"""Items of the tail that are asked about an item for their texts."""
SAMPLE_COLUMNS = 4_096
SIGNS = 20
"""How often it is said how far the tail is."""
HEAD = "head"
"""The array with how many items were learned of densely."""


@dataclass(frozen=True)
class Parted:
    """The items that weights are learned of.

    Attributes:
        head: int64 (h,), positions, ascending.
        tail: int64 (t,), the others, ascending.
    """

    head: np.ndarray
    tail: np.ndarray

    @classmethod
    def of(cls, positives: sparse.csr_matrix, size: int) -> "Parted":
        """The items with most positives, of equals the earlier ones, and the others.

        Args:
            positives: X, csr (users × n).
            size: of the head.
        """
        counts = np.bincount(positives.indices, minlength=positives.shape[1])
        order = np.argsort(-counts, kind="stable")
        return cls(np.sort(order[:size]), np.sort(order[size:]))


class Linear(Protocol):
    """Item-item weights that are worked out a few columns at a time."""

    def of_head(self, columns: np.ndarray) -> np.ndarray:
        """What the head says of items, float32 (c × h).

        Args:
            columns: int64 (c,), the items.
        """
        ...

    def of_pairs(
        self, rows: np.ndarray, tail: np.ndarray, columns: np.ndarray, head_says: np.ndarray, /
    ) -> np.ndarray:
        """What single items of the tail say of items, float32 (p,).

        Args:
            rows: int64 (p,), which of `columns`, ascending.
            tail: int64 (p,), which of the tail.
            columns: int64 (c,), the items.
            head_says: what `of_head` gave of them.
        """
        ...


class Autoencoder:
    """L3AE's weights; EASE's where texts have no dimension."""

    def __init__(
        self,
        positives: sparse.csr_matrix,
        texts: SemanticFactors,
        parted: Parted,
        regularisation: float,
        dropout: float,
        semantic_weight: float,
        compute: Compute = LOCAL,
    ) -> None:
        """Learn the head.

        Args:
            positives: X, csr (users × n), weighted as the fit asks for.
            texts: of the n items.
            parted: head and tail.
            regularisation: λ > 0.
            dropout: p, see `regularised_gram_inverse`.
            semantic_weight: λ_E ≥ 0.
            compute: does the blocks of XᵀX.
        """
        self._parted = parted
        self._columns = positives.tocsc()
        self._head, self._tail = positives[:, parted.head], positives[:, parted.tail]
        self._inverse = regularised_gram_inverse(self._head, regularisation, dropout, compute)
        of_head = texts.some(parted.head)
        self._within = weights_from_inverse(self._inverse, of_head, semantic_weight)
        self._place = np.full(positives.shape[1], -1)
        self._place[parted.head] = np.arange(len(parted.head))
        self._solved, self._semantic = texts.solved, self._inverse @ of_head.solved
        self._scaled = texts.vectors * (semantic_weight * texts.scales).astype(np.float32)[:, None]
        self._together = (self._tail.T @ self._head).tocsr()
        squares = np.asarray(self._tail.multiply(self._tail).sum(axis=0)).ravel()
        self._divisors = (squares / (1 - dropout) + regularisation).astype(np.float32)

    def of_head(self, columns: np.ndarray) -> np.ndarray:
        """See `Linear`."""
        found = np.empty((len(columns), len(self._inverse)), dtype=np.float32)
        place = self._place[columns]
        own = place >= 0
        found[own] = self._within[:, place[own]].T
        rare = columns[~own]
        if len(rare):
            found[~own] = (self._columns[:, rare].T.tocsr() @ self._head) @ self._inverse
            found[~own] += self._scaled[rare] @ self._semantic.T
        return found

    def of_pairs(
        self, rows: np.ndarray, tail: np.ndarray, columns: np.ndarray, head_says: np.ndarray
    ) -> np.ndarray:
        """See `Linear`."""
        found = stored_values(self._columns[:, columns].T.tocsr() @ self._tail, rows, tail)
        found += pair_products(self._solved, self._parted.tail[tail], self._scaled[columns], rows)
        found -= pair_products(self._together, tail, head_says, rows)
        return found / self._divisors[tail]


class Together:
    """Weights of several linear models, added up, and which items of the tail are asked."""

    def __init__(
        self,
        positives: sparse.csr_matrix,
        parted: Parted,
        shares: Sequence[tuple[float, Linear]],
        item_vectors: np.ndarray | None = None,
        compute: Compute = LOCAL,
    ) -> None:
        """Find the neighbours by text.

        Args:
            positives: X, csr (users × n), of ones.
            parted: head and tail.
            shares: of each model, and the model.
            item_vectors: float32 (n × d); None where texts say nothing.
            compute: does the blocks of neighbours.
        """
        self._columns, self._tail = positives.tocsc(), positives[:, parted.tail]
        self.parted, self.shares = parted, shares
        self._near: np.ndarray | None = None
        if item_vectors is not None and len(parted.tail):
            space = Space.of(item_vectors, "cosine", centre=False)
            queries, items = space.project(item_vectors), space.project(item_vectors[parted.tail])
            index = index_for(queries, items, NEIGHBOURS, "cosine", MAX_EXACT_PAIRS)
            near = top_k(queries, items, NEIGHBOURS, "cosine", index=index, compute=compute)
            self._near = near.positions

    @property
    def items(self) -> int:
        """How many items weights are learned of."""
        return self._columns.shape[1]

    def with_shares(self, shares: Sequence[tuple[float, Linear]]) -> "Together":
        """The same items, other models."""
        other = copy(self)
        other.shares = shares
        return other

    def of(self, columns: np.ndarray) -> Columns:
        """The weights of items, int64 (c,)."""
        rows, tail = self._asked(columns)
        head = np.zeros((len(columns), len(self.parted.head)), dtype=np.float32)
        pairs = np.zeros(len(rows), dtype=np.float32)
        for share, model in self.shares:
            said = model.of_head(columns)
            pairs += np.float32(share) * model.of_pairs(rows, tail, columns, said)
            head += np.float32(share) * said
        shape = (len(columns), len(self.parted.tail))
        return Columns(head, sparse.csr_matrix((pairs, (rows, tail)), shape=shape))

    def _asked(self, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pairs of a column and an item of the tail that says something of it, by column."""
        together = (self._columns[:, columns].T.tocsr() @ self._tail).tocsr()
        kept = most_of_rows(together, MAX_TOGETHER)
        rows, tail = kept.nonzero()
        if self._near is not None:
            near = self._near[columns]
            rows = np.concatenate([rows, np.repeat(np.arange(len(columns)), near.shape[1])])
            tail = np.concatenate([tail, near.ravel()])
        pairs = np.unique(rows.astype(np.int64) * max(1, len(self.parted.tail)) + tail)
        rows, tail = np.divmod(pairs, max(1, len(self.parted.tail)))
        other = self.parted.tail[tail] != columns[rows] if len(tail) else np.empty(0, dtype=bool)
        return rows[other], tail[other]


def deviation(model: Linear, positives: sparse.csr_matrix, together: Together) -> float:
    """The standard deviation of scores x·B of some users for some items.

    Args:
        model: whose weights they are.
        positives: X, csr (users × n), of the users who are looked at.
        together: says which items of the tail are asked.
    """
    head, tail = positives[:, together.parted.head], positives[:, together.parted.tail]
    scores = [
        head @ found.head.T + (tail @ found.tail.T).toarray() for found in _sampled(model, together)
    ]
    return float(np.std(np.hstack(scores), dtype=np.float64))


def mean_largest(model: Linear, together: Together) -> float:
    """The mean over some items of the largest that is said of one, by size."""
    found = [
        np.maximum(
            np.abs(columns.head).max(axis=1, initial=0),
            abs(columns.tail).max(axis=1).toarray().ravel() if columns.tail.nnz else 0,
        )
        for columns in _sampled(model, together)
    ]
    return float(np.concatenate(found).mean())


def _sampled(model: Linear, together: Together) -> Iterator[Columns]:
    """What a model says of some items, evenly spread."""
    alone, items = together.with_shares([(1.0, model)]), together.items
    columns = np.unique(np.linspace(0, items - 1, min(items, SAMPLE_COLUMNS), dtype=np.int64))
    for block in blocks_of(columns):
        yield alone.of(block)


def blocks_of(columns: np.ndarray) -> Iterator[np.ndarray]:
    """Some columns at a time."""
    for start in range(0, len(columns), BLOCK):
        yield columns[start : start + BLOCK]


def long_tail_arrays(
    together: Together,
    positives: sparse.csr_matrix,
    learned: np.ndarray,
    evidence: Evidence,
    lent: Iterable[tuple[np.ndarray, Columns]] = (),
) -> Arrays:
    """What is kept of weights between items of head and tail.

    Args:
        together: the models.
        positives: X, csr (users × n), of ones.
        learned: int64 (n,), positions of the n items among all.
        evidence: of all items, with the trainer who is told how far it is.
        lent: columns of other items, by their positions among all.
    """
    parted, trainer, items = together.parted, evidence.trainer, evidence.items
    rows = np.concatenate([parted.head, parted.tail])
    counts = np.bincount(positives.indices, minlength=len(learned))[rows]
    histories, number = Histories(rows, counts), kept_number(items, trainer.available_bytes())

    def blocks() -> Iterator[Largest]:
        began, done, said = trainer.seconds(), 0, 0
        kept = _Kept(together, learned, histories, number)
        columns = blocks_of(np.arange(len(learned)))
        for found in trainer.compute.map(_largest_of, kept, columns, "weights of items"):
            yield found
            done += len(found.items)
            if done * SIGNS // len(learned) > said:
                said = done * SIGNS // len(learned)
                left = (trainer.seconds() - began) * (len(learned) - done) / done
                trainer.say(
                    f"weights of {done:,} of {len(learned):,} items, {len(parted.head):,} of them "
                    f"learned of densely: {left:.0f} s left"
                )
        for places, found in lent:
            yield Largest.of(places, found, histories, number)

    weights, rest = largest_of_blocks(blocks(), len(rows), items)
    return weight_arrays(weights, learned, rest) | {HEAD: np.array([len(parted.head)])}


@dataclass(frozen=True)
class _Kept:
    """What the weights of all items are worked out from.

    Attributes:
        together: the models.
        learned: int64 (n,), positions of the n items among all.
        histories: what weights are of.
        number: of the weights of an item that are kept.
    """

    together: Together
    learned: np.ndarray
    histories: Histories
    number: int


def _largest_of(kept: _Kept, columns: np.ndarray) -> Largest:
    weights = kept.together.of(columns)
    return Largest.of(kept.learned[columns], weights, kept.histories, kept.number)


def about(arrays: Arrays) -> dict[str, int]:
    """What a manifest says of weights that were learned of a part of the items densely."""
    if HEAD not in arrays:
        return {}
    return {"head": int(arrays[HEAD][0]), "learned": len(arrays["history_items"])}
