"""What there is to do, counted: from users, items and interactions to multiplications and rows.

Rates (`rates.py`) are seconds and bytes of one of each; a plan (`plan.py`) multiplies the two. So
how a stage grows is said here, once, after the code that does it.
"""

import math
from dataclasses import dataclass
from typing import Literal

from recsys_dagster.catalog.settings import FAST_TOKENS
from recsys_dagster.steps.models import STRATEGIES
from recsys_dagster.steps.models.item_weights import (
    MAX_DENSE_CELLS,
    SMALL_CELLS,
    kept_number,
)
from recsys_dagster.steps.models.memory import head_size, is_dense, needed_bytes
from recsys_dagster.steps.similarity.approximate import (
    MAX_SHARE,
    POINTS_PER_LIST,
    ROUNDS,
    SAMPLE_QUERIES,
)

Encoder = Literal["exact", "fast", "tiny", "tfidf"]
DIMENSIONS = {"exact": 384, "fast": 384, "tiny": 384, "tfidf": 256}
FLOAT = 4
"""Bytes."""
PROBES = 32
"""Lists that a query looks at: 8 to 32 found 99 % of the nearest of 10,000 and 30,000 drawn texts.
Texts that are in no groups take more."""
TEXT_LENGTH = 250
TEXT_CHARACTERS = 1_000
"""Of a text that the default encoder reads, its 256 tokens; what follows is cut off."""
CHARACTERS_A_TOKEN = 4
FROM_POSITIVES, DENSE = (
    tuple(name for name, strategy in STRATEGIES.items() if strategy.dense_over in over)
    for over in (("positives",), ("positives", "seen"))
)
"""Strategies whose memory is asked for before they are fitted, and those of them that learn of
items with positives alone."""
WITH_HYBRID = ("neural", "sequential", "auto")
"""Those that fit hybrid beside what they train, or as one of those that compete."""
FITTED_DENSELY = tuple(dict.fromkeys((*DENSE, *WITH_HYBRID)))
BY_TEXTS = ("hybrid", "l3ae", *WITH_HYBRID)
"""Those whose long tail is asked for near texts."""
UNCOUNTED = ("als",)
"""Those whose fit is not counted."""


@dataclass(frozen=True)
class Workload:
    """A catalog's size, with the settings that its time and memory depend on most.

    Attributes:
        users: who get lists.
        items: of the catalogue; every one with a text and an interaction.
        interactions: pairs of a user and an item.
        strategy: what makes lists.
        encoder: a preset, with a language model of MiniLM's size; or tfidf.
        text_length: characters of a text, on average.
        matrix_width: as in the catalog.
        neighbours: as in the catalog.
        list_length: as in the catalog.
        max_exact_pairs: as in the catalog.
    """

    users: int
    items: int
    interactions: int
    strategy: str = "hybrid"
    encoder: Encoder = "exact"
    text_length: float = TEXT_LENGTH
    matrix_width: int = 100
    neighbours: int = 50
    list_length: int = 20
    max_exact_pairs: float = 1e10

    @property
    def dimension(self) -> int:
        """Of a vector."""
        return DIMENSIONS[self.encoder]

    @property
    def history(self) -> float:
        """Items of a user, on average."""
        return self.interactions / self.users


Counts = dict[str, float]
"""How often something is done, or is there, by its name in the rates."""


def counts_of(work: Workload, memory: int | None, searched_by_gpu: bool = False) -> Counts:
    """Everything that takes time or room.

    Args:
        work: the catalog.
        memory: bytes that a fit may take; None for any number.
        searched_by_gpu: whether the nearest are looked for there, by comparing all.
    """
    users, items = work.users, work.items
    matrix_rows = users * min(work.matrix_width + work.history, items)
    list_rows = users * min(work.list_length, items)
    return {
        "runs": 1,
        "users": users,
        "items": items,
        "interactions": work.interactions,
        "user_floats": users * work.dimension,
        "item_floats": items * work.dimension,
        "history_floats": work.interactions * work.dimension,
        "matrix_rows": matrix_rows,
        "neighbour_rows": items * min(work.neighbours, items - 1),
        "list_rows": list_rows,
        "list_cells": users * items,
        "reasons": list_rows * work.history,
        **_encoded(work),
        **_searched(work, searched_by_gpu),
        **_fitted(work, memory),
        **_scored(work),
    }


