"""The memory that a dense fit takes is stated before it is taken."""

from typing import Any

import numpy as np

from recsys_dagster.errors import UserError
from recsys_dagster.steps.models.base import Evidence, Strategy

GIB = 1024**3


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


def require_memory_for(strategy: Strategy[Any], evidence: Evidence) -> None:
    """Refuse a fit on evidence that the memory of its trainer's machine is too small for.

    Raises:
        UserError: more is needed than there is.
    """
    available = evidence.trainer.available_bytes()
    require_memory(strategy.name, learned_items(strategy, evidence), evidence.items, available)


def require_memory(strategy: str, learned: int, items: int, available: int | None) -> None:
    """Refuse a fit that would not fit.

    Args:
        strategy: its name.
        learned: items that weights are learned from.
        items: all items.
        available: bytes that can be had; None where the system does not tell.

    Raises:
        UserError: `fit_bytes` is more than that.
    """
    needed = fit_bytes(learned, items)
    if available is not None and needed > available:
        raise UserError(
            f"strategy: {strategy} would learn from {learned:,} of {items:,} items, which needs "
            f"{needed / GIB:.1f} GiB of memory; {available / GIB:.1f} GiB are available. Learn "
            "from fewer items (a larger interactions.minimum_per_item in the catalog's YAML), or "
            "take strategy: similar_items or strategy: content."
        )
