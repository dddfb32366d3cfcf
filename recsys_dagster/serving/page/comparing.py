"""Lists side by side: what changes in one, and what another strategy would give."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from recsys_dagster.serving.opened import OpenSnapshot
from recsys_dagster.snapshots.reader import History, Reason, Row
from recsys_dagster.steps.lists.recommendations import REASONS

ASKED_OF_HISTORY = 200
"""The newest positive entries whose neighbours are added up."""
NEIGHBOURS_EACH = 50

Move = Literal["new", "up", "down", "same"]


@dataclass(frozen=True)
class Moved:
    """A row of a list, and where it was before.

    Attributes:
        row: of the list now.
        move: new in it, further up, further down, or at the same rank.
        by: ranks that it moved.
    """

    row: Row
    move: Move
    by: int


@dataclass(frozen=True)
class Change:
    """A list beside what it was.

    Attributes:
        rows: of the list now.
        left: rows that are no longer in it.
    """

    rows: Sequence[Moved]
    left: Sequence[Row]

    @property
    def came(self) -> int:
        """How many rows are new."""
        return sum(each.move == "new" for each in self.rows)


def compared(before: Sequence[Row], after: Sequence[Row]) -> Change:
    """How a list changed."""
    ranks = {row.item_id: row.rank for row in before}
    now = {row.item_id for row in after}
    return Change(
        [_moved(row, ranks.get(row.item_id)) for row in after],
        [row for row in before if row.item_id not in now],
    )


def _moved(row: Row, before: int | None) -> Moved:
    if before is None:
        return Moved(row, "new", 0)
    gained = before - row.rank
    return Moved(row, "up" if gained > 0 else "down" if gained < 0 else "same", abs(gained))


def near_history(snapshot: OpenSnapshot, history: History, n: int) -> list[Row]:
    """What is near to a history: r_i = Σ S_ji over its positive items j, as `similar_items` has it.

    Of a long history only the newest positive entries count.
    """
    seen = set(history.item_ids.tolist())
    liked = history.item_ids[history.positives].tolist()[::-1]
    parts: dict[str, list[Reason]] = {}
    for item in liked[:ASKED_OF_HISTORY]:
        if not snapshot.has_item(item):
            continue
        title = snapshot.find_item(item)[1]
        for row in snapshot.similar(item, NEIGHBOURS_EACH):
            if row.item_id not in seen:
                parts.setdefault(row.item_id, []).append(Reason(item, title, row.score))
    scores = {
        item: sum(part.share for part in own)
        for item, own in parts.items()
        if snapshot.popularity_of(item) is not None
    }
    best = sorted(scores, key=lambda item: (-scores[item], item))[:n]
    return [
        Row(
            *snapshot.find_item(item),
            scores[item],
            rank,
            "similar_items",
            _shares(parts[item]),
        )
        for rank, item in enumerate(best, start=1)
    ]


def _shares(parts: Sequence[Reason]) -> list[Reason]:
    positive = [part for part in parts if part.share > 0]
    whole = sum(part.share for part in positive)
    largest = sorted(positive, key=lambda part: -part.share)[:REASONS]
    return [Reason(part.item_id, part.title, part.share / whole) for part in largest]


def unseen_popular(snapshot: OpenSnapshot, history: History, n: int) -> list[Row]:
    """The most popular items that are not in a history."""
    seen = set(history.item_ids.tolist())
    rows = snapshot.popular(n + len(seen))
    return [row for row in rows if row.item_id not in seen][:n]
