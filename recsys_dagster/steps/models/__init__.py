"""Strategies: one file each, which says everything about it; here they are listed.

Not in here: ranking, filtering and filling (`steps/lists/`), and where models are kept.
"""

from typing import Any

from recsys_dagster.steps.models import (
    als,
    auto,
    content,
    ease,
    gfcf,
    hybrid,
    item_knn,
    l3ae,
    markov,
    neural,
    popular,
    recent,
    sequential,
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
        markov,
        sequential,
    )
}
"""All strategies by name, but for the one that chooses among them."""
CANDIDATES = ("popular", "l3ae", "hybrid", "neural", "sequential")
"""Those that compete for a catalog that names none, the simplest first."""
STRATEGIES["auto"] = auto.strategy_of(
    # content ranks by the similarity matrix, which is made of more than what models learn from.
    {name: strategy for name, strategy in STRATEGIES.items() if name != "content"},
    CANDIDATES,
)
SEARCHED = tuple(name for name, strategy in STRATEGIES.items() if strategy.searched)
"""Strategies with settings that a search tries."""
