"""What a template is given: a snapshot's answers, put into words and marks."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from recsys_dagster.errors import UserError
from recsys_dagster.serving.live import LiveHistories
from recsys_dagster.serving.opened import OpenSnapshot
from recsys_dagster.serving.page.comparing import Change, compared, near_history, unseen_popular
from recsys_dagster.serving.recommending import (
    Wish,
    for_history,
    for_user,
    of_history,
    without,
)
from recsys_dagster.serving.served import Served
from recsys_dagster.snapshots.reader import History, Row

SHOWN = 10
"""Rows of a list."""
SHOWN_HISTORY = 30
SOME_USERS, LIKED_OF_USER = 6, 3
FOUND = 8
NEIGHBOURS = 12
MOST_STRUCK = 100
MAP_POINTS = 20_000
MAP_ROWS = 30
COLOURED = 8
"""Categories with a colour of their own: more cannot be told apart."""
TFIDF = "tfidf"


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
    struck = [item for item in dict.fromkeys(struck) if item in own][:MOST_STRUCK]
    strikable = history is not None and bool(history.positives.any())
    after = answer.rows
    others: list[OtherList] = []
    if history is not None:
        kept = without(history, struck)
        if struck and strikable:
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
    return (before if since is None else History.of(since)), before


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


def title_of(snapshot: OpenSnapshot, item_id: str) -> str | None:
    """The title of an item; None where the catalogue has no such item."""
    return snapshot.find_item(item_id)[1] if snapshot.has_item(item_id) else None


def category_of(snapshot: OpenSnapshot, item_id: str) -> str:
    """The category of an item; empty where it has none, or there is no such item."""
    return snapshot.category_of(item_id) if snapshot.has_item(item_id) else ""


@dataclass(frozen=True)
class ItemPage:
    """An item.

    Attributes:
        item_id: which.
        title: of it.
        category: empty where it has none.
        text: that is encoded.
        popularity: its row among popular items; None where lists may not hold it.
        recommendable: how many items lists may hold.
        neighbours: the nearest first.
        whole: the similarity that a full bar stands for.
    """

    item_id: str
    title: str
    category: str
    text: str | None
    popularity: Row | None
    recommendable: int
    neighbours: Sequence[Row]
    whole: float


def item_page(snapshot: OpenSnapshot, item: str) -> ItemPage:
    """An item by its id or title.

    Raises:
        UserError: there is none, or several have that title.
    """
    item_id, title = snapshot.find_item(item)
    neighbours = snapshot.similar(item_id, NEIGHBOURS)
    # A dot product has no largest value: bars are of the nearest then.
    of_one = snapshot.manifest["settings"]["similarity"] != "dot"
    return ItemPage(
        item_id,
        title,
        snapshot.category_of(item_id),
        snapshot.text_of(item_id),
        snapshot.popularity_of(item_id),
        snapshot.manifest["files"]["popular_items"]["rows"],
        neighbours,
        1.0 if of_one else max((row.score for row in neighbours), default=1.0),
    )


@dataclass(frozen=True)
class Overview:
    """A catalog.

    Attributes:
        manifest: of its snapshot.
        made_at: when that was made.
        fault: why a newer snapshot is not served; None where there is none.
        takes_interactions: whether the server may be told of interactions.
        refusal: why not.
        users: some, each with titles that they like, the newest first, and how many more.
        popular: the most popular items.
    """

    manifest: Mapping[str, Any]
    made_at: datetime
    fault: str | None
    takes_interactions: bool
    refusal: str
    users: Sequence[tuple[str, Sequence[str], int]]
    popular: Sequence[Row]


def overview(of: Served, snapshot: OpenSnapshot) -> Overview:
    """What there is to say of a catalog."""
    return Overview(
        snapshot.manifest,
        datetime.fromisoformat(snapshot.manifest["made_at"]),
        of.fault,
        of.live is not None,
        of.refusal,
        [(user, *_likes(snapshot, user)) for user in snapshot.some_users(SOME_USERS)],
        snapshot.popular(SHOWN),
    )


def _likes(snapshot: OpenSnapshot, user_id: str) -> tuple[list[str], int]:
    history = snapshot.history(user_id)
    if history is None:
        return [], 0
    liked = history.item_ids[history.positives].tolist()[::-1]
    titles = [title_of(snapshot, item) or item for item in liked[:LIKED_OF_USER]]
    return titles, len(liked) - len(titles)


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        words: that were looked for.
        items: item_id, title, category.
        users: ids.
    """

    words: str
    items: Sequence[tuple[str, str, str]]
    users: Sequence[str]


def found(snapshot: OpenSnapshot, words: str, n: int = FOUND) -> Found:
    """Items by words or the beginning of an id, and users by the beginning of theirs."""
    if not words.strip():
        return Found("", [], [])
    items = [(*named, snapshot.category_of(named[0])) for named in snapshot.search(words, n)]
    return Found(words, items, snapshot.users_beginning_with(words.strip(), n))


