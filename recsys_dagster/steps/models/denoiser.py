"""The denoiser of `neural`: its formula, for NumPy and for torch, and the model that scores.

Zhu et al.: Graph Signal Diffusion Model for Collaborative Filtering, SIGIR 2024.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from recsys_dagster.steps.models.base import NOT_RANKED, Arrays, UserBlock
from recsys_dagster.steps.models.item_weights import ItemWeightsModel

Array = Any
"""A NumPy array or a torch tensor."""
UNITS = 2
"""Hidden units of a mixer."""
CHANNELS = {"code": 2, "score": 4}
"""What each mixer mixes: the codes of signal and history; the decoded scores, the history, the
history smoothed, and what texts are similar to it."""


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
    for unit in range(UNITS):
        hidden = biases[..., unit, None]
        for place, channel in enumerate(channels):
            hidden = hidden + inner[unit, place] * channel
        total = total + outer[unit] * silu(hidden)
    return total


def slopes(name: str, channels: list[np.ndarray], parts: Arrays, step: int) -> list[np.ndarray]:
    """How much `mixed` changes with each of its channels, element by element."""
    inner, outer, biases = parts[f"{name}_in"], parts[f"{name}_out"], parts[f"{name}_bias"][step]
    found = [np.zeros_like(channel) for channel in channels]
    for unit in range(UNITS):
        hidden = biases[unit] + sum(
            inner[unit, place] * channel for place, channel in enumerate(channels)
        )
        with np.errstate(over="ignore"):
            gate = 1 / (1 + np.exp(-hidden))
        slope = outer[unit] * gate * (1 + hidden * (1 - gate))
        for place in range(len(channels)):
            found[place] += inner[unit, place] * slope
    return found


def denoised(
    signal: Array,
    history: Array,
    history_code: Array,
    smoothed: Array,
    similar: Array,
    parts: Mapping[str, Array],
    step: Array,
    silu: Callable[[Array], Array],
) -> Array:
    """What a signal was before it was smoothed.

    A code mixed(z·E / n, c·E / |c|) is decoded as mixed(code·Eᵀ, c, c·A, c·S).

    Args:
        signal: z, (b × n).
        history: c, (b × n).
        history_code: c·E / |c|, (b × d).
        smoothed: c·A, (b × n).
        similar: c·S, (b × n).
        parts: the parameters, with E as `items` (n × d).
        step: how far the signal is smoothed, of all or int (b,), from 0.
        silu: the activation.
    """
    items = parts["items"]
    codes = [(signal @ items) / items.shape[0], history_code]
    code = mixed("code", codes, parts, step, silu)
    return mixed("score", [code @ items.T, history, smoothed, similar], parts, step, silu)


def smoothed_by(share: Array, signal: Array, smooth: Array) -> Array:
    """The signal x smoothed by a share a: x + a·(x·A − x)."""
    return signal + share * (smooth - signal)


@dataclass(frozen=True)
class DenoiserModel:
    """Scores a history by smoothing it, and taking the smoothing back step by step.

    Attributes:
        graph: A, the item-item graph that smooths.
        neighbours: S, csr (n × n), row j the similarities of the texts that j is near to.
        parts: the parameters, as `denoised` takes them; `items` are those that A has rows for.
        smoothing: a, how much the last step smooths; the others smooth in proportion.
        columns: int64 (n,), the items that the positions of `parts` stand for.
    """

    graph: ItemWeightsModel
    neighbours: sparse.csr_matrix
    parts: Arrays
    smoothing: float
    columns: np.ndarray

    @property
    def steps(self) -> int:
        """How many steps there are."""
        return len(self.parts["code_bias"])

    def score(self, block: UserBlock) -> np.ndarray:
        """The signal after the last step.

        Users of whose history nothing is known are not ranked, nor are items of which nothing was
        learned.
        """
        histories = block.positives[:, self.columns]
        scores = np.full(block.positives.shape, NOT_RANKED, dtype=np.float32)
        known = np.flatnonzero(np.diff(histories.indptr))
        if len(known):
            scores[np.ix_(known, self.columns)] = self.score_histories(histories[known])
        return scores

    def score_histories(self, histories: sparse.csr_matrix) -> np.ndarray:
        """Scores, float32 (b × n), of histories, csr (b × n), none of them empty."""
        return self._last(histories)[1]

    def contributions(self, block: UserBlock, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """What history items add to the last step, to first order, the signal before it given.

        By the code s_i·Σ_d g_d E_jd E_id / |c|, by the graph t_i·A_ji and by texts u_i·S_ji, with
        g, s, t and u the slopes of the mixers where they are.
        """
        E = self.parts["items"]
        positions = np.full(block.positives.shape[1], -1)
        positions[self.columns] = np.arange(len(self.columns))
        users, of_pair = np.unique(rows, return_inverse=True)
        histories = block.positives[users][:, self.columns]
        known = np.flatnonzero(np.diff(histories.indptr))
        entries = block.entries(rows)
        parts = np.zeros(len(entries), dtype=np.float32)
        of_history = positions[block.positives.indices[entries]]
        pairs = np.repeat(np.arange(len(rows)), block.lengths[rows])
        own_items = positions[items]
        counted = (of_history >= 0) & (own_items[pairs] >= 0)
        if not len(known) or not counted.any():
            return parts
        row_of_user = np.full(len(users), -1)
        row_of_user[known] = np.arange(len(known))
        by_code, by_decoder, by_graph, by_texts = self._slopes(histories[known])
        pairs, history, item = pairs[counted], of_history[counted], own_items[pairs[counted]]
        user = row_of_user[of_pair[pairs]]
        parts[counted] = (
            by_decoder[user, item] * np.einsum("ed,ed,ed->e", by_code[user], E[history], E[item])
            + by_graph[user, item] * self.graph.weights_of(history, item)
            + by_texts[user, item] * np.asarray(self.neighbours[history, item]).ravel()
        )
        return parts

    def _slopes(self, histories: sparse.csr_matrix) -> tuple[np.ndarray, ...]:
        """Of the last step: by code over the history's length, decoded scores, graph and texts."""
        before, _ = self._last(histories)
        items, history, code = self.parts["items"], histories.toarray(), self._code(histories)
        codes = [before @ items / len(items), code]
        _, by_code = slopes("code", codes, self.parts, 0)
        decoded = mixed("code", codes, self.parts, 0, silu) @ items.T
        smooth, similar = self.graph.times(histories), (histories @ self.neighbours).toarray()
        channels = [decoded, history, smooth, similar]
        by_decoder, _, by_graph, by_texts = slopes("score", channels, self.parts, 0)
        return by_code / np.diff(histories.indptr)[:, None], by_decoder, by_graph, by_texts

    def _last(self, histories: sparse.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
        """The signal before the last step and after it, float32 (b × n) each."""
        history, code = histories.toarray(), self._code(histories)
        smooth = self.graph.times(histories)
        similar = (histories @ self.neighbours).toarray()
        signal = before = smoothed_by(self.smoothing, history, smooth)
        for step in reversed(range(self.steps)):
            before = signal
            signal = denoised(signal, history, code, smooth, similar, self.parts, step, silu)
            if step:
                share = self.smoothing * step / self.steps
                signal = smoothed_by(share, signal, self.graph.times(signal))
        return before, signal

    def _code(self, histories: sparse.csr_matrix) -> np.ndarray:
        lengths = np.diff(histories.indptr).astype(np.float32)[:, None]
        return (histories @ self.parts["items"]) / lengths
