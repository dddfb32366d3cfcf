"""Lists for requests: stored ones as they are, others computed as a run would compute them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

import numpy as np

from recsys_dagster.serving.live import LiveHistories
from recsys_dagster.serving.opened import OpenSnapshot
from recsys_dagster.snapshots.reader import History, Row
from recsys_dagster.steps.models.behaviour import OneHistory, one_row

How = Literal["stored", "computed", "popular"]
NOT_KNOWN = -1


@dataclass(frozen=True)
class Wish:
    """What a list must be like.

    Attributes:
        n: rows, at least 1.
        categories: the only ones that may be in it; all where empty.
        exclude: item_ids that must not be.
    """

    n: int
    categories: Collection[str] = ()
    exclude: Collection[str] = ()

    @property
    def narrows(self) -> bool:
        """Whether a stored list might hold what it must not."""
        return bool(self.categories or self.exclude)


@dataclass(frozen=True)
class Answer:
    """A list.

    Attributes:
        rows: best first.
        how: a list of the run; one that was computed now; or popular items for want of a history.
        known: whether anything is known of the user.
        since: interactions of the user that the snapshot does not have.
        text_counts: whether the list is also of a text.
    """

    rows: Sequence[Row]
    how: How
    known: bool
    since: int = 0
    text_counts: bool = False


def for_user(
    snapshot: OpenSnapshot, live: LiveHistories | None, user_id: str, wish: Wish
) -> Answer:
    """The list of a user: the stored one, where nothing asks for another.

    Raises:
        UnknownNameError: a category that no item has.
    """
    since = None if live is None else live.of(user_id, snapshot)
    new = 0 if since is None else since.interactions
    if not snapshot.knows(user_id) and since is None:
        if not wish.narrows:
            return Answer(snapshot.popular(wish.n), "popular", known=False)
        return for_history(snapshot, [], None, None, None, wish)
    stored = snapshot.recommend(user_id, wish.n) if snapshot.knows(user_id) else []
    is_whole = wish.n <= snapshot.list_length or len(stored) < snapshot.list_length
    if since is None and not wish.narrows and is_whole:
        return Answer(stored, "stored", known=True)
    history = snapshot.history(user_id) if since is None else History.of(since.history)
    if stored and (history is None or not history.positives.any() or snapshot.ranks_by_profile):
        # Their list is of their profile's text, which is not kept: it can only be narrowed.
        every = snapshot.recommend(user_id, snapshot.list_length)
        rows = _narrowed(snapshot, every, history, wish)[: wish.n]
        return Answer(rows, "stored", known=True, since=new)
    assert history is not None  # noqa: S101 - of somebody without a list there is something new
    return Answer(of_history(snapshot, history, wish), "computed", known=True, since=new)


def for_history(
    snapshot: OpenSnapshot,
    items: Sequence[str],
    weights: Sequence[float] | None,
    times: Sequence[datetime] | None,
    encode: Callable[[], np.ndarray] | None,
    wish: Wish,
) -> Answer:
    """The list of somebody whom no run has seen: what a run would give them.

    Args:
        snapshot: whose model is asked.
        items: what they like, item_ids or titles.
        weights: of each; all alike where left out.
        times: of each; not known where left out.
        encode: gives the vector of their text, float32 (d,); None where there is no text.
        wish: what the list must be like.

    Raises:
        UnknownNameError: an item or a category that there is not.
        UserError: numbers that do not fit.
    """
    known = snapshot.folding.history(items, weights, times)
    seen = known.positives.astype(bool)
    allowed = among(snapshot, wish)  # before a text is encoded, which takes long
    vector = encode() if encode is not None and snapshot.folding.compares_text(known) else None
    rows = snapshot.folding.list_for(known, seen, wish.n, vector, allowed)
    is_known = bool(items) or encode is not None
    return Answer(
        rows,
        "computed" if is_known else "popular",
        known=is_known,
        text_counts=vector is not None,
    )


def among(snapshot: OpenSnapshot, wish: Wish) -> np.ndarray | None:
    """Which items a wish lets into lists, bool (items,) by the model's positions; None: all."""
    if not wish.narrows:
        return None
    folding = snapshot.folding
    allowed = (
        folding.of_categories(wish.categories)
        if wish.categories
        else np.ones(folding.items, dtype=bool)
    )
    places = [folding.positions[item] for item in wish.exclude if item in folding.positions]
    allowed[places] = False
    return allowed


def _narrowed(
    snapshot: OpenSnapshot, rows: Sequence[Row], history: History | None, wish: Wish
) -> list[Row]:
    """Rows that a wish lets in, without what the user has seen since."""
    allowed, positions = among(snapshot, wish), snapshot.folding.positions
    seen = set() if history is None else set(history.item_ids.tolist())
    kept = (
        row
        for row in rows
        if row.item_id not in seen
        and (allowed is None or (row.item_id in positions and allowed[positions[row.item_id]]))
    )
    return [replace(row, rank=rank) for rank, row in enumerate(kept, start=1)]


def without(history: History, item_ids: Collection[str]) -> History:
    """A history as if some of its items had never been there."""
    kept = ~np.isin(history.item_ids.astype(str), list(item_ids))
    columns: Mapping[str, np.ndarray] = vars(history)
    return History(**{name: values[kept] for name, values in columns.items()})


def of_history(snapshot: OpenSnapshot, history: History, wish: Wish) -> list[Row]:
    """The list of a user with this history."""
    positions, items = snapshot.folding.positions, snapshot.folding.items
    found = (positions.get(item, NOT_KNOWN) for item in history.item_ids.tolist())
    places = np.fromiter(found, dtype=np.int64, count=len(history.item_ids))
    known = places != NOT_KNOWN
    liked = known & history.positives
    order = np.argsort(places[liked])
    columns = places[liked][order]
    values = (np.ones(len(places)), history.weights, history.recencies)
    one = OneHistory(
        *(one_row(each[liked][order].astype(np.float32), columns, items) for each in values)
    )
    every = np.sort(places[known])
    seen = one_row(np.ones(len(every), dtype=bool), every, items)
    return snapshot.folding.list_for(one, seen, wish.n, None, among(snapshot, wish))
