"""Asking a server from Python, blocking or not: `Client` and `AsyncClient`.

Not in here: anything of the pipeline. It needs httpx alone (extra `client`).
"""

from recsys_dagster.client.client import AsyncClient, Client
from recsys_dagster.client.types import (
    Accepted,
    CatalogState,
    Item,
    Problem,
    Reason,
    Recommendation,
    Recommendations,
    SimilarItems,
)

__all__ = [
    "Accepted",
    "AsyncClient",
    "CatalogState",
    "Client",
    "Item",
    "Problem",
    "Reason",
    "Recommendation",
    "Recommendations",
    "SimilarItems",
]
