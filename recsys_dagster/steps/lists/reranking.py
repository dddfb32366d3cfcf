"""Lists in another order than that of scores: varied, fresh, not too much of one category.

The best of a user's scores are a pool, from which one place after the other is taken: the item
with the largest

    (1 − diversity) · (relevance + freshness) − diversity · (largest cosine to those above it)

whose category is not full: Maximal Marginal Relevance (Carbonell and Goldstein, "The use of MMR,
diversity-based reranking for reordering documents and producing summaries", SIGIR 1998).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from recsys_dagster.catalog.rules import RuleSettings
from recsys_dagster.steps.models.base import NOT_RANKED
from recsys_dagster.steps.models.behaviour import Behaviour
from recsys_dagster.steps.similarity.ranking import top_n
from recsys_dagster.steps.similarity.space import Space

if TYPE_CHECKING:
    import pandas as pd

POOL_PER_PLACE, MIN_POOL = 5, 100
"""Candidates of a list: what is far down a model's ranking is no better for being different."""
BLOCK_CELLS = 1 << 22
"""Numbers in the vectors of the pools of some users: 16 MiB."""
NO_CATEGORY = -1


@dataclass(frozen=True)
class Reranking:
    """The rules of a catalog, resolved to item positions.

    Attributes:
        max_per_category: most rows of a list from one category; None where all may be.
        categories: int64 (items,), a number a category, `NO_CATEGORY` where there is none.
        diversity: in [0, 1).
        vectors: float32 (items × d) of unit length, or zero; None where diversity is 0.
        freshness: float32 (items,), to be added to relevance; None where no item is lifted.
    """

    max_per_category: int | None
    categories: np.ndarray
    diversity: float
    vectors: np.ndarray | None
    freshness: np.ndarray | None

    @classmethod
    def of(
        cls,
        rules: RuleSettings,
        item_ids: Iterable[str],
        described: "pd.DataFrame | Mapping[str, np.ndarray]",
        item_vectors: np.ndarray,
        in_catalogue: np.ndarray,
        centre: bool,
    ) -> Self | None:
        """Resolve the rules; None where lists are to follow scores alone.

        Args:
            rules: the catalog's.
            item_ids: of each position, as of all that follows.
            described: columns item_id, category and age_days of what may be in lists at least;
                items without a position are passed over. A category is missing or empty where
                there is none, an age NaN where it is not known.
            item_vectors: float32 (items × d), as the encoder gave them.
            in_catalogue: bool (items,).
            centre: subtract the mean item vector before a cosine.
        """
        if not rules.reorder:
            return None
        categories = np.full(len(in_catalogue), NO_CATEGORY)
        ages = np.full(len(in_catalogue), np.nan)
        position = {item_id: place for place, item_id in enumerate(item_ids)}
        numbers: dict[str, int] = {}
        columns = (described[name] for name in ("item_id", "category", "age_days"))
        for item_id, category, age in zip(*columns, strict=True):
            if item_id not in position:
                continue
            ages[position[item_id]] = age
            if isinstance(category, str) and category:
                number = numbers.setdefault(category, len(numbers))
                categories[position[item_id]] = number
        vectors = freshness = None
        if rules.diversity > 0:
            # Only the catalogue's items have vectors and take part in the mean.
            vectors = np.zeros_like(item_vectors)
            space = Space.of(item_vectors[in_catalogue], "cosine", centre)
            vectors[in_catalogue] = space.project(item_vectors[in_catalogue])
        if rules.freshness_boost > 0:
            lift = rules.freshness_boost * 0.5 ** (ages / rules.freshness_half_life_days)
            freshness = np.nan_to_num(lift, nan=0.0).astype(np.float32)
        return cls(rules.max_per_category, categories, rules.diversity, vectors, freshness)

    @property
    def lifts_nothing(self) -> bool:
        """Whether new items are to be lifted, and of none it is known how new it is."""
        return self.freshness is not None and not self.freshness.any()


def item_ages(behaviour: Behaviour, items: "pd.DataFrame") -> np.ndarray:
    """Days from each item's making to the newest interaction of all.

    Never to now: the same tables are to give the same lists. An item was made when `created_at`
    says, or else when somebody first interacted with it. What was made after the newest
    interaction is of age 0.

    Args:
        behaviour: when items were first seen.
        items: table `items`; its item_id and created_at are read.

    Returns:
        float64 (items,), in the order of `behaviour.item_ids`; NaN where nothing is known.
    """
    import pandas as pd

    created = pd.Series(items["created_at"].to_numpy(), index=items["item_id"])
    first = pd.Series(behaviour.first_seen, index=behaviour.item_ids)
    ages = behaviour.newest - created.reindex(behaviour.item_ids).fillna(first)
    return (ages.dt.total_seconds() / 86_400).clip(lower=0).to_numpy(dtype=np.float64)