def _encoded(work: Workload) -> Counts:
    """Texts and characters that an encoder reads."""
    counts = dict.fromkeys(("texts", "characters", "tiny_models", "tiny_texts", "words"), 0.0)
    if work.encoder == "tfidf":
        return counts | {"words": work.items}
    if work.encoder == "tiny":
        return counts | {"tiny_models": 1, "tiny_texts": work.items}
    most = TEXT_CHARACTERS if work.encoder == "exact" else FAST_TOKENS * CHARACTERS_A_TOKEN
    read = min(work.text_length, most)
    return counts | {"texts": work.items, "characters": work.items * read}


def _searched(work: Workload, by_gpu: bool) -> Counts:
    """Multiplications to find the nearest: items of users, and items of items."""
    found = [_nearest(work, queries, by_gpu) for queries in (work.users, work.items)]
    compared, scanned = (sum(parts) for parts in zip(*found, strict=True))
    return {"compared": compared, "scanned": scanned}


def _nearest(work: Workload, queries: int, by_gpu: bool = False) -> tuple[float, float]:
    """Multiplications to find the nearest items of queries, and those of them within an index.

    See `index_for` in `steps/similarity/nearest.py`, and `approximate.py` there.
    """
    items, dimension = work.items, work.dimension
    lists = 2 * math.sqrt(items)
    is_exact = by_gpu or queries * items <= work.max_exact_pairs
    if is_exact or MAX_SHARE * lists < PROBES:
        return float(queries) * items * dimension, 0.0
    grouped = ROUNDS * min(POINTS_PER_LIST * lists, items) * lists + items * lists
    sampled = min(queries, SAMPLE_QUERIES) * items
    scanned = queries * PROBES * items / lists
    return (grouped + sampled + queries * lists) * dimension, scanned * dimension


def _fitted(work: Workload, memory: int | None) -> Counts:
    """What a fit takes: see `steps/models/memory.py` and `long_tail.py`."""
    items, is_linear = work.items, work.strategy in FITTED_DENSELY
    of_all = is_dense(items, items, memory)
    dense = dense_items(items, items, memory) * is_linear
    near = _nearest(work, items) if dense < items and work.strategy in BY_TEXTS else (0.0, 0.0)
    return {
        "likes": work.interactions * is_linear,
        "cubes": float(dense) ** 3,
        "lent": 0.0,
        "tail": 0.0 if of_all else float(dense) * items,
        "pairs": float(items) ** 2 * (work.strategy == "item_knn"),
        "fit_compared": near[0],
        "fit_scanned": near[1],
        "fit_bytes": needed_bytes(items, items, memory) * is_linear,
        "weights": kept_weights(items) * is_linear,
    }


def dense_items(learned: int, items: int, available: int | None) -> int:
    """How many items weights are learned of densely."""
    if is_dense(learned, items, available):
        return learned
    return head_size(learned, available)


def kept_weights(items: int) -> float:
    """Weights that are kept of all items together."""
    if items**2 <= SMALL_CELLS:
        return items**2
    return items * min(items, kept_number(items))


def _scored(work: Workload) -> Counts:
    """Multiplications of histories and weights: see `ItemWeightsModel.times`."""
    if work.strategy not in FITTED_DENSELY:
        return {"scored": 0.0, "scored_sparsely": 0.0}
    if work.items**2 <= MAX_DENSE_CELLS:
        return {"scored": float(work.interactions) * work.items, "scored_sparsely": 0.0}
    kept = kept_weights(work.items) / work.items
    return {"scored": 0.0, "scored_sparsely": work.interactions * kept}
