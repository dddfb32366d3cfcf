"""What a shape is: files as a stranger brings them, and what should be understood of them."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.strangers.worlds import Event, World


@dataclass
class Pair:
    """What is known of a user and an item: the weights added up, and the last time, UTC."""

    weight: float = 0.0
    last: datetime | None = None


@dataclass(frozen=True)
class Truth:
    """What should be understood.

    Attributes:
        pairs: by (user_id, item_id).
        titles: by item_id; what people are shown.
        rejected: rows of interactions that say nothing and are counted.
        rejected_items: the same of items.
    """

    pairs: dict[tuple[str, str], Pair]
    titles: dict[str, str]
    rejected: int = 0
    rejected_items: int = 0


@dataclass(frozen=True)
class Shape:
    """A set of tables as somebody else writes them.

    Attributes:
        name: of its folder.
        about: what is unusual about it.
        write: puts the files into a folder and says what should be understood of them.
        refusal: where the set cannot be understood: what the message must have in it.
    """

    name: str
    about: str
    write: Callable[[Path], Truth]
    refusal: str | None = None


SHAPES: list[Shape] = []


def shape(about: str, refusal: str | None = None) -> Callable[[Callable[[Path], Truth]], None]:
    """Keep a function that writes files as the shape of its name."""

    def keep(write: Callable[[Path], Truth]) -> None:
        SHAPES.append(Shape(write.__name__, about, write, refusal))

    return keep


@dataclass
class Understood:
    """Truth being put together, event by event."""

    pairs: dict[tuple[str, str], Pair] = field(default_factory=dict)

    def add(self, user: str, item: str, weight: float = 1.0, at: datetime | None = None) -> None:
        pair = self.pairs.setdefault((user, item), Pair())
        pair.weight += weight
        if at is not None and (pair.last is None or at > pair.last):
            pair.last = at


def truth_of(
    world: World,
    user: Callable[[int], str],
    item: Callable[[int], str],
    weight: Callable[[Event], float] = lambda event: 1.0,
    at: Callable[[Event], datetime | None] = lambda event: event.at.replace(tzinfo=None),
    events: Iterable[Event] | None = None,
    **more: int,
) -> Truth:
    """What should be understood of a world whose events were all written.

    Args:
        world: what was written.
        user: its id as written.
        item: its id as written.
        weight: of an event.
        at: the time of an event as far as it was written, UTC.
        events: those that can be read; all where left out.
        more: rows rejected.
    """
    understood = Understood()
    for event in world.events if events is None else events:
        understood.add(user(event.user), item(event.item.number), weight(event), at(event))
    titles = {item(one.number): one.title for one in world.items}
    return Truth(understood.pairs, titles, **more)


def delimited(
    header: Sequence[str] | None,
    rows: Iterable[Sequence[Any]],
    delimiter: str = ",",
    line_end: str = "\n",
    quoting: Any = csv.QUOTE_MINIMAL,
) -> str:
    """A text file of rows."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=line_end, quoting=quoting)
    if header is not None:
        writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def write_lines(path: Path, objects: Iterable[Any]) -> None:
    """JSON lines."""
    lines = [json.dumps(one, ensure_ascii=False) for one in objects]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