def rerank(scores: np.ndarray, rules: Reranking, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Each user's list by the rules.

    Args:
        scores: float32 (b × items), `NOT_RANKED` where there is none; overwritten.
        rules: what puts the best of them in order.
        n: places, at least 1.

    Returns:
        items int64 and their scores float32, `NOT_RANKED` where nothing is left that may follow:
        each (b × min(n, items)), in order of the list. Scores need not fall.
    """
    pool, pool_scores = top_n(scores, max(POOL_PER_PLACE * n, MIN_POOL))
    worth = relevance(pool_scores)
    if rules.freshness is not None:
        worth += rules.freshness[pool]
    worth[pool_scores == NOT_RANKED] = NOT_RANKED
    places = min(n, scores.shape[1])
    taken = np.empty((len(pool), places), dtype=np.int64)
    depth = 1 if rules.vectors is None else rules.vectors.shape[1]
    step = max(1, BLOCK_CELLS // max(1, pool.shape[1] * depth))
    for start in range(0, len(pool), step):
        some = slice(start, start + step)
        taken[some] = _take(pool[some], worth[some], rules, places)
    items = np.take_along_axis(pool, np.maximum(taken, 0), axis=1)
    best = np.take_along_axis(pool_scores, np.maximum(taken, 0), axis=1)
    best[taken < 0] = NOT_RANKED
    short = np.flatnonzero((best == NOT_RANKED).any(axis=1))
    # Only a full category leaves a place empty while there are other ranked items.
    if rules.max_per_category is not None and pool.shape[1] < scores.shape[1]:
        items[short], best[short], _ = fill(items[short], best[short], scores[short], rules)
    return items, best


def relevance(scores: np.ndarray) -> np.ndarray:
    """Scores of each row from 0, the least, to 1, the largest; 1 where all are alike.

    Args:
        scores: float32 (b × m), `NOT_RANKED` ones take no part.

    Returns:
        float32 (b × m), 1 where a score is `NOT_RANKED`.
    """
    ranked = scores > NOT_RANKED
    lowest = scores.min(axis=1, keepdims=True, where=ranked, initial=np.inf)
    span = scores.max(axis=1, keepdims=True, where=ranked, initial=-np.inf) - lowest
    above = scores - lowest
    return np.divide(above, span, out=np.ones_like(scores), where=ranked & (span > 0))


def _take(pool: np.ndarray, worth: np.ndarray, rules: Reranking, places: int) -> np.ndarray:
    """The columns of the pool that follow each other in the lists.

    Args:
        pool: int64 (u × m), item positions, best score first.
        worth: float32 (u × m), relevance and freshness, `NOT_RANKED` for what must not be taken.
        rules: cap, diversity.
        places: of a list, at most m.

    Returns:
        int64 (u × places), -1 where nothing is left. Ties go to the better score.
    """
    users = np.arange(len(pool))
    worth = worth * np.float32(1 - rules.diversity)
    categories = rules.categories[pool]
    vectors = None if rules.vectors is None else rules.vectors[pool]
    nearest = np.float32(0)
    taken = np.full((len(pool), places), -1)
    taken_categories = np.full((len(pool), places), NO_CATEGORY)
    for place in range(places):
        column = (worth - np.float32(rules.diversity) * nearest).argmax(axis=1)
        there = worth[users, column] > NOT_RANKED
        taken[there, place] = column[there]
        worth[users, column] = NOT_RANKED
        taken_categories[there, place] = categories[users, column][there]
        full = _just_filled(taken_categories, place, rules)
        of_full = categories[full] == taken_categories[full, place, None]
        worth[full] = np.where(of_full, NOT_RANKED, worth[full])
        if vectors is not None:
            cosines = np.matmul(vectors, vectors[users, column][:, :, None])[:, :, 0]
            nearest = cosines if place == 0 else np.maximum(nearest, cosines)
    return taken


def fill(
    items: np.ndarray, scores: np.ndarray, left: np.ndarray, rules: Reranking
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lists followed by the best of what is left, as far as categories are not full.

    Args:
        items: int64 (b × k), in order; those that are not ranked come last.
        scores: float32 (b × k), theirs.
        left: float32 (b × items), scores to fill by; overwritten.
        rules: the cap.

    Returns:
        items and scores, as long as before, and which places were filled, bool (b × k).
    """
    items, scores = items.copy(), scores.copy()
    filled = np.zeros(items.shape, dtype=bool)
    rows, places = np.nonzero(scores > NOT_RANKED)
    left[rows, items[rows, places]] = NOT_RANKED
    taken = np.where(scores > NOT_RANKED, rules.categories[items], NO_CATEGORY)
    lasting = np.ones(len(items), dtype=bool)
    for place in range(items.shape[1]):
        open_rows = np.flatnonzero(lasting & (scores[:, place] == NOT_RANKED))
        best = left[open_rows].argmax(axis=1)
        there = left[open_rows, best] > NOT_RANKED
        lasting[open_rows[~there]] = False
        open_rows, best = open_rows[there], best[there]
        items[open_rows, place], scores[open_rows, place] = best, left[open_rows, best]
        filled[open_rows, place] = True
        taken[open_rows, place] = rules.categories[best]
        left[open_rows, best] = NOT_RANKED
        full = _just_filled(taken, place, rules)
        of_full = rules.categories == taken[full, place, None]
        left[full] = np.where(of_full, NOT_RANKED, left[full])
    return items, scores, filled


def _just_filled(taken: np.ndarray, place: int, rules: Reranking) -> np.ndarray:
    """The lists whose category has no room any more with this place, int64.

    Args:
        taken: int64 (b × k), categories of the places up to this one.
        place: from 0.
        rules: the cap.
    """
    if rules.max_per_category is None:
        return np.empty(0, dtype=np.int64)
    newest = taken[:, place]
    rows = (taken[:, : place + 1] == newest[:, None]).sum(axis=1)
    return np.flatnonzero((newest != NO_CATEGORY) & (rows >= rules.max_per_category))
