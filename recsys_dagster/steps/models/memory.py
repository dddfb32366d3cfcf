"""How many items a dense fit may be over: all, where there is memory and time for it."""

import math
from typing import Any

import numpy as np

from recsys_dagster.steps.models.base import Evidence, Strategy
from recsys_dagster.steps.models.item_weights import BYTES_WHILE_KEPT, kept_number

GIB = 1024**3
MAX_DENSE = 30_000
"""Items that a dense fit is over at the most, whatever memory there is: time goes with the cube."""
MAX_HEAD, MIN_HEAD = 20_000, 500
"""Items of the head where a dense fit is not over all of them."""
HEAD_STEP = 500
HEAD_SHARE = 0.5
"""Of the memory, for the two matrices of the head; blocks and what is kept take the rest."""


def fit_bytes(learned: int, items: int) -> int:
    """Bytes of float32 that fitting item-item weights needs at its peak.

    Two matrices (learned × learned) are worked on; the result (learned × items) is filled from one.
    Vectors and neighbours are not counted: they are small where these are large.

    Args:
        learned: items that weights are learned from, at most `items`.
        items: all items, the columns of the result.
    """
    return 4 * learned * (learned + items)


def learned_items(strategy: Strategy[Any], evidence: Evidence) -> int:
    """How many items a dense fit is over; 0 for strategies without one."""
    behaviour = evidence.behaviour
    if strategy.dense_over == "positives":
        return len(np.unique(behaviour.weights.indices))
    return int((~behaviour.cold).sum()) if strategy.dense_over == "seen" else 0


def is_dense(learned: int, items: int, available: int | None) -> bool:
    """Whether weights are learned densely over all items that something is known of.

    Args:
        learned: items that weights are learned from.
        items: all items.
        available: bytes that can be had; None where the system does not tell.
    """
    fits = available is None or fit_bytes(learned, items) <= available
    return learned <= MAX_DENSE and fits


def head_size(learned: int, available: int | None) -> int:
    """How many items, those with most positives, are learned of densely where not all are.

    Args:
        learned: items that weights are learned from.
        available: as of `is_dense`.
    """
    most = MAX_HEAD
    if available is not None:
        # In steps, so that a little memory more or less gives the same model.
        of_memory = math.isqrt(int(HEAD_SHARE * available) // 8) // HEAD_STEP * HEAD_STEP
        most = min(MAX_HEAD, max(MIN_HEAD, of_memory))
    return min(learned, most)


def needed_bytes(learned: int, items: int, available: int | None) -> int:
    """Bytes that a fit needs at its peak, dense over all or over the head alone.

    Args:
        learned: items that weights are learned from.
        items: all items.
        available: as of `is_dense`.
    """
    if is_dense(learned, items, available):
        return fit_bytes(learned, items)
    kept = BYTES_WHILE_KEPT * items * kept_number(items)
    return fit_bytes(head := head_size(learned, available), head) + kept


def head_of(evidence: Evidence, learned: int) -> int | None:
    """The size of the head of a fit on evidence; None where it is dense over all of `learned`."""
    available = evidence.trainer.available_bytes()
    if is_dense(learned, evidence.items, available):
        return None
    head = head_size(learned, available)
    evidence.trainer.say(f"learning densely of {head:,} of {learned:,} items, then of the others")
    return head
