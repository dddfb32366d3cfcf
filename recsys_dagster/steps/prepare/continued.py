"""A user's history with what they did since, as the next run would have it."""

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from recsys_dagster.catalog.settings import InteractionsSettings, UsersSettings
from recsys_dagster.steps.prepare.histories import MAX_HALF_LIVES, histories_table

if TYPE_CHECKING:
    import pandas as pd

DAY = np.timedelta64(1, "D")


def continued_history(
    history: pa.Table,
    since: "pd.DataFrame",
    interactions: InteractionsSettings,
    users: UsersSettings,
) -> pa.Table:
    """One row of `histories`: a known history and newer interactions of the same user.

    The known pairs are taken back to rows and merged with the new ones by the very steps of a run.
    What a run would know and this does not: other users, so `minimum_per_item` is as it was; and
    positions, which keep their order, while the weights that they decayed stay as they are. With
    `repeats: last`, a pair has the time of its last row, positive or not: a row told late, of a
    time between its last positive row and that one, counts only in the next run.

    Args:
        history: the user's row of `histories`, or none at all of somebody new.
        since: typed rows (`steps.prepare.interactions.TypedInteractions.kept`) of one user.
        interactions: how rows merge.
        users: half-lives.

    Returns:
        the columns of `schemas.HISTORIES`.
    """
    # Late: whoever asks for a list of before needs neither.
    import pandas as pd

    from recsys_dagster.steps.prepare.interactions import merge_interactions

    user_id = since["user_id"].iloc[0]
    known = _as_rows(history, user_id, interactions, users)
    rows = since if known.empty else pd.concat([known, since], ignore_index=True)
    alone = interactions.model_copy(update={"minimum_per_item": 1})
    merged = merge_interactions(rows, alone)
    ids = pd.Series([user_id], dtype="str")
    # Weights of pairs without a time are decayed already.
    return histories_table(merged, ids, users.half_life_days, np.inf)


def _as_rows(
    history: pa.Table, user_id: str, interactions: InteractionsSettings, users: UsersSettings
) -> "pd.DataFrame":
    """A history as typed rows, one a pair, their weights as before decay and scale."""
    import pandas as pd

    columns = {
        name: history[name].combine_chunks().flatten()
        for name in ("item_ids", "positives", "left_out", "weights", "recencies")
    }
    times = history["last_timestamps"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    times = times.astype("datetime64[us]")
    timed = ~np.isnat(times)
    weights = columns["weights"].to_numpy().astype(np.float64)
    if timed.any():
        half_lives = (times[timed].max() - times[timed]) / DAY / users.half_life_days
        weights[timed] *= 2.0 ** np.minimum(half_lives, MAX_HALF_LIVES)
    if interactions.weight_scale == "log":
        weights = np.expm1(weights)
    positive = columns["positives"].to_numpy(zero_copy_only=False).astype(bool)
    if not positive.any():
        # All of it was left out because it was too little, which new rows may change.
        positive = columns["left_out"].to_numpy(zero_copy_only=False).astype(bool)
    recency = columns["recencies"].to_numpy(zero_copy_only=False).astype(np.float64)
    return pd.DataFrame(
        {
            "user_id": pd.Series([user_id] * len(weights), dtype="str"),
            "item_id": columns["item_ids"].to_pandas().astype("str"),
            "timestamp": pd.Series(times),
            # Larger for what came later: the order is all that positions are asked for.
            "position": np.where(timed, np.nan, 1 - 1 / recency),
            "event": pd.Series([pd.NA] * len(weights), dtype="str"),
            "weight": weights,
            "positive": positive,
        }
    )
