"""What a server answers, typed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self


class Problem(Exception):  # noqa: N818 - its name in RFC 9457
    """What a server says is wrong.

    Attributes:
        status: of HTTP.
        detail: for people.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status}: {detail}")
        self.status, self.detail = status, detail


class Answer:
    """Something that is read from JSON; what a newer server adds is passed over.

    Attributes:
        parts: fields that are lists of answers, by name.
    """

    parts: ClassVar[Mapping[str, "type[Answer]"]] = {}

    @classmethod
    def of(cls, content: dict[str, Any]) -> Self:
        """What the JSON says."""
        names = {each.name for each in fields(cls)}  # ty: ignore[invalid-argument-type]
        found = {
            name: value
            for name, value in content.items()
            if name in names and not (value is None and name in cls.parts)
        }
        for name in cls.parts.keys() & found.keys():
            found[name] = tuple(cls.parts[name].of(each) for each in found[name])
        return cls(**found)


@dataclass(frozen=True)
class Reason(Answer):
    """A history item that contributed, with its share of the score."""

    item_id: str
    title: str
    share: float


@dataclass(frozen=True)
class Recommendation(Answer):
    """A row of a list."""

    item_id: str
    title: str
    category: str | None
    rank: int
    score: float
    strategy: str
    because: tuple[Reason, ...] = ()

    parts: ClassVar[Mapping[str, type[Answer]]] = {"because": Reason}


@dataclass(frozen=True)
class Recommendations(Answer):
    """A list, and what it rests on: `how` is stored, computed or popular.

    `text_counts` says whether a text has a say in it.
    """

    catalog: str
    snapshot: str
    how: str
    known: bool
    recommendations: tuple[Recommendation, ...]
    since: int = 0
    user_id: str | None = None
    text_counts: bool = False

    parts: ClassVar[Mapping[str, type[Answer]]] = {"recommendations": Recommendation}


@dataclass(frozen=True)
class SimilarItems(Answer):
    """The neighbours of an item."""

    catalog: str
    snapshot: str
    item_id: str
    title: str
    similar: tuple[Recommendation, ...]

    parts: ClassVar[Mapping[str, type[Answer]]] = {"similar": Recommendation}


@dataclass(frozen=True)
class Item(Answer):
    """An item that was found."""

    item_id: str
    title: str
    category: str | None


@dataclass(frozen=True)
class Accepted(Answer):
    """What became of interactions."""

    catalog: str
    accepted: int
    repeated: int
    unknown_items: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class CatalogState(Answer):
    """A catalog that is served."""

    catalog: str
    description: str
    snapshot: str
    made_at: str
    strategy: str
    users: int
    items: int
    interactions: int
    takes_interactions: bool
    fault: str | None = None
