"""The pages in Chromium: servers in threads, a browser, and what it complains of."""

import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from recsys_dagster.catalog.files import Catalogs
from recsys_dagster.serving.app import ServerSettings, create_app
from recsys_dagster.serving.guard import Limits
from recsys_dagster.serving.keys import Keys, Scope
from tests.conftest import Place
from tests.serving.conftest import NAME, shop

__all__ = ["shop"]

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
SIZES = {"phone": (390, 844), "desktop": (1280, 900)}


@pytest.fixture(scope="module")
def place(shop: Place, tmp_path_factory: pytest.TempPathFactory) -> Place:
    return shop.copy(tmp_path_factory.mktemp("page") / "shop")


@pytest.fixture(scope="module")
def serve(place: Place) -> Iterator[Callable[[bool], str]]:
    """`serve(local)`: a server of its own, and its address."""
    import uvicorn

    servers: list[tuple[uvicorn.Server, Thread]] = []

    def start(local: bool) -> str:
        settings = ServerSettings(
            place.snapshots,
            Catalogs.read(place.catalogs),
            place.home / "keys.json",
            local,
            limits=Limits(requests_per_second=0),
        )
        app = create_app(settings)
        listening = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.05)
        servers.append((server, thread))
        # An encoder that can be asked: every text is near to what the first axis is of.
        about = app.state.catalogs[NAME].snapshot.manifest
        about["settings"]["encoder"]["model"] = "an encoder"
        app.state.vectors.of = lambda manifest, text: np.eye(1, 16, dtype=np.float32)[0]
        return f"http://127.0.0.1:{listening.getsockname()[1]}"

    yield start
    for server, thread in servers:
        server.should_exit = True
        thread.join(timeout=10)


@pytest.fixture(scope="module")
def site(serve: Callable[[bool], str]) -> str:
    return serve(True)


@pytest.fixture(scope="module")
def guarded(serve: Callable[[bool], str]) -> str:
    return serve(False)


@pytest.fixture(scope="module")
def key(place: Place) -> str:
    return Keys(place.home / "keys.json").create(Scope.READ, "*")[1]


@pytest.fixture(scope="module")
def browser() -> Iterator:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = Path(shutil.which("chromium") or "/usr/bin/chromium")
        path = str(own) if own.exists() else None
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def opened_page(browser) -> Iterator[Callable]:
    """`opened_page(size, colours, scripts)`: a page that must not complain, nor ask others."""
    contexts, complaints = [], []

    def start(size: str = "desktop", colours: str = "light", scripts: bool = True):
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=colours,
            java_script_enabled=scripts,
            reduced_motion="reduce",
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)

        def said(message) -> None:
            # That a page answers 401 or 404 is the browser's own remark.
            if message.type == "error" and "the server responded with" not in message.text:
                complaints.append(message.text)

        def asked(request) -> None:
            if not request.url.startswith(("http://127.0.0.1:", "data:")):
                complaints.append(request.url)

        page.on("console", said)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", asked)
        return page

    yield start
    for context in contexts:
        context.close()
    assert complaints == []
