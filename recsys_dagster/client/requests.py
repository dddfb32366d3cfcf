"""What is sent for each question: the same for the blocking client and the other."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from recsys_dagster.client.types import (
    Accepted,
    CatalogState,
    Item,
    Recommendations,
    SimilarItems,
)

Found = TypeVar("Found")


@dataclass(frozen=True)
class Question(Generic[Found]):
    """A request, and what its answer is read as."""

    method: str
    path: str
    read: Callable[[Any], Found]
    parameters: Mapping[str, Any] | None = None
    body: Mapping[str, Any] | None = None


def recommend(
    catalog: str, user_id: str, n: int, category: Sequence[str], exclude: Sequence[str]
) -> Question[Recommendations]:
    """A user's list."""
    parameters = {"n": n, "category": list(category), "exclude": list(exclude)}
    path = f"{_of(catalog)}/users/{_quoted(user_id)}/recommendations"
    return Question("GET", path, Recommendations.of, parameters)


def recommend_for(
    catalog: str,
    items: Sequence[str],
    weights: Sequence[float] | None,
    times: Sequence[datetime] | None,
    text: str | None,
    n: int,
    category: Sequence[str],
    exclude: Sequence[str],
) -> Question[Recommendations]:
    """The list of a history, a text, or both."""
    rows: list[dict[str, Any]] = [{"item_id": item} for item in items]
    for name, values in (("weight", weights), ("timestamp", times)):
        if values is not None:
            for row, value in zip(rows, values, strict=True):
                row[name] = value.isoformat() if isinstance(value, datetime) else value
    body = {"items": rows, "n": n, "category": list(category), "exclude": list(exclude)}
    if text is not None:
        body["text"] = text
    return Question("POST", f"{_of(catalog)}/recommendations", Recommendations.of, body=body)


def similar(catalog: str, item: str, n: int) -> Question[SimilarItems]:
    """An item's neighbours."""
    path = f"{_of(catalog)}/items/{_quoted(item)}/similar"
    return Question("GET", path, SimilarItems.of, {"n": n})


def popular(catalog: str, n: int) -> Question[Recommendations]:
    """What most users like."""
    return Question("GET", f"{_of(catalog)}/popular", Recommendations.of, {"n": n})


def search(catalog: str, words: str, n: int) -> Question[list[Item]]:
    """Items by words of their titles."""
    return Question(
        "GET",
        f"{_of(catalog)}/items",
        lambda content: [Item.of(each) for each in content["items"]],
        {"q": words, "n": n},
    )


def tell(catalog: str, interactions: Sequence[Mapping[str, Any]]) -> Question[Accepted]:
    """Take interactions."""
    rows = [
        {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in row.items()
        }
        for row in interactions
    ]
    path = f"{_of(catalog)}/interactions"
    return Question("POST", path, Accepted.of, body={"interactions": rows})


def catalogs() -> Question[list[CatalogState]]:
    """What is served."""
    return Question(
        "GET",
        "/v1/catalogs",
        lambda content: [CatalogState.of(each) for each in content["catalogs"]],
    )


def _of(catalog: str) -> str:
    return f"/v1/{_quoted(catalog)}"


def _quoted(name: str) -> str:
    # As they are, these two are ways in a path, and taken out of it before it is sent.
    return name.replace(".", "%2E") if name in (".", "..") else quote(name, safe="")
