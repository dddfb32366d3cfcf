"""Strategies: one file each, which says everything about it; here they are listed.

Not in here: ranking, filtering and filling (`steps/lists/`), and where models are kept.
"""

from typing import Any

from recsys_dagster.steps.models import (
    als,
    content,
    ease,
    gfcf,
    hybrid,
    item_knn,
    l3ae,
    neural,
    popular,
    recent,
    similar_items,
)
from recsys_dagster.steps.models.base import Strategy

STRATEGIES: dict[str, Strategy[Any]] = {
    module.STRATEGY.name: module.STRATEGY
    for module in (
        popular,
        recent,
        content,
        similar_items,
        item_knn,
        ease,
        l3ae,
        gfcf,
        als,
        hybrid,
        neural,
    )
}
SEARCHED = tuple(name for name, strategy in STRATEGIES.items() if strategy.searched)
"""Strategies with settings that a search tries."""
