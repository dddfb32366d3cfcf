"""The transformer of `sequential`: its formula, for NumPy and for torch, and the model that scores.

Kang & McAuley: Self-Attentive Sequential Recommendation, ICDM 2018; with normalisation before each
part of a block rather than after it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from recsys_dagster.compute.blocks import once
from recsys_dagster.steps.models.base import NOT_RANKED, Arrays, UserBlock
from recsys_dagster.steps.models.denoiser import silu
from recsys_dagster.steps.models.sequences import Sequences, padded

Array = Any
"""A NumPy array or a torch tensor."""
NORM_EPSILON = 1e-5
TOKENS = 1 << 13
"""Places of histories that are worked on at a time."""
MAX_EXPLAINED = 20
"""Items of a history that it is looked at without: each takes as long as a score."""
GROUPS = 16
"""So many times that are laid out before."""


def encoded(
    parts: Mapping[str, Array],
    vectors: Array,
    asked: Array,
    xp: Any,
    silu: Callable[[Array], Array],
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
        silu: the activation.
        dropped: dropout in training.

    Returns:
        (b × q × d).
    """
    device, width = vectors.device, vectors.shape[-1]
    rows = xp.arange(len(vectors), device=device)[:, None]
    hidden = dropped(vectors * width**0.5 + parts["places"][: vectors.shape[1]])
    everywhere = xp.arange(vectors.shape[1], device=device)
    blocks = len(parts["query"])
    for block in range(blocks):
        own = asked if block == blocks - 1 else everywhere[None, :]
        normed = normalised(
            hidden, parts["attention_scale"][block], parts["attention_shift"][block]
        )
        hidden, queries = hidden[rows, own], normed[rows, own] @ parts["query"][block]
        likeness = queries @ (normed @ parts["key"][block]).swapaxes(1, 2) / width**0.5
        until_then = everywhere[None, None, :] <= own[:, :, None]
        likeness = xp.where(until_then, likeness, -xp.inf)
        shares = xp.exp(likeness - xp.amax(likeness, -1)[..., None])
        shares = dropped(shares / shares.sum(-1)[..., None])
        seen = shares @ (normed @ parts["value"][block]) @ parts["output"][block]
        hidden = hidden + dropped(seen)
        normed = normalised(hidden, parts["forward_scale"][block], parts["forward_shift"][block])
        inner = normed @ parts["forward_in"][block] + parts["forward_in_bias"][block]
        inner = dropped(silu(inner))
        outer = inner @ parts["forward_out"][block] + parts["forward_out_bias"][block]
        hidden = hidden + dropped(outer)
    return normalised(hidden, parts["last_scale"], parts["last_shift"])


def normalised(values: Array, scale: Array, shift: Array) -> Array:
    """Layer normalisation of the last axis (Ba, Kiros & Hinton, 2016)."""
    centred = values - values.mean(-1)[..., None]
    return centred / ((centred * centred).mean(-1)[..., None] + NORM_EPSILON) ** 0.5 * scale + shift


