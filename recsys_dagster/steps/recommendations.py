"""Scores → lists: seen items out, ranked, filled from `popular`, with reasons."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from recsys_dagster.steps.matrices import Behaviour
from recsys_dagster.steps.models.base import NOT_RANKED, Model, UserBlock
from recsys_dagster.steps.ranking import top_n

BLOCK_CELLS = 16_000_000
"""Cells of a block of dense scores: 64 MB of float32."""
REASONS = 3

BECAUSE = pa.list_(pa.struct([("item_id", pa.string()), ("share", pa.float64())]))


@dataclass(frozen=True)
class Lists:
    """Lists of a block of users, flat, sorted by user and rank.

    Attributes:
        users: int64 (rows,), user positions.
        items: int64 (rows,), item positions.
        scores: float64 (rows,).
        ranks: int32 (rows,), 1..n within a user.
        filled: bool (rows,), rows that `popular` filled in.
        because: for each row the (history item position, share) pairs, largest share first.
    """

    users: np.ndarray
    items: np.ndarray
    scores: np.ndarray
    ranks: np.ndarray
    filled: np.ndarray
    because: list[list[tuple[int, float]]]


def recommend(
    model: Model,
    popularity: np.ndarray,
    behaviour: Behaviour,
    n: int,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Lists]:
    """Lists for every user, block by block.

    Seen items and items that the catalogue lacks are never in a list. What the model does not
    rank is filled in from the most popular items that are left, so a list is shorter than n only
    where the catalogue has fewer unseen items.

    Args:
        model: the fitted strategy.
        popularity: float32 (items,), the scores of filled rows.
        behaviour: the matrices the model was fitted on.
        n: rows a user gets.
        progress: called with (users done, users).
    """
    users, items = behaviour.seen.shape
    by_popularity = np.lexsort((np.arange(items), -popularity))
    by_popularity = by_popularity[behaviour.in_catalogue[by_popularity]]
    positives, weights = behaviour.positives, behaviour.weights
    size = max(1, BLOCK_CELLS // max(1, items))
    for start in range(0, users, size):
        positions = np.arange(start, min(start + size, users))
        block = UserBlock(positions, positives[positions], weights[positions])
        scores = model.score(block)
        seen = behaviour.seen[positions].tocoo()
        scores[seen.row, seen.col] = NOT_RANKED
        scores[:, ~behaviour.in_catalogue] = NOT_RANKED
        ranked_items, ranked_scores = top_n(scores, n)
        yield _lists(
            model, block, behaviour, popularity, by_popularity, ranked_items, ranked_scores, n
        )
        if progress:
            progress(int(positions[-1]) + 1, users)


def _lists(
    model: Model,
    block: UserBlock,
    behaviour: Behaviour,
    popularity: np.ndarray,
    by_popularity: np.ndarray,
    ranked_items: np.ndarray,
    ranked_scores: np.ndarray,
    n: int,
) -> Lists:
    items: list[np.ndarray] = []
    scores: list[np.ndarray] = []
    filled: list[np.ndarray] = []
    because: list[list[tuple[int, float]]] = []
    for row, user in enumerate(block.positions):
        ranked = ranked_scores[row] > NOT_RANKED
        chosen = ranked_items[row][ranked]
        seen = behaviour.seen.indices[behaviour.seen.indptr[user] : behaviour.seen.indptr[user + 1]]
        fill = _fill(by_popularity, chosen, seen, n - len(chosen))
        items += [chosen, fill]
        scores += [ranked_scores[row][ranked], popularity[fill]]
        filled += [np.zeros(len(chosen), dtype=bool), np.ones(len(fill), dtype=bool)]
        because += reasons(model, block, row, chosen)
        because += [[] for _ in fill]
    lengths = np.array([len(part) for part in items]).reshape(-1, 2).sum(axis=1)
    return Lists(
        np.repeat(block.positions, lengths),
        np.concatenate(items),
        np.concatenate(scores).astype(np.float64),
        np.concatenate([np.arange(1, length + 1, dtype=np.int32) for length in lengths]),
        np.concatenate(filled),
        because,
    )


def _fill(
    by_popularity: np.ndarray, chosen: np.ndarray, seen: np.ndarray, missing: int
) -> np.ndarray:
    if missing <= 0:
        return by_popularity[:0]
    # At most len(taken) of the head can be taken, so the head holds enough.
    taken = np.concatenate([chosen, seen])
    head = by_popularity[: missing + len(taken)]
    return head[~np.isin(head, taken)][:missing]


def reasons(
    model: Model, block: UserBlock, row: int, items: np.ndarray
) -> list[list[tuple[int, float]]]:
    """Why each of `items` is recommended: the history items that contributed most.

    A share is a positive contribution over the sum of the item's positive contributions; history
    items that speak against the item have no share.
    """
    if not len(items):
        return []
    history, contributions = model.contributions(block, row, items)
    if not len(history):
        return [[] for _ in items]
    positive = np.maximum(contributions, 0).astype(np.float64)
    totals = positive.sum(axis=0)
    kept = min(REASONS, len(history))
    best = np.argsort(-positive, axis=0, kind="stable")[:kept]
    return [
        [
            (int(history[j]), float(positive[j, column] / totals[column]))
            for j in best[:, column]
            if positive[j, column] > 0
        ]
        for column in range(len(items))
    ]


def recommendations_table(
    blocks: Iterator[Lists],
    behaviour: Behaviour,
    strategy: str,
    run_id: str,
    made_at: pd.Timestamp,
) -> pa.Table:
    """The table `recommendations` of all blocks.

    Args:
        blocks: what `recommend` yields.
        behaviour: the matrices that give positions their ids.
        strategy: name for the rows that the model ranked.
        run_id: the Dagster run.
        made_at: naive UTC.
    """
    user_ids = behaviour.user_ids.to_numpy(dtype=object)
    item_ids = behaviour.item_ids.to_numpy(dtype=object)
    schema = pa.schema(
        [
            ("user_id", pa.string()),
            ("item_id", pa.string()),
            ("score", pa.float64()),
            ("rank", pa.int32()),
            ("strategy", pa.string()),
            ("because", BECAUSE),
            ("run_id", pa.string()),
            ("made_at", pa.timestamp("us")),
        ]
    )
    batches = [
        pa.record_batch(
            [
                pa.array(user_ids[lists.users], pa.string()),
                pa.array(item_ids[lists.items], pa.string()),
                pa.array(lists.scores),
                pa.array(lists.ranks),
                pa.array(np.where(lists.filled, "popular", strategy).astype(object), pa.string()),
                pa.array(
                    [
                        [{"item_id": item_ids[j], "share": share} for j, share in pairs]
                        for pairs in lists.because
                    ],
                    BECAUSE,
                ),
                pa.array([run_id] * len(lists.users), pa.string()),
                pa.array([made_at.to_pydatetime()] * len(lists.users), pa.timestamp("us")),
            ],
            schema=schema,
        )
        for lists in blocks
    ]
    return pa.Table.from_batches(batches, schema)


def popular_items(behaviour: Behaviour, popularity: np.ndarray) -> pd.DataFrame:
    """The table `popular_items`: every item of the catalogue, most liked first."""
    order = np.lexsort((np.arange(len(popularity)), -popularity))
    order = order[behaviour.in_catalogue[order]]
    return pd.DataFrame(
        {
            "item_id": behaviour.item_ids[order],
            "score": popularity[order].astype(np.float64),
            "rank": np.arange(1, len(order) + 1, dtype=np.int32),
        }
    )