@dataclass(frozen=True)
class Tried:
    """A list for somebody made up.

    Attributes:
        items: what they like, item_id → title.
        text: what they look for; empty where nothing is said.
        words: that an item is looked for by.
        offered: items to choose from, item_id, title, category.
        rows: their list.
        known: whether the list is their own; else it is of popular items.
        text_counts: whether their words have a say in the list.
        takes_text: whether the encoder can be asked for words.
        fault: why there is no list for what they say; empty where there is.
    """

    items: Mapping[str, str]
    text: str
    words: str
    offered: Sequence[tuple[str, str, str]]
    rows: Sequence[Row]
    known: bool
    text_counts: bool
    takes_text: bool
    fault: str


def tried(
    snapshot: OpenSnapshot,
    items: Sequence[str],
    text: str,
    words: str,
    encode: Callable[[Mapping[str, Any], str], np.ndarray],
) -> Tried:
    """The list of somebody made up.

    Args:
        snapshot: what makes it.
        items: item_ids that they like; those that there are not are passed over.
        text: what they look for.
        words: that an item is looked for by.
        encode: a text as a run would, by a manifest.
    """
    about = snapshot.manifest
    chosen = {item: title_of(snapshot, item) or item for item in items if snapshot.has_item(item)}
    takes_text = about["settings"]["encoder"]["model"] != TFIDF
    # Strategies that rank by behaviour look at words only where there is no behaviour.
    counts = bool(text) and takes_text and (not chosen or about["model"]["strategy"] == "content")
    rows, known, fault = snapshot.popular(SHOWN), False, ""
    try:
        vector = encode(about, text) if counts else None
        answer = for_history(snapshot, list(chosen), None, None, vector, Wish(SHOWN))
        rows, known = answer.rows, answer.known
    except UserError as error:
        fault = str(error)
    hits = snapshot.search(words, FOUND + len(chosen))
    offered = [(item, title, snapshot.category_of(item)) for item, title in hits]
    return Tried(
        chosen,
        text,
        words,
        [each for each in offered if each[0] not in chosen][:FOUND],
        rows,
        known,
        counts,
        takes_text,
        fault,
    )


@dataclass(frozen=True)
class MapPage:
    """The map in words.

    Attributes:
        shown: items on it.
        items: with a place at all.
        categories: those with a colour, the most frequent first, and how many items are of each.
        others: items of other categories, or none.
        rows: popular items, each with its category and what is nearest.
    """

    shown: int
    items: int
    categories: Sequence[tuple[str, int]]
    others: int
    rows: Sequence[tuple[Row, str, Sequence[Row]]]


def map_page(snapshot: OpenSnapshot) -> MapPage:
    """What the map shows, in words."""
    ids = _mapped(snapshot)
    coloured = _coloured(snapshot, ids)
    return MapPage(
        len(ids),
        len(snapshot.item_map().item_ids),
        coloured,
        len(ids) - sum(items for _, items in coloured),
        [
            (row, snapshot.category_of(row.item_id), snapshot.similar(row.item_id, 3))
            for row in snapshot.popular(MAP_ROWS)
        ],
    )


def map_points(snapshot: OpenSnapshot) -> dict[str, Any]:
    """The map for the script: columns of equal length, the most popular items first.

    `category` is a place in `categories`; -1 for all that have no colour.
    """
    columns = snapshot.item_map()
    place = {item: at for at, item in enumerate(columns.item_ids.tolist())}
    ids = _mapped(snapshot)
    names = [name for name, _ in _coloured(snapshot, ids)]
    number = {name: at for at, name in enumerate(names)}
    at = np.array([place[item] for item in ids], dtype=np.int64)
    return {
        "categories": names,
        "ids": ids,
        "titles": [title_of(snapshot, item) or item for item in ids],
        "x": np.round(columns.x[at], 4).tolist(),
        "y": np.round(columns.y[at], 4).tolist(),
        "category": [number.get(category_of(snapshot, item), -1) for item in ids],
    }


def _mapped(snapshot: OpenSnapshot) -> list[str]:
    """Items of the map, the most popular first, as many as are drawn."""
    placed = set(snapshot.item_map().item_ids.tolist())
    ordered = snapshot.items().item_ids.tolist()
    return [item for item in ordered if item in placed][:MAP_POINTS]


def _coloured(snapshot: OpenSnapshot, item_ids: Collection[str]) -> list[tuple[str, int]]:
    counts: dict[str, int] = {}
    for item in item_ids:
        name = category_of(snapshot, item)
        if name:
            counts[name] = counts.get(name, 0) + 1
    return sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:COLOURED]


def nearest_items(snapshot: OpenSnapshot, wanted: str) -> list[tuple[str, str]]:
    """Items whose titles are most like what somebody wrote; item_id and title."""
    return snapshot.search(wanted, 5) or _by_words(snapshot, wanted)


def _by_words(snapshot: OpenSnapshot, wanted: str) -> list[tuple[str, str]]:
    """Items with one of the words, the longest word first."""
    for word in sorted(wanted.split(), key=len, reverse=True)[:4]:
        hits = snapshot.search(word, 5)
        if hits:
            return hits
    return []
