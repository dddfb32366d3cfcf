"""Who may ask: nobody without a key, but for whoever sits at the machine itself."""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, TypeVar

from fastapi import HTTPException, Request
from starlette.datastructures import Headers

from recsys_dagster.errors import UserError
from recsys_dagster.serving.keys import ANY, Key, Keys, Scope

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
PUBLIC = 0
COOKIE = "recsys_key"
LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
NOT_OPENED = "its newest snapshot cannot be opened; the server's log says why"
LOG = logging.getLogger("recsys_dagster.serving")


@dataclass(frozen=True)
class Access:
    """What a server asks of those who ask.

    Attributes:
        keys: of its home.
        local: it listens on this machine's own address alone, and asks for no key.
        names: by which it may be asked where it is local.
    """

    keys: Keys
    local: bool
    names: Collection[str] = LOCAL_NAMES

    def key_of(self, headers: Headers, cookies: dict[str, str]) -> Key | None:
        """The key that a request presents; None where there is none or a wrong one."""
        scheme, _, presented = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            presented = cookies.get(COOKIE, "")
        try:
            return self.keys.find(presented.strip()) if presented else None
        except UserError as error:
            LOG.error("%s", error)  # a damaged file lets nobody in
            return None


def needs(scope: Scope | int) -> Callable[[Endpoint], Endpoint]:
    """Say what an endpoint needs; one that says nothing is for admins."""

    def marked(endpoint: Endpoint) -> Endpoint:
        endpoint.needed_scope = scope  # ty: ignore[missing-attribute]
        return endpoint

    return marked


async def authorized(request: Request) -> None:
    """Let a request in or not: a dependency of the whole app, so that no route can forget it.

    Raises:
        HTTPException: 401 without a key or with a wrong one, 403 where it does not allow this.
    """
    access: Access = request.app.state.access
    endpoint = request.scope["route"].endpoint
    scope = getattr(endpoint, "needed_scope", Scope.ADMIN)
    if scope == PUBLIC or access.local:
        return
    key = access.key_of(request.headers, request.cookies)
    if key is None:
        challenge = {"WWW-Authenticate": 'Bearer realm="recsys"'}
        raise HTTPException(401, "A key is needed: Authorization: Bearer rk_…", challenge)
    if not key.allows(Scope(scope), request.path_params.get("catalog")):
        needed = Scope(scope).name.lower()
        raise HTTPException(403, f"The key {key.id} does not allow this: it needs {needed}.")


def may_see(request: Request, catalog: str) -> bool:
    """Whether whoever asks may know of a catalog, also where a route asks for no key."""
    return _allows(request, Scope.READ, catalog)


def told_of_fault(request: Request, fault: str, instead: str = NOT_OPENED) -> str:
    """What whoever asks is told of a fault: folders of the server are for its admins."""
    return fault if _allows(request, Scope.ADMIN, None) else instead


def may_see_all(request: Request) -> bool:
    """Whether whoever asks may know of every catalog."""
    return _allows(request, Scope.READ, ANY)


def _allows(request: Request, scope: Scope, catalog: str | None) -> bool:
    access: Access = request.app.state.access
    if access.local:
        return True
    key = access.key_of(request.headers, request.cookies)
    return key is not None and key.allows(scope, catalog)


def is_local(host: str) -> bool:
    """Whether an address to listen on can be reached from this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
