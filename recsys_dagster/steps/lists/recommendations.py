"""Scores → lists: seen items out, ranked, filled from `popular`, with reasons."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from scipy import sparse

from recsys_dagster.compute.blocks import LOCAL, Compute
from recsys_dagster.steps.lists.reranking import Reranking, fill, item_ages, rerank
from recsys_dagster.steps.models.base import NOT_RANKED, Model, Strategy, UserBlock
from recsys_dagster.steps.models.behaviour import Behaviour
from recsys_dagster.steps.models.fitted import Fitted
from recsys_dagster.steps.similarity.ranking import top_n

if TYPE_CHECKING:
    import pandas as pd

BLOCK_CELLS = 4_000_000
"""Scores and contributions of a block of users: 100 to 300 MB while they are worked on."""
REASONS = 3

BECAUSE = pa.list_(pa.struct([("item_id", pa.string()), ("share", pa.float64())]))
FEW = pa.dictionary(pa.int8(), pa.string())
"""Of values that are the same in most rows. Not of ids: whoever reads a block reads all that it
names, and there are as many blocks as there are users."""


@dataclass(frozen=True)
class Reasons:
    """Why each row of some lists is there, flat.

    Attributes:
        offsets: int32 (rows + 1,), the reasons of row r are offsets[r] to offsets[r + 1].
        items: int64 (reasons,), history item positions, the largest share of a row first.
        shares: float64 (reasons,), a positive contribution over the sum of the row's positive
            contributions; what speaks against the row's item has no share.
    """

    offsets: np.ndarray
    items: np.ndarray
    shares: np.ndarray


@dataclass(frozen=True)
class Lists:
    """Lists of a block of users, flat, sorted by user and rank.

    Attributes:
        users: int64 (rows,), user positions.
        items: int64 (rows,), item positions.
        scores: float64 (rows,).
        ranks: int32 (rows,), 1..n within a user.
        filled: bool (rows,), rows that `popular` filled in; they have no reasons.
        because: the reasons of the others.
    """

    users: np.ndarray
    items: np.ndarray
    scores: np.ndarray
    ranks: np.ndarray
    filled: np.ndarray
    because: Reasons


@dataclass(frozen=True)
class Ranking:
    """What lists of all users are made with.

    Attributes:
        fitted: the strategy.
        candidates: bool (items,), what anybody may get.
        n: rows a user gets.
        reranking: rules that order lists; None follows the scores.
    """

    fitted: Fitted
    candidates: np.ndarray
    n: int
    reranking: Reranking | None


@dataclass(frozen=True)
class Asking:
    """Some users, and all that is known of them.

    Attributes:
        users: int64 (b,), their positions.
        histories: theirs.
        seen: bool csr (b × items), what each must not get.
    """

    users: np.ndarray
    histories: UserBlock
    seen: sparse.csr_matrix


def recommend(
    fitted: Fitted,
    behaviour: Behaviour,
    similarity_matrix: sparse.csr_matrix,
    n: int,
    progress: Callable[[int, int], None] | None = None,
    reranking: Reranking | None = None,
    compute: Compute = LOCAL,
) -> Iterator[Lists]:
    """Lists for every user, block by block.

    Seen items, items that the catalogue lacks and those that are not available are never in a
    list. What the model does not rank is filled in from the most popular items that are left, so
    a list is shorter than n only where there are fewer unseen items, or where categories are full.

    Args:
        fitted: the strategy.
        behaviour: of all users, over the items that it was fitted on.
        similarity_matrix: float32 csr (users × items).
        n: rows a user gets.
        progress: called with (users done, users).
        reranking: rules that order lists; None follows the scores.
        compute: does the blocks.
    """
    users, items = behaviour.seen.shape
    blocks = _blocks(items + n * np.diff(behaviour.weights.indptr).astype(np.int64))
    asking = (
        Asking(own, UserBlock.of(behaviour, similarity_matrix, own), behaviour.seen[own])
        for own in blocks
    )
    ranking = Ranking(fitted, behaviour.recommendable, n, reranking)
    done = 0
    for own, lists in zip(
        blocks, compute.map(_lists_of, ranking, asking, "lists of users"), strict=True
    ):
        yield lists
        done += len(own)
        if progress:
            progress(done, users)


def _lists_of(ranking: Ranking, asking: Asking) -> Lists:
    return lists_of(
        ranking.fitted,
        asking.histories,
        asking.users,
        asking.seen,
        ranking.candidates,
        ranking.n,
        ranking.reranking,
    )


def _blocks(cells: np.ndarray) -> list[np.ndarray]:
    """Users in order, cut where the sum of their cells passes a multiple of a block's."""
    starts = np.flatnonzero(np.diff(np.cumsum(cells) // BLOCK_CELLS, prepend=-1))
    return np.split(np.arange(len(cells)), starts)[1:]


def lists_of(
    fitted: Fitted,
    block: UserBlock,
    users: np.ndarray,
    seen: sparse.csr_matrix,
    recommendable: np.ndarray,
    n: int,
    reranking: Reranking | None = None,
) -> Lists:
    """Lists of some users.

    Args:
        fitted: the strategy.
        block: their histories.
        users: int64 (b,), their positions.
        seen: bool csr (b × items), what each must not get.
        recommendable: bool (items,), what anybody may get.
        n: rows a user gets.
        reranking: rules that order lists; None follows the scores.
    """
    scores = fitted.score(block)
    items, best, filled = best_items(scores, seen, recommendable, fitted.popularity, n, reranking)
    rows, places = np.nonzero(best > NOT_RANKED)
    items, filled = items[rows, places], filled[rows, places]
    return Lists(
        users[rows],
        items,
        best[rows, places].astype(np.float64),
        (places + 1).astype(np.int32),
        filled,
        reasons(fitted.model, block, rows, items, filled),
    )


def best_items(
    scores: np.ndarray,
    seen: sparse.csr_matrix,
    candidates: np.ndarray,
    popularity: np.ndarray,
    n: int,
    reranking: Reranking | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The best n items of each user, filled up by popularity.

    Args:
        scores: float32 (b × items), `NOT_RANKED` where there is none; overwritten.
        seen: bool csr (b × items), what a user must not get.
        candidates: bool (items,), what anybody may get.
        popularity: float32 (items,), scores of filled places.
        n: places, at least 1.
        reranking: rules that order lists; None follows the scores.

    Returns:
        items int64, their scores float32, `NOT_RANKED` where nothing is left, and which places
        were filled, bool: each (b × min(n, items)), best first.
    """
    _take_out(scores, seen, candidates)
    items, best = top_n(scores, n) if reranking is None else rerank(scores, reranking, n)
    filled = np.zeros(items.shape, dtype=bool)
    short = np.flatnonzero((best == NOT_RANKED).any(axis=1))
    left = np.tile(popularity, (len(short), 1))
    _take_out(left, seen[short], candidates)
    items[short], best[short], filled[short] = (
        _filled_up(items[short], best[short], left)
        if reranking is None
        else fill(items[short], best[short], left, reranking)
    )
    return items, best, filled


def _filled_up(
    items: np.ndarray, scores: np.ndarray, left: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lists followed by the best of what is left.

    Args:
        items: int64 (b × k), best first; those that are not ranked come last.
        scores: float32 (b × k), theirs.
        left: float32 (b × items), scores to fill by; overwritten.

    Returns:
        items and scores, as long as before, and which places were filled, bool (b × k).
    """
    rows, places = np.nonzero(scores > NOT_RANKED)
    left[rows, items[rows, places]] = NOT_RANKED
    width = items.shape[1]
    fills, fill_scores = top_n(left, max(1, width))
    both = np.hstack([scores, fill_scores])
    order = np.argsort(both == NOT_RANKED, axis=1, kind="stable")[:, :width]
    return (
        np.take_along_axis(np.hstack([items, fills]), order, axis=1),
        np.take_along_axis(both, order, axis=1),
        order >= width,
    )


def _take_out(scores: np.ndarray, seen: sparse.csr_matrix, recommendable: np.ndarray) -> None:
    """Rank neither what the user of a row has seen nor what nobody may get, in place."""
    rows, columns = seen.nonzero()
    scores[rows, columns] = NOT_RANKED
    scores[:, ~recommendable] = NOT_RANKED


def reasons(
    model: Model, block: UserBlock, rows: np.ndarray, items: np.ndarray, filled: np.ndarray
) -> Reasons:
    """Why items are recommended: the history items that contributed most.

    Args:
        model: the fitted strategy.
        block: the users.
        rows: int64 (p,), users as rows of the block, ascending.
        items: int64 (p,), what is recommended to them.
        filled: bool (p,), what the model did not rank.
    """
    ranked = np.flatnonzero(~filled)
    entries = block.entries(rows[ranked])
    parts = model.contributions(block, rows[ranked], items[ranked])
    pairs = np.repeat(ranked, block.lengths[rows[ranked]])
    positive = parts > 0
    parts, pairs = parts[positive].astype(np.float64), pairs[positive]
    history = block.positives.indices[entries[positive]]

    kept = _largest(parts, pairs)
    totals = np.bincount(pairs, parts, minlength=len(rows))
    counts = np.bincount(pairs[kept], minlength=len(rows))
    return Reasons(
        np.append(0, np.cumsum(counts)).astype(np.int32),
        history[kept].astype(np.int64),
        parts[kept] / totals[pairs[kept]],
    )


def _largest(parts: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Positions of the `REASONS` largest positive parts of each pair, ties to the earlier one.

    Args:
        parts: float64 (e,), positive.
        pairs: int64 (e,), ascending.
    """
    starts = np.flatnonzero(np.diff(pairs, prepend=-1))
    lengths = np.diff(starts, append=len(pairs))
    group = np.repeat(np.arange(len(starts)), lengths)
    largest = np.full((len(starts), REASONS), -1)
    left = parts.copy()
    # A maximum for each place: sorting the parts would take three times as long.
    for place in range(REASONS if len(starts) else 0):
        best = np.maximum.reduceat(left, starts)
        hits = np.flatnonzero((left == np.repeat(best, lengths)) & (left > 0))
        first = hits[np.diff(group[hits], prepend=-1) > 0]
        largest[group[first], place] = first
        left[first] = 0
    return largest[largest >= 0]


def recommendations_table(
    blocks: Iterator[Lists],
    behaviour: Behaviour,
    strategy: Strategy[Any],
    run_id: str,
    made_at: "pd.Timestamp",
) -> pa.Table:
    """The table `recommendations` of all blocks.

    Args:
        blocks: what `recommend` yields.
        behaviour: the matrices that give positions their ids.
        strategy: whose model ranked.
        run_id: the Dagster run.
        made_at: naive UTC.
    """
    user_ids = pa.array(behaviour.user_ids, pa.string())
    item_ids = pa.array(behaviour.item_ids, pa.string())
    strategies = pa.array([strategy.name, strategy.without_history, "popular"])
    is_new = np.diff(behaviour.positives.indptr) == 0
    run, time = pa.array([run_id]), pa.scalar(made_at.to_pydatetime(), pa.timestamp("us"))
    schema = pa.schema(
        [
            ("user_id", pa.string()),
            ("item_id", pa.string()),
            ("score", pa.float64()),
            ("rank", pa.int32()),
            ("strategy", FEW),
            ("because", BECAUSE),
            ("run_id", FEW),
            ("made_at", pa.timestamp("us")),
        ]
    )
    batches = [
        pa.record_batch(
            [
                user_ids.take(pa.array(lists.users)),
                item_ids.take(pa.array(lists.items)),
                pa.array(lists.scores),
                pa.array(lists.ranks),
                _few(np.where(lists.filled, 2, is_new[lists.users]), strategies),
                _because(lists.because, item_ids),
                _few(np.zeros(len(lists.users)), run),
                pa.repeat(time, len(lists.users)),
            ],
            schema=schema,
        )
        for lists in blocks
    ]
    return pa.Table.from_batches(batches, schema)


def _few(places: np.ndarray, values: pa.StringArray) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(places.astype(np.int8)), values)


def _because(because: Reasons, item_ids: pa.StringArray) -> pa.ListArray:
    pairs = pa.StructArray.from_arrays(
        [item_ids.take(pa.array(because.items)), pa.array(because.shares)],
        fields=list(BECAUSE.value_type),
    )
    return pa.ListArray.from_arrays(pa.array(because.offsets), pairs, type=BECAUSE)


def popular_items(
    behaviour: Behaviour, popularity: np.ndarray, items: "pd.DataFrame"
) -> "pd.DataFrame":
    """The table `popular_items`: the catalogue, what can be recommended first, most liked first.

    Args:
        behaviour: the matrices that give items their positions.
        popularity: float32 (items,).
        items: table `items`; its item_id, title, category and created_at are read.
    """
    import pandas as pd

    ages = item_ages(behaviour, items)
    order = np.lexsort((np.arange(len(popularity)), -popularity, ~behaviour.recommendable))
    order = order[behaviour.in_catalogue[order]]
    ranked = behaviour.recommendable[order]
    shown = items.set_index("item_id").reindex(behaviour.item_ids[order])
    ranks = pd.Series(np.arange(1, len(order) + 1), dtype="Int32").where(ranked)
    return pd.DataFrame(
        {
            "item_id": behaviour.item_ids[order],
            "title": shown["title"].to_numpy(),
            "category": shown["category"].to_numpy(),
            "score": popularity[order].astype(np.float64),
            "rank": ranks,
            "age_days": ages[order],
        }
    )
