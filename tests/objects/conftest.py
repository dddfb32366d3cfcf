"""A local server that speaks S3, and a bucket of its own for each test."""

import itertools
import logging
from collections.abc import Callable, Iterator

import pytest

from recsys_dagster import objects

NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The address of the server."""
    pytest.importorskip("s3fs", reason="pip install -e '.[object-tests]'")
    moto = pytest.importorskip("moto.server", reason="pip install -e '.[object-tests]'")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    started = moto.ThreadedMotoServer(port=0, verbose=False)
    started.start()
    yield "http://{}:{}".format(*started.get_host_and_port())
    started.stop()


@pytest.fixture
def environment(server: str, tmp_path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The variables that say where the server is and who asks."""
    monkeypatch.setenv("RECSYS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key-of-a-test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-a-test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    return monkeypatch


@pytest.fixture
def reconnect() -> Iterator[Callable[[], None]]:
    """`reconnect()`: libraries take the environment up anew, which they do once a process."""
    yield objects._storage.cache_clear
    objects._storage.cache_clear()


@pytest.fixture
def bucket(environment: pytest.MonkeyPatch) -> str:
    """The address of an empty bucket."""
    address = f"s3://bucket-{next(NUMBERS)}"
    with objects._told(address) as storage:
        storage.mkdir(address)
    return address


@pytest.fixture
def downloaded(monkeypatch):
    """The addresses of the objects that were fetched, as they are."""
    addresses = []
    original = objects.download

    def noted(stored, path):
        addresses.append(stored.address)
        original(stored, path)

    monkeypatch.setattr(objects, "download", noted)
    return addresses


@pytest.fixture
def put(bucket: str):
    """`put(name, content)`: an object in the bucket."""

    def put(name: str, content: bytes | str) -> str:
        address = f"{bucket}/{name}"
        with objects._told(address) as storage:
            storage.pipe_file(address, content.encode() if isinstance(content, str) else content)
        return address

    return put
