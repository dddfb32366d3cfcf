"""Errors as problem details (RFC 9457): what is wrong, for programs and people; never a trace."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from recsys_dagster.errors import UnknownNameError, UserError
from recsys_dagster.serving.encoding import BusyError
from recsys_dagster.serving.landing import KeyReusedError, NotTakenError

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
LOG = logging.getLogger("recsys_dagster.serving")
MAX_DETAIL = 800
"""Characters: a message may say again what somebody sent."""
STATUSES = (
    (UnknownNameError, 404),
    (KeyReusedError, 409),
    (BusyError, 503),
    (NotTakenError, 503),
)
"""Of errors that are no fault of what was sent."""


def problem(
    status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any
) -> "Response":
    """An answer that says what is wrong."""
    from starlette.responses import JSONResponse

    content = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    return JSONResponse(
        content | {"detail": detail} | more,
        status_code=status,
        headers=dict(headers or {}),
        media_type=MEDIA_TYPE,
    )


def handle_problems(app: "FastAPI") -> None:
    """Have every error of an app answered as a problem."""
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException

    async def of_http(request: "Request", error: Exception) -> "Response":
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
        return problem(error.status_code, str(error.detail), error.headers)

    async def of_validation(request: "Request", error: Exception) -> "Response":
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
        faults = [
            {"where": ".".join(str(part) for part in fault["loc"]), "what": fault["msg"]}
            for fault in error.errors()
        ]
        detail = "; ".join(f"{each['where']}: {each['what']}" for each in faults[:5])
        return problem(422, detail, errors=faults[:20])

    async def of_user(request: "Request", error: Exception) -> "Response":
        status = next((status for kind, status in STATUSES if isinstance(error, kind)), 422)
        return problem(status, _short(str(error)))

    async def of_bug(request: "Request", error: Exception) -> "Response":
        LOG.error("%s %s", request.method, request.url.path, exc_info=error)
        return problem(500, "Something went wrong here; the server's log says what.")

    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(RequestValidationError, of_validation)
    app.add_exception_handler(UserError, of_user)
    app.add_exception_handler(Exception, of_bug)


def _short(detail: str) -> str:
    return detail if len(detail) <= MAX_DETAIL else f"{detail[:MAX_DETAIL]}…"
