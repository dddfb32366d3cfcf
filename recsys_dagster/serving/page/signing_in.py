"""Where a key is needed, a browser keeps it in a cookie that no script can read."""

from urllib.parse import parse_qs, urlsplit

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import Headers

from recsys_dagster.serving.access import COOKIE, PUBLIC, Access, needs
from recsys_dagster.serving.page.rendering import page

router = APIRouter(include_in_schema=False)
MAX_FORM = 4_096


@router.get("/login")
@needs(PUBLIC)
async def form(request: Request) -> Response:
    """The form for a key."""
    if request.app.state.access.local:
        return RedirectResponse("/", 303)
    return login_page(request, 200)


@router.post("/login")
@needs(PUBLIC)
async def sign_in(request: Request) -> Response:
    """Keep a key in the browser."""
    _from_here(request)
    body = await request.body()
    if len(body) > MAX_FORM:
        raise HTTPException(413, "This is more than a key.")
    try:
        sent = parse_qs(body.decode("utf-8", "replace"), max_num_fields=8)
    except ValueError:
        raise HTTPException(400, "This is more than a key.") from None
    presented = sent.get("key", [""])[0].strip()
    towards = _own_path(sent.get("next", ["/"])[0])
    access: Access = request.app.state.access
    if access.key_of(Headers(), {COOKIE: presented}) is None:
        return login_page(request, 403, towards, "This is none of the server's keys.")
    answer = RedirectResponse(towards, 303)
    answer.set_cookie(
        COOKIE,
        presented,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


@router.post("/logout")
@needs(PUBLIC)
async def sign_out(request: Request) -> Response:
    """Forget the key."""
    _from_here(request)
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer


def login_page(
    request: Request, status: int, towards: str | None = None, fault: str = ""
) -> Response:
    """The form for a key.

    Args:
        request: that it answers.
        status: of the answer.
        towards: where to go with the key; where the request was going, if left out.
        fault: what was wrong with the last one.
    """
    if towards is None:
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        towards = "/" if request.url.path in ("/login", "/logout") else asked
    return page(request, "login.html", status, towards=towards, fault=fault)


def _from_here(request: Request) -> None:
    """See that a form was posted by a page of ours, as far as the browser says.

    Raises:
        HTTPException: 403 where it was not.
    """
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    elsewhere = site is not None and site not in ("same-origin", "none")
    if elsewhere or (origin is not None and _host(origin) != request.headers.get("host")):
        raise HTTPException(403, "This form was sent from another site.")


def _host(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _own_path(path: str) -> str:
    """A path of this server; the first page, where it might be another's."""
    safe = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if safe else "/"
