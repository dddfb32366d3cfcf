"""Interactions → one row a user: what models learn from and are asked about."""

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    import pandas as pd

MAX_HALF_LIVES = 100
"""Nothing decays further: in float32 a weight would become 0, and its user have no history."""


def histories_table(
    interactions: "pd.DataFrame",
    user_ids: "pd.Series",
    half_life_days: float,
    half_life_positions: float,
) -> pa.Table:
    """The table `histories`: every user with lists of their items, the oldest first.

    A weight is halved for every `half_life_days` before the user's own last interaction, or for
    every `half_life_positions` steps where the interaction has a position and no time, at most 100
    times; a pair with neither is not decayed. `recencies` are 1 / (1 + how many of the user's
    positive pairs came later), by time, by position where there is no time; 1 where there is
    neither, null where a pair is not positive.

    Args:
        interactions: table `interactions`.
        user_ids: all users to serve; every user of `interactions` is among them. Those without an
            interaction have empty lists.
        half_life_days: days, > 0.
        half_life_positions: steps, > 0.

    Returns:
        the columns of `schemas.HISTORIES`, sorted by user_id; within a list by last time, then
        position, then item_id.
    """
    # Late: whoever asks for one history needs no pandas.
    import pandas as pd

    users = pd.Index(user_ids).sort_values()
    rows = users.get_indexer(interactions["user_id"])
    order = _oldest_first(interactions, rows)
    ordered = interactions.iloc[order]
    ends = np.cumsum(np.bincount(rows, minlength=len(users)))
    offsets = pa.array(np.concatenate([[0], ends]), pa.int32())
    positive = ordered["positive"].to_numpy(dtype=bool)
    half_lives = _half_lives(ordered, half_life_days, half_life_positions)
    decay = 0.5 ** np.minimum(half_lives, MAX_HALF_LIVES)
    recencies = np.ones(len(ordered))
    recencies[positive] = 1 / (1 + _later(ordered[positive]))

    def lists(values: pa.Array | pa.ChunkedArray) -> pa.ListArray:
        # Text that was in order already is still in the chunks that it was read in.
        whole = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
        return pa.ListArray.from_arrays(offsets, whole)

    def times(name: str) -> pa.ListArray:
        return lists(pa.array(ordered[name], pa.timestamp("us"), from_pandas=True))

    return pa.table(
        {
            "user_id": pa.array(users, pa.string()),
            "item_ids": lists(pa.array(ordered["item_id"], pa.string())),
            "positives": lists(pa.array(positive)),
            "left_out": lists(pa.array(ordered["left_out"].to_numpy(dtype=bool))),
            "weights": lists(
                pa.array((ordered["weight"].to_numpy() * decay).astype(np.float32), pa.float32())
            ),
            "recencies": lists(
                pa.array(recencies.astype(np.float32), pa.float32(), mask=~positive)
            ),
            "first_timestamps": times("first_timestamp"),
            "last_timestamps": times("last_timestamp"),
        }
    )


def _oldest_first(interactions: "pd.DataFrame", users: np.ndarray) -> np.ndarray:
    """Positions of the rows by user, then time, then position, then item; unknown comes first."""
    import pandas as pd

    items, _ = pd.factorize(interactions["item_id"], sort=True)
    # NaT is the smallest int64.
    times = interactions["last_timestamp"].to_numpy(dtype="datetime64[us]").astype(np.int64)
    places = interactions["last_position"].fillna(-np.inf).to_numpy()
    return np.lexsort((items, places, times, users))


def _half_lives(
    interactions: "pd.DataFrame", half_life_days: float, half_life_positions: float
) -> np.ndarray:
    """How many half-lives each interaction lies before the user's last one, float64."""
    by_user = interactions["user_id"]
    time = interactions["last_timestamp"]
    days = (time.groupby(by_user).transform("max") - time).dt.total_seconds() / 86_400
    steps = interactions["last_position"].groupby(by_user).rank("dense", ascending=False) - 1
    return (days / half_life_days).fillna(steps / half_life_positions).fillna(0.0).to_numpy()


def _later(pairs: "pd.DataFrame") -> np.ndarray:
    """How many of a user's pairs came after each one, float64; ties came together."""
    by_user = pairs["user_id"]
    by_time, by_position = (
        pairs[order].groupby(by_user).rank("min", ascending=False) - 1
        for order in ("last_timestamp", "last_position")
    )
    return by_time.fillna(by_position).fillna(0.0).to_numpy()
