"""The clients: every method sends one request and returns its answer, or raises a `Problem`."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Self, TypeVar

import httpx

from recsys_dagster.client import requests
from recsys_dagster.client.requests import Question
from recsys_dagster.client.types import (
    Accepted,
    CatalogState,
    Item,
    Problem,
    Recommendations,
    SimilarItems,
)

Found = TypeVar("Found")
TIMEOUT = 30.0


class Client:
    """Asks a server and waits for its answer; usable as a context manager."""

    def __init__(
        self, url: str, key: str | None = None, timeout: float = TIMEOUT, **options: Any
    ) -> None:
        """Set a client up.

        Args:
            url: of the server, such as http://127.0.0.1:8000.
            key: where the server asks for one.
            timeout: seconds that an answer may take.
            options: of `httpx.Client`.
        """
        self._http = httpx.Client(base_url=url, headers=_headers(key), timeout=timeout, **options)

    def recommend(
        self,
        catalog: str,
        user_id: str,
        n: int = 10,
        category: Sequence[str] = (),
        exclude: Sequence[str] = (),
    ) -> Recommendations:
        """A user's list; popular items, with `known` False, for somebody nobody knows.

        Raises:
            Problem: what the server says is wrong.
        """
        return self._ask(requests.recommend(catalog, user_id, n, category, exclude))

    def recommend_for(
        self,
        catalog: str,
        items: Sequence[str] = (),
        weights: Sequence[float] | None = None,
        times: Sequence[datetime] | None = None,
        text: str | None = None,
        n: int = 10,
        category: Sequence[str] = (),
        exclude: Sequence[str] = (),
    ) -> Recommendations:
        """The list of somebody whom no run has seen, by what they like or look for."""
        question = requests.recommend_for(
            catalog, items, weights, times, text, n, category, exclude
        )
        return self._ask(question)

    def similar(self, catalog: str, item: str, n: int = 10) -> SimilarItems:
        """An item's nearest neighbours, by its id or title."""
        return self._ask(requests.similar(catalog, item, n))

    def popular(self, catalog: str, n: int = 10) -> Recommendations:
        """What most users like."""
        return self._ask(requests.popular(catalog, n))

    def search(self, catalog: str, words: str, n: int = 10) -> list[Item]:
        """Items by words of their titles."""
        return self._ask(requests.search(catalog, words, n))

    def tell(self, catalog: str, interactions: Sequence[Mapping[str, Any]]) -> Accepted:
        """Tell of interactions: on the server's disk when this returns.

        Args:
            catalog: whose.
            interactions: user_id and item_id, and event, weight, timestamp and key where known.
        """
        return self._ask(requests.tell(catalog, interactions))

    def catalogs(self) -> list[CatalogState]:
        """What is served."""
        return self._ask(requests.catalogs())

    def close(self) -> None:
        """Close connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, question: Question[Found]) -> Found:
        return _read(question, self._http.request(**_sent(question)))


class AsyncClient:
    """The same questions for code that awaits; see `Client`."""

    def __init__(
        self, url: str, key: str | None = None, timeout: float = TIMEOUT, **options: Any
    ) -> None:
        """Set a client up; arguments as of `Client`, options of `httpx.AsyncClient`."""
        self._http = httpx.AsyncClient(
            base_url=url, headers=_headers(key), timeout=timeout, **options
        )

    async def recommend(
        self,
        catalog: str,
        user_id: str,
        n: int = 10,
        category: Sequence[str] = (),
        exclude: Sequence[str] = (),
    ) -> Recommendations:
        """A user's list; see `Client.recommend`."""
        return await self._ask(requests.recommend(catalog, user_id, n, category, exclude))

    async def recommend_for(
        self,
        catalog: str,
        items: Sequence[str] = (),
        weights: Sequence[float] | None = None,
        times: Sequence[datetime] | None = None,
        text: str | None = None,
        n: int = 10,
        category: Sequence[str] = (),
        exclude: Sequence[str] = (),
    ) -> Recommendations:
        """The list of a history, a text, or both; see `Client.recommend_for`."""
        question = requests.recommend_for(
            catalog, items, weights, times, text, n, category, exclude
        )
        return await self._ask(question)

    async def similar(self, catalog: str, item: str, n: int = 10) -> SimilarItems:
        """An item's nearest neighbours."""
        return await self._ask(requests.similar(catalog, item, n))

    async def popular(self, catalog: str, n: int = 10) -> Recommendations:
        """What most users like."""
        return await self._ask(requests.popular(catalog, n))

    async def search(self, catalog: str, words: str, n: int = 10) -> list[Item]:
        """Items by words of their titles."""
        return await self._ask(requests.search(catalog, words, n))

    async def tell(self, catalog: str, interactions: Sequence[Mapping[str, Any]]) -> Accepted:
        """Tell of interactions; see `Client.tell`."""
        return await self._ask(requests.tell(catalog, interactions))

    async def catalogs(self) -> list[CatalogState]:
        """What is served."""
        return await self._ask(requests.catalogs())

    async def close(self) -> None:
        """Close connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _ask(self, question: Question[Found]) -> Found:
        return _read(question, await self._http.request(**_sent(question)))


def _headers(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Authorization": f"Bearer {key}"}


def _sent(question: Question[Any]) -> dict[str, Any]:
    return {
        "method": question.method,
        "url": question.path,
        "params": question.parameters,
        "json": question.body,
    }


def _read(question: Question[Found], answer: httpx.Response) -> Found:
    if answer.is_success:
        return question.read(answer.json())
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = answer.text[:200]
    raise Problem(answer.status_code, detail)
