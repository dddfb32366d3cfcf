"""The transformer of `sequential`: its formula, for NumPy and for torch, and the model that scores.

Kang & McAuley: Self-Attentive Sequential Recommendation, ICDM 2018; with normalisation before each
part of a block rather than after it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from recsys_dagster.steps.models.base import NOT_RANKED, Arrays, UserBlock
from recsys_dagster.steps.models.sequences import Sequences, padded

Array = Any
"""A NumPy array or a torch tensor."""
NORM_EPSILON = 1e-5
TOKENS = 1 << 13
"""Places of histories that are worked on at a time."""


def encoded(
    parts: Mapping[str, Array],
    vectors: Array,
    asked: Array,
    xp: Any,
    dropped: Callable[[Array], Array] = lambda values: values,
) -> Array:
    """What histories say at some of their places: a vector to multiply with those of items.

    h₀ = drop(√d·E + P); in each block h' = h + drop(softmax(QKᵀ/√d over what came until then)·V·O)
    of the normalised h, and h'' = h' + drop(silu(h'F + f)·G + g) of the normalised h'; and the last
    h normalised. With one head, √d with E as Vaswani et al. have it (NeurIPS 2017).

    Args:
        parts: the parameters, as `first_parts` of `sequential` names them.
        vectors: E of each place, (b × t × d), from the oldest on; what stands after the newest is
            never looked at.
        asked: int (b × q), ascending, the places that are asked for.
        xp: the module `numpy` or `torch`.
        dropped: dropout in training.

    Returns:
        (b × q × d).
    """
    rows, width = xp.arange(len(vectors))[:, None], vectors.shape[-1]
    hidden = dropped(vectors * width**0.5 + parts["places"][: vectors.shape[1]])
    everywhere = xp.arange(vectors.shape[1])
    blocks = len(parts["query"])
    for block in range(blocks):
        own = asked if block == blocks - 1 else everywhere[None, :]
        normed = normalised(
            hidden, parts["attention_scale"][block], parts["attention_shift"][block]
        )
        hidden, queries = hidden[rows, own], normed[rows, own] @ parts["query"][block]
        likeness = queries @ (normed @ parts["key"][block]).swapaxes(1, 2) / width**0.5
        until_then = everywhere[None, None, :] <= own[:, :, None]
        shares = xp.exp(xp.where(until_then, likeness - xp.amax(likeness, -1)[..., None], -xp.inf))
        shares = dropped(shares / shares.sum(-1)[..., None])
        seen = shares @ (normed @ parts["value"][block]) @ parts["output"][block]
        hidden = hidden + dropped(seen)
        normed = normalised(hidden, parts["forward_scale"][block], parts["forward_shift"][block])
        inner = normed @ parts["forward_in"][block] + parts["forward_in_bias"][block]
        inner = dropped(inner / (1 + xp.exp(-inner)))
        outer = inner @ parts["forward_out"][block] + parts["forward_out_bias"][block]
        hidden = hidden + dropped(outer)
    return normalised(hidden, parts["last_scale"], parts["last_shift"])


def normalised(values: Array, scale: Array, shift: Array) -> Array:
    """Layer normalisation of the last axis (Ba, Kiros & Hinton, 2016)."""
    centred = values - values.mean(-1)[..., None]
    return centred / ((centred * centred).mean(-1)[..., None] + NORM_EPSILON) ** 0.5 * scale + shift


@dataclass(frozen=True)
class SequentialModel:
    """Scores h·Eᵀ, with h what the transformer says at the end of a history.

    An item that nothing was learned of is lent the vectors of the items that its text is near to.

    Attributes:
        parts: the parameters, of which `items` are E, float32 (n × d).
        columns: int64 (n + m,), the items that positions stand for: those that were learned of,
            and cold ones.
        shares: w, csr (m × n), how much each cold item is lent by each of the others.
    """

    parts: Arrays
    columns: np.ndarray
    shares: sparse.csr_matrix

    def score(self, block: UserBlock) -> np.ndarray:
        """h·Eᵀ; users of whose history nothing is known are not ranked, nor are such items."""
        scores = np.full(block.positives.shape, NOT_RANKED, dtype=np.float32)
        sequences = Sequences.of(block.recency[:, self.columns])
        known = np.flatnonzero(sequences.lengths)
        if len(known):
            said = self.said(sequences.newest(known, self.max_length))
            scores[np.ix_(known, self.columns)] = said @ self._vectors.T
        return scores

    def contributions(self, block: UserBlock, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """How much lower the score would be without the history item: h·E_i − h_without·E_i.

        Items before the newest `max_length` have no part in it.
        """
        entries = block.entries(rows)
        parts = np.zeros(len(entries), dtype=np.float32)
        position = np.full(block.positives.shape[1], -1)
        position[self.columns] = np.arange(len(self.columns))
        sequences = Sequences.of(block.recency[:, self.columns])
        users, first = np.unique(rows, return_index=True)
        ends = np.append(first[1:], len(rows))
        lengths = block.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        for user, start, end in zip(users, first, ends, strict=True):
            (history,) = sequences.newest(np.array([user]), self.max_length)
            asked = position[items[start:end]]
            if not len(history):
                continue
            whole, without = self.said([history])[0], self.without_each(history)
            changes = (whole - without) @ self._vectors[asked].T
            changes[:, asked < 0] = 0
            place = np.full(len(self.columns) + 1, -1)
            place[history] = np.arange(len(history))
            own = position[block.positives.indices[entries[offsets[start] : offsets[start + 1]]]]
            found = np.where(place[own] >= 0, changes.T[:, place[own]], 0)
            parts[offsets[start] : offsets[end]] = found.ravel()
        return parts

    def without_each(self, history: np.ndarray) -> np.ndarray:
        """H of a history without each of its items, float32 (h × d); of none it is 0."""
        if len(history) == 1:
            return np.zeros((1, self._vectors.shape[1]), dtype=np.float32)
        kept = ~np.eye(len(history), dtype=bool)
        return self.said([history[own] for own in kept])

    def said(self, sequences: list[np.ndarray]) -> np.ndarray:
        """H at the end of each sequence of positions, none of them empty; float32 (b × d)."""
        found = np.empty((len(sequences), self._vectors.shape[1]), dtype=np.float32)
        for own in _of_like_length(sequences):
            matrix = padded([sequences[place] for place in own])
            newest = (matrix >= 0).sum(axis=1)[:, None] - 1
            with np.errstate(over="ignore"):  # exp is inf where silu is 0
                found[own] = encoded(self.parts, self._vectors[matrix], newest, np)[:, 0]
        return found

    @property
    def max_length(self) -> int:
        """How many of a history's items are looked at."""
        return len(self.parts["places"])

    @cached_property
    def _vectors(self) -> np.ndarray:
        """E, and what cold items are lent of it, float32 (n + m × d)."""
        items = np.asarray(self.parts["items"])
        return np.concatenate([items, self.shares @ items])


def _of_like_length(sequences: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Places of sequences, int64, in groups that waste little memory on padding."""
    lengths = np.array([len(each) for each in sequences])
    order = np.argsort(lengths, kind="stable")
    start = 0
    while start < len(order):
        # As many as fit if all are as long as the last; the first guess is the longest so far.
        end = start + max(1, TOKENS // int(lengths[order[start]]))
        while end > start + 1 and (end - start) * lengths[order[min(end, len(order)) - 1]] > TOKENS:
            end = start + max(1, (end - start) // 2)
        yield order[start:end]
        start = end
