"""A user: what they did, what they are recommended, and what other strategies would give."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recsys_dagster.serving.live import LiveHistories
from recsys_dagster.serving.opened import OpenSnapshot
from recsys_dagster.serving.page.comparing import Change, compared, near_history, unseen_popular
from recsys_dagster.serving.page.naming import category_of, title_of
from recsys_dagster.serving.recommending import Wish, for_user, of_history, without
from recsys_dagster.serving.served import Served
from recsys_dagster.snapshots.reader import History, Row

SHOWN = 10
"""Rows of a list."""
SHOWN_HISTORY = 30
MOST_STRUCK = 100


@dataclass(frozen=True)
class Liked:
    """An entry of a user's history.

    Attributes:
        item_id: what it is of.
        title: None where the catalogue has no such item.
        category: empty where it has none.
        positive: whether lists are learned from it.
        left_out: whether a minimum of the catalog leaves it out.
        since: whether the run that made the lists did not have it.
        at: its newest time; None where unknown.
    """

    item_id: str
    title: str | None
    category: str
    positive: bool
    left_out: bool
    since: bool
    at: np.datetime64 | None


@dataclass(frozen=True)
class OtherList:
    """A list that another strategy would give.

    Attributes:
        title: of the column.
        strategy: its name.
        why: how it comes about.
        rows: best first.
    """

    title: str
    strategy: str
    why: str
    rows: Sequence[Row]


@dataclass(frozen=True)
class UserPage:
    """A user.

    Attributes:
        user_id: whose page it is.
        known: whether anything is known of them.
        computed: whether the list was computed now, and is not that of the run.
        since: interactions that the run did not have.
        history: the newest first, as much as is shown.
        entries: of the whole history.
        positives: of them.
        liked: item_ids of the positive ones that are not struck out.
        change: the list, and how striking entries out changed it.
        struck: what is struck out, item_id and title.
        strikable: whether a list without an entry can be computed.
        others: what other strategies would give.
        near: ids of users that begin like one whom nobody knows.
    """

    user_id: str
    known: bool
    computed: bool
    since: int
    history: Sequence[Liked]
    entries: int
    positives: int
    liked: Sequence[str]
    change: Change
    struck: Mapping[str, str]
    strikable: bool
    others: Sequence[OtherList]
    near: Sequence[str]


def user_page(
    of: Served, snapshot: OpenSnapshot, user_id: str, struck: Sequence[str], whole: bool
) -> UserPage:
    """A user's history, list, and what other strategies would give.

    Args:
        of: the catalog.
        snapshot: its snapshot that the whole page is of.
        user_id: who.
        struck: item_ids of their history that the list is computed without.
        whole: show all of the history.
    """
    live = of.live.histories if of.live else None
    wish = Wish(min(SHOWN, snapshot.list_length))
    answer = for_user(snapshot, live, user_id, wish)
    history, before = history_of(snapshot, live, user_id)
    entries = [] if history is None else _liked(snapshot, history, before)
    own = {entry.item_id for entry in entries}
    # Where profiles rank, a list without an entry cannot be computed: their texts are not kept.
    strikable = (
        history is not None and bool(history.positives.any()) and not snapshot.ranks_by_profile
    )
    struck = [item for item in dict.fromkeys(struck) if item in own and strikable][:MOST_STRUCK]
    after = answer.rows
    others: list[OtherList] = []
    if history is not None:
        kept = without(history, struck)
        if struck:
            after = of_history(snapshot, kept, wish)
        others = _others(snapshot, kept)
    return UserPage(
        user_id,
        answer.known,
        answer.how == "computed" or bool(struck),
        answer.since,
        entries if whole else entries[:SHOWN_HISTORY],
        len(entries),
        sum(entry.positive for entry in entries),
        [each.item_id for each in entries if each.positive and each.item_id not in struck],
        compared(answer.rows, after),
        {item: title_of(snapshot, item) or item for item in struck},
        strikable,
        others,
        [] if answer.known else snapshot.users_beginning_with(user_id[:2], 5),
    )


def history_of(
    snapshot: OpenSnapshot, live: LiveHistories | None, user_id: str
) -> tuple[History | None, History | None]:
    """A user's history as it is now, and as the run had it; None where there is none."""
    before = snapshot.history(user_id)
    since = None if live is None else live.of(user_id, snapshot)
    return (before if since is None else History.of(since.history)), before


def _liked(snapshot: OpenSnapshot, history: History, before: History | None) -> list[Liked]:
    had = (
        {}
        if before is None
        else dict(zip(before.item_ids.tolist(), before.last_timestamps.tolist(), strict=True))
    )
    columns = history.item_ids.tolist(), history.positives, history.left_out
    entries = [
        Liked(
            item_id,
            title_of(snapshot, item_id),
            category_of(snapshot, item_id),
            bool(positive),
            bool(left_out),
            item_id not in had or had[item_id] != at.item(),
            None if np.isnat(at) else at,
        )
        for item_id, positive, left_out, at in zip(*columns, history.last_timestamps, strict=True)
    ]
    return entries[::-1]


def _others(snapshot: OpenSnapshot, history: History) -> list[OtherList]:
    lists = [
        OtherList(
            "Near to the history",
            "similar_items",
            "Items whose texts are most similar to those of the history.",
            near_history(snapshot, history, SHOWN),
        ),
        OtherList(
            "Popular",
            "popular",
            "What most users like, without what this user has seen.",
            unseen_popular(snapshot, history, SHOWN),
        ),
    ]
    own = snapshot.manifest["model"]["strategy"]
    return [each for each in lists if each.strategy != own and each.rows]
