"""What happens to every request before it is looked at: limits, headers, counting."""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers, MutableHeaders

from recsys_dagster.serving.access import Access
from recsys_dagster.serving.measures import Measures
from recsys_dagster.serving.problems import problem

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MAX_CLIENTS = 10_000
SECURITY_HEADERS: Mapping[str, str] = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


@dataclass(frozen=True)
class Limits:
    """How much may be asked.

    Attributes:
        body_bytes: of a request.
        requests_per_second: of a key, or of an address where there is none; 0 for no limit. Twice
            as many may come at once.
    """

    body_bytes: int = 1_000_000
    requests_per_second: float = 200.0


class Buckets:
    """How many requests each client has left: so many a second, twice as many at once."""

    def __init__(self, per_second: float) -> None:
        self._rate, self._size = per_second, 2 * per_second
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str) -> float:
        """Seconds until the client may ask again; 0 where it may now, and then it has."""
        if self._rate <= 0:
            return 0.0
        now = time.monotonic()
        left, since = self._left.pop(client, (self._size, now))
        left = min(self._size, left + self._rate * (now - since))
        allowed = left >= 1
        self._left[client] = (left - 1 if allowed else left, now)
        if len(self._left) > MAX_CLIENTS:
            self._left.popitem(last=False)
        return 0.0 if allowed else (1 - left) / self._rate


class Guard:
    """ASGI middleware around the whole app."""

    def __init__(
        self,
        app: Callable[[Scope, Receive, Send], Awaitable[None]],
        access: Access,
        limits: Limits,
        measures: Measures,
    ) -> None:
        self._app, self._access, self._limits, self._measures = app, access, limits, measures
        self._buckets = Buckets(limits.requests_per_second)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def sending(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        try:
            await self._answer(scope, receive, sending)
        finally:
            route = scope.get("route")
            path = getattr(route, "path", "none") if status != 404 or route else "none"
            seconds = time.perf_counter() - started
            self._measures.request(scope["method"], path, status, seconds)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        refused = None
        if self._access.local and _host(headers) not in self._access.names:
            # A page of somebody else's, whose name was made to mean this machine.
            refused = problem(421, "This server answers as localhost alone.")
        length = headers.get("content-length", "0")
        if refused is None and (not length.isdigit() or int(length) > self._limits.body_bytes):
            refused = self._too_large()
        wait = 0.0 if refused else self._buckets.wait(self._client(scope, headers))
        if wait:
            retry = {"Retry-After": str(max(1, round(wait)))}
            refused = problem(429, "Too many requests; try again in a moment.", retry)
        if refused is not None:
            await refused(scope, receive, send)
            return
        await self._limited(scope, receive, send)

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on whose body may be longer than it said, or say nothing of its length."""
        taken, is_over, has_answered = 0, False, False

        async def receiving() -> MutableMapping[str, Any]:
            nonlocal taken, is_over
            message = await receive()
            if message["type"] == "http.request":
                taken += len(message.get("body", b""))
                if taken > self._limits.body_bytes:
                    is_over = True
                    return {"type": "http.disconnect"}
            return message

        async def sending(message: MutableMapping[str, Any]) -> None:
            nonlocal has_answered
            if not is_over:
                await send(message)
            elif not has_answered:
                # Whatever the app makes of a body that broke off is not what happened.
                has_answered = True
                await self._too_large()(scope, receive, send)

        await self._app(scope, receiving, sending)

    def _too_large(self) -> Any:
        return problem(413, f"A request may have {self._limits.body_bytes:,} bytes at most.")

    def _client(self, scope: Scope, headers: Headers) -> str:
        if self._access.local:
            return "local"
        presented = headers.get("authorization", "")
        client = scope.get("client")
        # Of a key only the part that is no secret; a wrong one is counted by address too.
        key = self._access.key_of(headers, {}) if presented else None
        return key.id if key is not None else (client[0] if client else "unknown")


def _host(headers: Headers) -> str:
    host = headers.get("host", "").lower()
    return host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
