"""What a server answers, typed."""

from dataclasses import dataclass, field, fields
from typing import Any, Self


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
    """Something that is read from JSON; what a newer server adds is passed over."""

    @classmethod
    def of(cls, content: dict[str, Any]) -> Self:
        """What the JSON says."""
        names = {each.name for each in fields(cls)}  # ty: ignore[invalid-argument-type]
        return cls(**{name: value for name, value in content.items() if name in names})


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

    @classmethod
    def of(cls, content: dict[str, Any]) -> Self:
        """What the JSON says."""
        because = tuple(Reason.of(each) for each in content.get("because") or ())
        return super().of(content | {"because": because})


@dataclass(frozen=True)
class Recommendations(Answer):
    """A list, and what it rests on: `how` is stored, computed or popular."""

    catalog: str
    snapshot: str
    how: str
    known: bool
    recommendations: tuple[Recommendation, ...]
    since: int = 0
    user_id: str | None = None

    @classmethod
    def of(cls, content: dict[str, Any]) -> Self:
        """What the JSON says."""
        rows = tuple(Recommendation.of(each) for each in content["recommendations"])
        return super().of(content | {"recommendations": rows})


@dataclass(frozen=True)
class SimilarItems(Answer):
    """The neighbours of an item."""

    catalog: str
    snapshot: str
    item_id: str
    title: str
    similar: tuple[Recommendation, ...]

    @classmethod
    def of(cls, content: dict[str, Any]) -> Self:
        """What the JSON says."""
        rows = tuple(Recommendation.of(each) for each in content["similar"])
        return super().of(content | {"similar": rows})


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
