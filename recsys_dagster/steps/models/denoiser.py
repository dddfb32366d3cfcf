"""The denoiser of `neural`: its formula, for NumPy and for torch, and the model that scores.

Zhu et al.: Graph Signal Diffusion Model for Collaborative Filtering, SIGIR 2024.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from recsys_dagster.compute.blocks import once
from recsys_dagster.steps.models.base import NOT_RANKED, Arrays, UserBlock
from recsys_dagster.steps.models.item_weights import ItemWeightsModel

Array = Any
"""A NumPy array or a torch tensor."""
ENTRIES = 1 << 16
"""Pairs of a history item and a recommended one that are explained together."""


def silu(values: np.ndarray) -> np.ndarray:
    """The product v / (1 + exp(−v)), element by element, of float32."""
    with np.errstate(over="ignore"):  # exp is inf where the result is 0
        return values / (1 + np.exp(-values))


def mixed(
    name: str,
    channels: list[Array],
    parts: Mapping[str, Array],
    step: Array,
    silu: Callable[[Array], Array],
) -> Array:
    """A tiny network that mixes channels element by element: Σ_k o_k·silu(w_k·channels + b_k) + o.

    Args:
        name: of the mixer.
        channels: (b × anything) each.
        parts: the parameters; b_k is of each step.
        step: of all, or int (b,), from 0.
        silu: the activation.
    """
    inner, outer = parts[f"{name}_in"], parts[f"{name}_out"]
    biases = parts[f"{name}_bias"][step]
    total = parts[f"{name}_rest"]
    for unit in range(len(outer)):
        hidden = biases[..., unit, None]
        for place, channel in enumerate(channels):
            hidden = hidden + inner[unit, place] * channel
        total = total + outer[unit] * silu(hidden)
    return total


def slopes(name: str, channels: list[np.ndarray], parts: Arrays, step: int) -> list[np.ndarray]:
    """How much `mixed` changes with each of its channels, element by element."""
    inner, outer, biases = parts[f"{name}_in"], parts[f"{name}_out"], parts[f"{name}_bias"][step]
    found = [np.zeros_like(channel) for channel in channels]
    for unit in range(len(outer)):
        hidden = biases[unit] + sum(
            inner[unit, place] * channel for place, channel in enumerate(channels)
        )
        with np.errstate(over="ignore"):
            gate = 1 / (1 + np.exp(-hidden))
        slope = outer[unit] * gate * (1 + hidden * (1 - gate))
        for place in range(len(channels)):
            found[place] += inner[unit, place] * slope
    return found


def decoded(
    signal: Array,
    history_code: Array,
    parts: Mapping[str, Array],
    step: Array,
    silu: Callable[[Array], Array],
) -> Array:
    """The scores of a code, mixed(z·E / n, c·E / |c|)·Eᵀ.

    Args:
        signal: z, (b × n).
        history_code: c·E / |c|, (b × d).
        parts: the parameters, with E as `items` (n × d).
        step: how far the signal is smoothed, of all or int (b,), from 0.
        silu: the activation.
    """
    items = parts["items"]
    codes = [(signal @ items) / items.shape[0], history_code]
    return mixed("code", codes, parts, step, silu) @ items.T


def smoothed_by(share: Array, signal: Array, smooth: Array) -> Array:
    """The signal x smoothed by a share a: x + a·(x·A − x)."""
    return signal + share * (smooth - signal)


def own_part(
    part: sparse.csr_matrix, whole: sparse.csr_matrix, masses: np.ndarray
) -> sparse.csr_matrix:
    """What c·A has of the user's own history: (c·r) r with r = |x|^-¼ x ∘ m, csr (b × n).

    A holds every pair of a history. Where it were not taken out, a history's hidden items would be
    found by themselves, and the graph be trusted for what it does not know of anybody else.

    Args:
        part: c, csr (b × n).
        whole: x, csr (b × n), the histories that c is of.
        masses: m, float32 (n,), with A = Σ r rᵀ over all histories.
    """
    own = whole.multiply(masses[None, :]).tocsr()
    lengths = np.maximum(np.diff(whole.indptr), 1).astype(np.float32)
    said = np.asarray(part.multiply(own).sum(axis=1)).ravel() / np.sqrt(lengths)
    own.data *= np.repeat(said, np.diff(own.indptr)).astype(np.float32)
    return own


@dataclass(frozen=True)
class DenoiserModel:
    """Scores a history by smoothing it, and taking the smoothing back step by step.

    What a signal was before it was smoothed is mixed(decoded, c, c·A, c·S), c·A without the
    history's own part in A. An item that nothing was learned of is lent decoded scores and graph
    of the items that its text is near to.

    Attributes:
        graph: A, the item-item graph that smooths, over the n items that were learned of.
        neighbours: S, csr (n × n + m), row j the similarities of the texts that j is near to.
        parts: the parameters, of which `items` are E, float32 (n × d); and `masses`, as `own_part`
            takes them.
        smoothing: a, how much the last step smooths; the others smooth in proportion.
        carried_share: of what a step leaves unexplained of its signal, which the next one begins
            with.
        columns: int64 (n + m,), the items that positions stand for: those that were learned of,
            and cold ones.
        shares: w, csr (m × n), how much each cold item is lent by each of the others.
    """

    graph: ItemWeightsModel
    neighbours: sparse.csr_matrix
    parts: Arrays
    smoothing: float
    carried_share: float
    columns: np.ndarray
    shares: sparse.csr_matrix

    def score(self, block: UserBlock) -> np.ndarray:
        """The signal after the last step, with what is carried over.

        Users of whose history nothing is known are not ranked, nor are items of which nothing is
        known.
        """
        histories = block.positives[:, self._learned]
        scores = np.full(block.positives.shape, NOT_RANKED, dtype=np.float32)
        known = np.flatnonzero(np.diff(histories.indptr))
        if len(known):
            scores[np.ix_(known, self.columns)] = self.score_histories(histories[known])
        return scores

    def score_histories(self, histories: sparse.csr_matrix) -> np.ndarray:
        """Scores, float32 (b × n + m), of histories, csr (b × n), none of them empty."""
        _, channels, signal = self._last(histories)
        found = mixed("score", channels, self.parts, 0, silu)
        carried, _ = self._carried(signal, found[:, : signal.shape[1]], 0)
        return found + self._with_lent(carried)

    def contributions(self, block: UserBlock, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """What history items add to the last step, to first order, the signal before it given.

        By the code s_i·Σ_d g_d E_jd E_id / |c|, by the graph t_i·A_ji and by texts u_i·S_ji, with
        g, s, t and u the slopes of the mixers where they are; of a cold item, E and A are what it
        is lent.
        """
        positions = np.full(block.positives.shape[1], -1)
        positions[self.columns] = np.arange(len(self.columns))
        users, of_pair = np.unique(rows, return_inverse=True)
        histories = block.positives[users][:, self._learned]
        known = np.flatnonzero(np.diff(histories.indptr))
        entries = block.entries(rows)
        parts = np.zeros(len(entries), dtype=np.float32)
        history = positions[block.positives.indices[entries]]
        pairs = np.repeat(np.arange(len(rows)), block.lengths[rows])
        item = positions[items][pairs]
        counted = np.flatnonzero((history >= 0) & (history < len(self._learned)) & (item >= 0))
        if not len(known):
            return parts
        row_of_user = np.full(len(users), -1)
        row_of_user[known] = np.arange(len(known))
        codes, channels, _ = self._last(histories[known])
        by_code = slopes("code", codes, self.parts, 0)[1] / histories[known].sum(axis=1)
        by_channel = slopes("score", channels, self.parts, 0)
        for start in range(0, len(counted), ENTRIES):
            own = counted[start : start + ENTRIES]
            user, j, i = row_of_user[of_pair[pairs[own]]], history[own], item[own]
            together = np.einsum(
                "ed,ed,ed->e", np.asarray(by_code)[user], self._vectors[j], self._vectors[i]
            )
            parts[own] = (
                by_channel[0][user, i] * together
                + by_channel[2][user, i] * self._graph_weights(j, i)
                + by_channel[3][user, i] * np.asarray(self.neighbours[j, i]).ravel()
            )
        return parts

    @property
    def _learned(self) -> np.ndarray:
        return self.columns[: len(self.parts["items"])]

    @once
    def _vectors(self) -> np.ndarray:
        """E, and what cold items are lent of it, float32 (n + m × d)."""
        items = np.asarray(self.parts["items"])
        return np.concatenate([items, self.shares @ items])

    def _graph_weights(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """A_ji, or Σ_k w_ik A_jk of cold items i; float32 (e,)."""
        items = len(self.parts["items"])
        found = np.zeros(len(rows), dtype=np.float32)
        warm, cold = np.flatnonzero(columns < items), np.flatnonzero(columns >= items)
        if len(warm):
            found[warm] = self.graph.weights_of(rows[warm], columns[warm])
        lent = self.shares[columns[cold] - items]
        if lent.nnz:
            lengths = np.diff(lent.indptr)
            weights = self.graph.weights_of(np.repeat(rows[cold], lengths), lent.indices)
            of_entry = np.repeat(np.arange(len(cold)), lengths)
            found[cold] = np.bincount(of_entry, weights * lent.data, minlength=len(cold))
        return found

    def _last(
        self, histories: sparse.csr_matrix
    ) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
        """What the mixers of the last step mix, and the signal that it begins with.

        Returns:
            (b × d) each, (b × n + m) each, and (b × n).
        """
        parts, steps = self.parts, len(self.parts["code_bias"])
        items, history = parts["items"], histories.toarray()
        code = (histories @ items) / np.diff(histories.indptr).astype(np.float32)[:, None]
        smooth = self.graph.times(histories)
        similar = (histories @ self.neighbours).toarray()
        signal = smoothed_by(self.smoothing, history, smooth)
        smooth = smooth - own_part(histories, histories, parts["masses"]).toarray()
        for step in range(steps - 1, 0, -1):
            channels = [decoded(signal, code, parts, step, silu), history, smooth]
            channels.append(similar[:, : len(items)])
            found = mixed("score", channels, parts, step, silu)
            carried, found_smooth = self._carried(signal, found, step)
            share = self.smoothing * step / steps
            signal = smoothed_by(share, found, found_smooth) + carried
        codes = [signal @ items / len(items), code]
        scores = self._with_lent(decoded(signal, code, parts, 0, silu))
        nobody = np.zeros((len(history), self.shares.shape[0]), dtype=np.float32)
        history = np.hstack([history, nobody])
        return codes, [scores, history, self._with_lent(smooth), similar], signal

    def _carried(
        self, signal: np.ndarray, found: np.ndarray, step: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """What is carried over of what a step leaves of its signal; and what it found, smoothed."""
        smooth = self.graph.times(found)
        share = self.smoothing * (step + 1) / len(self.parts["code_bias"])
        return self.carried_share * (signal - smoothed_by(share, found, smooth)), smooth

    def _with_lent(self, values: np.ndarray) -> np.ndarray:
        """Values of the items that were learned of, (b × n), and those lent to cold ones."""
        if not self.shares.shape[0]:
            return values
        return np.hstack([values, values @ self.shares.T])
