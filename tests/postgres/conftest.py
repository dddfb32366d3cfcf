"""A PostgreSQL server of its own, on a socket in a temporary folder and on a port of loopback."""

import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

NUMBERS = itertools.count(1)
PASSWORD = "password-of-a-test"


@dataclass(frozen=True)
class Server:
    """Where the server listens: the socket trusts everybody, the port wants a password."""

    folder: Path
    port: int

    def dsn(self, database: str) -> str:
        return f"host={self.folder} port={self.port} dbname={database} user=owner"

    def with_password(self, database: str, password: str = PASSWORD) -> str:
        return f"postgresql://reader:{password}@127.0.0.1:{self.port}/{database}"


def _binary(name: str) -> str | None:
    known = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    return str(known[0]) if known else shutil.which(name)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The server; skipped where there is none to start."""
    pytest.importorskip("psycopg", reason="pip install -e '.[postgres]'")
    initdb, postgres = _binary("initdb"), _binary("postgres")
    if initdb is None or postgres is None:
        pytest.skip("no PostgreSQL server is installed: apt-get install postgresql")
    user = None
    folder = Path(tempfile.mkdtemp(prefix="recsys-pg-"))
    if os.geteuid() == 0:  # the server refuses to be root
        try:
            owner = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("a PostgreSQL server does not run as root, and there is no user postgres")
        user = owner.pw_uid
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    data, started = folder / "data", Server(folder, _free_port())
    made = [initdb, "-D", str(data), "-A", "trust", "-U", "owner", "-E", "UTF8", "--no-sync"]
    subprocess.run(made, check=True, capture_output=True, user=user, cwd=folder)
    (data / "pg_hba.conf").write_text(
        "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
    )
    options = {"unix_socket_directories": folder, "listen_addresses": "127.0.0.1", "fsync": "off"}
    settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    with subprocess.Popen(
        [postgres, "-D", str(data), "-p", str(started.port), *settings],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        user=user,
        cwd=folder,
    ) as process:
        try:
            _prepare(started)
            yield started
        finally:
            process.terminate()
            process.wait(timeout=30)
            shutil.rmtree(folder, ignore_errors=True)


def _prepare(server: Server) -> None:
    import time

    import psycopg

    for _ in range(300):
        try:
            with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
                connection.execute(f"create role reader login password '{PASSWORD}'")
                return
        except psycopg.OperationalError:
            time.sleep(0.1)
    raise AssertionError("the server did not start")


@pytest.fixture
def database(server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an empty database; `$SHOP` holds the connection to it."""
    import psycopg

    name = f"shop{next(NUMBERS)}"
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        connection.execute(f"create database {name}")
    monkeypatch.setenv("SHOP", server.dsn(name))
    return name


@pytest.fixture
def execute(server: Server, database: str) -> Callable[..., None]:
    """`execute(statement, …)`: somebody else writes to the database."""
    import psycopg

    def execute(*statements: str) -> None:
        with psycopg.connect(server.dsn(database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    return execute