@dataclass(frozen=True)
class SequentialModel:
    """Scores h·Eᵀ + x·B, with h what the transformer says at the end of a history.

    x is the recency of a history's items, and B what came after what. An item that nothing was
    learned of is lent the scores of the items that its text is near to, and their vectors where a
    history has it.

    Attributes:
        parts: the parameters, of which `items` are E, float32 (n × d).
        steps: B, csr (n × n).
        columns: int64 (n + m,), the items that positions stand for: those that were learned of,
            and cold ones.
        shares: w, csr (m × n), how much each cold item is lent by each of the others.
    """

    parts: Arrays
    steps: sparse.csr_matrix
    columns: np.ndarray
    shares: sparse.csr_matrix

    def score(self, block: UserBlock) -> np.ndarray:
        """Users of whose history nothing is known are not ranked, nor are such items."""
        scores = np.full(block.positives.shape, NOT_RANKED, dtype=np.float32)
        recency = block.recency[:, self.columns]
        known = np.flatnonzero(np.diff(recency.indptr))
        if len(known):
            warm = self.warm_scores(recency[known])
            both = np.concatenate([warm, (self.shares @ warm.T).T], axis=1)
            scores[np.ix_(known, self.columns)] = both
        return scores

    def warm_scores(self, recency: sparse.csr_matrix) -> np.ndarray:
        """Scores of items that were learned of, float32 (b × n).

        Args:
            recency: csr (b × n + m), by position, no row empty.
        """
        sequences = Sequences.of(recency)
        said = self.said(sequences.newest(np.arange(recency.shape[0]), self.max_length))
        scores = said @ np.asarray(self.parts["items"]).T
        if self.steps.nnz:
            scores += (recency @ self._lent @ self.steps).toarray()
        return scores

    def contributions(self, block: UserBlock, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """How much lower the score would be without the item.

        What the transformer says is asked of the newest 20, in the window of `max_length` items as
        it is; before them, what steps say is all there is.
        """
        entries = block.entries(rows)
        parts = np.zeros(len(entries), dtype=np.float32)
        position = np.full(block.positives.shape[1], -1)
        position[self.columns] = np.arange(len(self.columns))
        sequences = Sequences.of(block.recency[:, self.columns])
        users, first = np.unique(rows, return_index=True)
        ends = np.append(first[1:], len(rows))
        offsets = np.concatenate([[0], np.cumsum(block.lengths[rows])])
        for own in _together(np.minimum(sequences.lengths[users], self.max_length)):
            lost = self._vectors_lost(sequences.newest(users[own], self.max_length))
            for user, start, end, vectors in zip(
                users[own], first[own], ends[own], lost, strict=True
            ):
                whole = slice(*sequences.starts[user : user + 2])
                history, asked = sequences.items[whole], position[items[start:end]]
                changes = self._steps_lost(history, sequences.later[whole], asked)
                changes[len(history) - len(vectors) :] += vectors @ self._vectors[asked].T
                changes[:, asked < 0] = 0
                place = np.full(len(self.columns) + 1, -1)
                place[history] = np.arange(len(history))
                liked = block.positives.indices[entries[offsets[start] : offsets[start + 1]]]
                at = place[position[liked]]
                parts[offsets[start] : offsets[end]] = np.where(
                    at >= 0, changes.T[:, at], 0
                ).ravel()
        return parts

    def said(self, sequences: list[np.ndarray]) -> np.ndarray:
        """H at the end of each sequence of positions, float32 (b × d); of an empty one it is 0."""
        found = np.zeros((len(sequences), self._vectors.shape[1]), dtype=np.float32)
        for own in _of_like_length(sequences):
            matrix = padded([sequences[place] for place in own])
            newest = (matrix >= 0).sum(axis=1)[:, None] - 1
            found[own] = encoded(self.parts, self._vectors[matrix], newest, np, silu)[:, 0]
        return found

    @property
    def max_length(self) -> int:
        """How many of a history's items are looked at."""
        return len(self.parts["places"])

    def _vectors_lost(self, histories: list[np.ndarray]) -> list[np.ndarray]:
        """What h loses without each of a history's newest items, float32 (those × d) each."""
        numbers = [min(len(history), MAX_EXPLAINED) for history in histories]
        without = [
            np.delete(history, place)
            for history, number in zip(histories, numbers, strict=True)
            for place in range(len(history) - number, len(history))
        ]
        said, ends = self.said([*histories, *without]), np.cumsum(numbers)
        each = np.split(said[len(histories) :], ends[:-1])
        return [whole - left for whole, left in zip(said, each, strict=False)]

    def _steps_lost(self, history: np.ndarray, later: np.ndarray, asked: np.ndarray) -> np.ndarray:
        """x·B less x·B without each item of a history, float32 (its length × asked).

        What came before an item is more recent where that is gone.
        """
        if not self.steps.nnz:
            return np.zeros((len(history), len(asked)), dtype=np.float32)
        weights = (self._lent[history] @ self.steps @ self._lent[asked].T).toarray()
        without = 1 / (1 + later[None, :] - (later[None, :] > later[:, None]))
        np.fill_diagonal(without, 0)
        return ((1 / (1 + later) - without) @ weights).astype(np.float32)

    @once
    def _lent(self) -> sparse.csr_matrix:
        """Which items each item goes by, csr (n + m × n): by itself, or by those that lend."""
        itself = sparse.identity(len(self.parts["items"]), dtype=np.float32, format="csr")
        return sparse.csr_matrix(sparse.vstack([itself, self.shares]))

    @once
    def _vectors(self) -> np.ndarray:
        """E, and what cold items are lent of it, float32 (n + m × d)."""
        return self._lent @ np.asarray(self.parts["items"])


def _together(lengths: np.ndarray) -> Iterator[np.ndarray]:
    """Places of histories that are worked on at a time: each is looked at without some items."""
    places = np.cumsum(lengths * np.minimum(lengths, MAX_EXPLAINED))
    numbers = places // (TOKENS * GROUPS)
    yield from np.split(np.arange(len(lengths)), np.flatnonzero(np.diff(numbers)) + 1)


def _of_like_length(sequences: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Places of sequences, int64, in groups that waste little memory on padding."""
    lengths = np.array([len(each) for each in sequences], dtype=np.int64)
    order = np.argsort(lengths, kind="stable")
    start = int((lengths == 0).sum())
    while start < len(order):
        # As many as fit if all are as long as the last; the first guess is the longest so far.
        end = start + max(1, TOKENS // int(lengths[order[start]]))
        while end > start + 1 and (end - start) * lengths[order[min(end, len(order)) - 1]] > TOKENS:
            end = start + max(1, (end - start) // 2)
        yield order[start:end]
        start = end
