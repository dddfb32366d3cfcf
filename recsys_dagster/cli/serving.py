"""The commands around the server: starting it, its keys."""

import logging
import socket
import sys
from collections.abc import Collection
from typing import TYPE_CHECKING

from recsys_dagster.cli.terminal import console, error_console, plain, titled
from recsys_dagster.errors import UserError, install
from recsys_dagster.home import keys_file, snapshots_folder

if TYPE_CHECKING:
    from recsys_dagster.catalog.files import Catalogs
    from recsys_dagster.serving.keys import Keys


def serve_catalogs(
    catalogs: "Catalogs", host: str, port: int, rate: float, dagster_url: str | None
) -> None:
    """Serve until somebody ends it.

    Args:
        catalogs: the catalog files.
        host: to listen on.
        port: to listen on; 0 for one that is free.
        rate: requests a second of a key or address; 0 for any number.
        dagster_url: where people find the Dagster UI.

    Raises:
        UserError: the server is not installed, the port is taken, or it would be open to others
            without a key.
    """
    try:
        import uvicorn
        from threadpoolctl import threadpool_limits

        from recsys_dagster.serving.access import is_local
        from recsys_dagster.serving.app import ServerSettings, create_app
        from recsys_dagster.serving.guard import Limits
    except ModuleNotFoundError as error:
        raise UserError(f"The server needs {error.name}: {install('serve')}") from None
    local = is_local(host)
    if not local and not _keys().all():
        raise UserError(
            f"--host {host}: others could reach the server, and there is no key yet. Make one "
            "first, with: recsys key create --scope read"
        )
    if dagster_url is not None and not dagster_url.startswith(("http://", "https://")):
        raise UserError(f"--dagster-url {dagster_url}: expected http:// or https:// in front.")
    settings = ServerSettings(
        snapshots_folder(),
        catalogs,
        keys_file(),
        local,
        host,
        dagster_url,
        Limits(requests_per_second=rate),
    )
    if not _published():
        error_console.print("Nothing is published yet; what will be is served then.")
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    listening = _listening(host, port)
    shown = f"[{host}]" if ":" in host else host
    error_console.print(f"http://{shown}:{listening.getsockname()[1]}", highlight=False)
    config = uvicorn.Config(
        create_app(settings), log_level="warning", access_log=False, server_header=False
    )
    # One history is little work: requests share the cores, not each of them all cores.
    with listening, threadpool_limits(1):
        uvicorn.Server(config).run(sockets=[listening])


def _listening(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=1024
        )
    except OSError as error:
        raise UserError(
            f"--host {host} --port {port}: nothing can listen there: {error.strerror or error}. "
            "Another port, with: recsys serve --port 8001"
        ) from None


def print_new_key(scope: str, catalog: str) -> None:
    """Make a key and show it, this once.

    Raises:
        UserError: there is no such scope, or the key could not be kept.
    """
    from recsys_dagster.serving.keys import ANY, Scope

    if catalog != ANY and catalog not in _published():
        error_console.print(f"[yellow]Note[/] {plain(catalog)} has published nothing here yet.")
    _, secret = _keys().create(Scope.named(scope), catalog)
    sys.stdout.write(secret + "\n")
    error_console.print("It is shown this once. Send it as: Authorization: Bearer rk_…")


def print_keys() -> None:
    """Every key, without its secret."""
    table = titled("Keys")
    for name in ("id", "scope", "catalog", "created at"):
        table.add_column(name)
    for key in _keys().all():
        table.add_row(key.id, key.scope, plain(key.catalog), key.created_at)
    console.print(table)


def revoke(key_id: str) -> None:
    """Forget a key.

    Raises:
        UserError: there is no such key.
    """
    _keys().revoke(key_id.removeprefix("rk_").partition("_")[0])
    console.print(f"Revoked {plain(key_id)}", highlight=False)


def _published() -> Collection[str]:
    """The catalogs that have published something, as far as it can be asked for."""
    from recsys_dagster.snapshots.current import published

    try:
        return published(snapshots_folder())
    except UserError as error:
        error_console.print(f"[yellow]Note[/] {plain(str(error))}")
        return ()


def _keys() -> "Keys":
    from recsys_dagster.serving.keys import Keys

    return Keys(keys_file())
