"""What a template is given: a snapshot's answers, put into words and marks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np

from recsys_dagster.errors import UserError
from recsys_dagster.serving.api import NO_INTERACTIONS
from recsys_dagster.serving.opened import OpenSnapshot
from recsys_dagster.serving.page.naming import title_of
from recsys_dagster.serving.page.users import SHOWN
from recsys_dagster.serving.recommending import Wish, for_history
from recsys_dagster.serving.served import Served
from recsys_dagster.snapshots.reader import Row

SOME_USERS, LIKED_OF_USER = 6, 3
FOUND = 8
NEIGHBOURS = 12
TFIDF = "tfidf"


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


def overview(of: Served, snapshot: OpenSnapshot, told: Callable[..., str]) -> Overview:
    """What there is to say of a catalog.

    Args:
        of: the catalog.
        snapshot: that is served.
        told: what may be said of a fault (`access.told_of_fault`).
    """
    return Overview(
        snapshot.manifest,
        datetime.fromisoformat(snapshot.manifest["made_at"]),
        None if of.fault is None else told(of.fault),
        of.live is not None,
        told(of.refusal, NO_INTERACTIONS),
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
        asked = partial(encode, about, text) if counts else None
        answer = for_history(snapshot, list(chosen), None, None, asked, Wish(SHOWN))
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
