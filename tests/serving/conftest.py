"""A small shop, published, and servers over it."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest
import uvicorn
from fastapi.testclient import TestClient

from recsys_dagster.catalog.files import Catalogs
from recsys_dagster.serving.app import ServerSettings, create_app
from recsys_dagster.serving.guard import Limits
from recsys_dagster.serving.opened import OpenSnapshot
from recsys_dagster.snapshots.reader import Snapshot
from tests.conftest import Place, without_pictures

NAME = "tiny"


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for something that happens beside the test."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="session")
def shop(published_tiny: Place, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The tiny catalog with its interactions in a folder, run once. Copy it to change it."""
    place = published_tiny.copy(tmp_path_factory.mktemp("shop") / "shop")
    orders = place.data / "orders"
    orders.mkdir()
    shutil.move(place.data / "interactions.csv", orders / "first.csv")
    place.write_catalog(
        NAME,
        {
            "description": "Stories",
            "interactions": {"source": "../data/orders", "positive": "rating >= 4"},
            "items": {
                "source": "../data/items.csv",
                "text": "{title}. {genres}",
                "columns": {"category": "genres"},
            },
            "encoder": {"model": "tfidf", "dimension": 16},
            "list_length": 5,
            "live": {"file_seconds": 3600},
        },
    )
    with without_pictures():
        assert place.run(NAME).success
    return place


@pytest.fixture
def own_shop(shop: Place, tmp_path: Path, no_pictures: None) -> Place:
    """A copy of the shop that a test may change."""
    return shop.copy(tmp_path / "shop")


@pytest.fixture(scope="session")
def snapshot(shop: Place) -> Snapshot:
    return Snapshot.current(shop.snapshots, NAME)


@pytest.fixture(scope="session")
def opened(snapshot: Snapshot) -> OpenSnapshot:
    return OpenSnapshot(snapshot)


@pytest.fixture
def server() -> Iterator[Callable[..., TestClient]]:
    """`server(place, local=True, limits=Limits(...))`: a client of a started server."""
    clients: list[TestClient] = []

    def start(place: Place, *, local: bool = True, limits: Limits | None = None) -> TestClient:
        settings = ServerSettings(
            place.snapshots,
            Catalogs.read(place.catalogs),
            place.home / "keys.json",
            local,
            limits=limits or Limits(requests_per_second=0),
        )
        client = TestClient(
            create_app(settings), base_url="http://localhost", raise_server_exceptions=False
        )
        client.__enter__()
        clients.append(client)
        return client

    yield start
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def listening(own_shop: Place) -> Iterator[str]:
    """The address of a server over a shop of its own, on loopback."""
    settings = ServerSettings(
        own_shop.snapshots,
        Catalogs.read(own_shop.catalogs),
        own_shop.home / "keys.json",
        limits=Limits(requests_per_second=0),
    )
    config = uvicorn.Config(create_app(settings), port=0, log_level="error")
    running = uvicorn.Server(config)
    thread = Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        assert thread.is_alive()
        time.sleep(0.01)
    port = running.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    running.should_exit = True
    thread.join(timeout=10)


@pytest.fixture
def client(own_shop: Place, server: Callable[..., TestClient]) -> TestClient:
    """Of a server over a shop of its own."""
    return server(own_shop)
