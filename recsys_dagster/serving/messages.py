"""What is asked and answered, as OpenAPI shows it."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_ROWS = 200
MAX_ID = 512
MAX_IN_ADDRESS = 20
"""Names in a query string: longer addresses are refused before anybody looks at them."""
MAX_TEXT = 10_000
MAX_HISTORY = 2_000
MAX_INTERACTIONS = 1_000
MAX_OTHER = 20

Id = Annotated[str, Field(min_length=1, max_length=MAX_ID)]
Rows = Annotated[int, Field(ge=1, le=MAX_ROWS, description="rows, at most")]


class Message(BaseModel):
    """Unknown fields are refused: a misspelt one would be silently without effect."""

    model_config = ConfigDict(extra="forbid")


class HistoryItem(Message):
    """An item that somebody likes."""

    item_id: Id
    weight: Annotated[float, Field(ge=0, le=1e12, strict=True)] = 1.0
    timestamp: datetime | None = Field(default=None, description="UTC where there is no zone")


class RecommendationRequest(Message):
    """Somebody whom no run has seen: what they like, what they look for, or both."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"items": ["1", "260"], "n": 5},
                {"items": [{"item_id": "1", "weight": 2}], "text": "a film about the sea", "n": 5},
            ]
        },
    )

    items: Annotated[list[Id | HistoryItem], Field(max_length=MAX_HISTORY)] = Field(
        default_factory=list, description="item_ids or titles, the oldest first; or with weights"
    )
    text: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)] | None = Field(
        default=None, description="who they are or what they look for, in words"
    )
    n: Rows = 10
    category: Annotated[list[Id], Field(max_length=100)] = Field(
        default_factory=list, description="the only categories that may be in the list"
    )
    exclude: Annotated[list[Id], Field(max_length=MAX_HISTORY)] = Field(
        default_factory=list, description="item_ids that must not be in the list"
    )
    explain: bool = Field(default=True, description="say why each row is there")

    @model_validator(mode="after")
    def _times_of_all_or_none(self) -> Self:
        timed = [
            isinstance(each, HistoryItem) and each.timestamp is not None for each in self.items
        ]
        if any(timed) and not all(timed):
            raise ValueError("items: a timestamp for each of them, or for none")
        return self

    @property
    def item_ids(self) -> list[str]:
        """The items, in the order given."""
        return [each if isinstance(each, str) else each.item_id for each in self.items]

    @property
    def weights(self) -> list[float]:
        """How much each counts."""
        return [1.0 if isinstance(each, str) else each.weight for each in self.items]

    @property
    def times(self) -> list[datetime] | None:
        """When each was; None where nothing is said."""
        times = [each.timestamp for each in self.items if isinstance(each, HistoryItem)]
        found = [time for time in times if time is not None]
        return found or None


class Reason(Message):
    """A history item that contributed."""

    item_id: str
    title: str
    share: float = Field(description="of the score, from 0 to 1")


class Recommendation(Message):
    """A row of a list."""

    item_id: str
    title: str
    category: str | None
    rank: int
    score: float = Field(description="comparable within the list and strategy")
    strategy: str
    because: list[Reason] | None = None


class Recommendations(Message):
    """A list, and what it rests on."""

    catalog: str
    snapshot: str = Field(description="that the whole answer is of")
    user_id: str | None = None
    how: Literal["stored", "computed", "popular"] = Field(
        description="a list of the last run; computed now; or popular items for want of a history"
    )
    known: bool = Field(description="whether anything is known of the user")
    since: int = Field(default=0, description="interactions that the last run did not have")
    text_counts: bool = Field(
        default=False,
        description="whether a text has a say: most strategies go by what somebody likes, where "
        "there is anything",
    )
    recommendations: list[Recommendation]


class SimilarItems(Message):
    """The neighbours of an item."""

    catalog: str
    snapshot: str
    item_id: str
    title: str
    similar: list[Recommendation]


class Item(Message):
    """An item that can be found."""

    item_id: str
    title: str
    category: str | None


class Items(Message):
    """Items that a search found."""

    catalog: str
    snapshot: str
    items: list[Item]


class Interaction(BaseModel):
    """Somebody did something with an item; other fields are columns that the source has too."""

    model_config = ConfigDict(extra="allow")

    user_id: Id
    item_id: Id
    event: Id | None = None
    weight: Annotated[float, Field(ge=-1e12, le=1e12, strict=True)] | None = None
    timestamp: datetime | None = Field(default=None, description="now where left out")
    key: Id | None = Field(
        default=None, description="what is told again under the same key is not taken again"
    )

    @model_validator(mode="after")
    def _few_plain_columns(self) -> Self:
        more: dict[str, Any] = self.__pydantic_extra__ or {}
        if len(more) > MAX_OTHER:
            raise ValueError(f"at most {MAX_OTHER} other columns")
        for name, value in more.items():
            if isinstance(value, dict | list):
                raise ValueError(f"{name}: expected a text, a number, true, false or null")
            if len(name) > MAX_ID or (isinstance(value, str) and len(value) > MAX_TEXT):
                raise ValueError("a name or value is too long")
            if isinstance(value, str) and not _is_text(value):
                raise ValueError(f"{name}: expected a text; found half a character")
        return self


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


class Interactions(Message):
    """Interactions, taken together or not at all."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"interactions": [{"user_id": "1", "item_id": "260", "key": "order-4711"}]}
            ]
        },
    )

    interactions: Annotated[list[Interaction], Field(min_length=1, max_length=MAX_INTERACTIONS)]


class Accepted(Message):
    """What became of interactions: they are on the disk, and count from now on."""

    catalog: str
    accepted: int
    repeated: int = Field(description="told before under the same key")
    unknown_items: list[str] = Field(
        description="items that the snapshot does not know; they count when a run has read them"
    )


class CatalogState(Message):
    """A catalog that is served."""

    catalog: str
    description: str
    snapshot: str
    made_at: datetime
    strategy: str
    users: int
    items: int
    interactions: int
    takes_interactions: bool
    fault: str | None = Field(description="why a newer snapshot is not served")


class CatalogList(Message):
    """All catalogs that are served, and those that cannot be."""

    catalogs: list[CatalogState]
    faults: dict[str, str]


class Health(Message):
    """Whether the server works."""

    status: str


class Readiness(Message):
    """Whether there is something to serve."""

    status: str
    served: int = Field(description="catalogs")
    stale: int = Field(description="of them, those whose newest snapshot cannot be opened")
    failed: int = Field(description="catalogs that cannot be served")


class Problem(BaseModel):
    """What is wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
