"""Errors as pages for whoever looks at pages; programs get problem details as ever."""

import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from recsys_dagster.errors import UserError
from recsys_dagster.serving.page.rendering import page
from recsys_dagster.serving.page.signing_in import login_page

Handler = Callable[[Request, Any], Awaitable[Response]]
PAGES = ("/", "/c", "/login", "/logout")
KINDS = (HTTPException, RequestValidationError, UserError, Exception)


def show_errors_as_pages(app: FastAPI) -> None:
    """Have errors of pages shown as pages; whatever answers them now says status and words."""
    for kind in KINDS:
        handler: Any = app.exception_handlers[kind]
        app.add_exception_handler(kind, _shown(handler))


def _shown(handler: Handler) -> Handler:
    async def answer(request: Request, error: Any) -> Response:
        problem = await handler(request, error)
        path = request.url.path
        if path not in PAGES and not path.startswith("/c/"):
            return problem
        status = problem.status_code
        if status == HTTPStatus.UNAUTHORIZED:
            shown = login_page(request, status)
        else:
            detail = json.loads(bytes(problem.body))["detail"]
            title = HTTPStatus(status).phrase
            shown = page(request, "error.html", status, title=title, detail=detail)
        challenge = problem.headers.get("www-authenticate")
        if challenge:
            shown.headers["www-authenticate"] = challenge
        return shown

    return answer
