"""Templates and static files: what is shipped in this package, and nothing else."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import jinja2
import numpy as np
from fastapi import Request
from fastapi.responses import HTMLResponse

from recsys_dagster.serving.access import Access, may_see
from recsys_dagster.serving.page import charts

HERE = Path(__file__).parent
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
SAME_ORIGIN = {"referrer-policy": "same-origin"}
"""Under `no-referrer` browsers say of every form that they post that it comes from nowhere."""
UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"))


@cache
def static_files() -> dict[str, bytes]:
    """Every static file by its name: what is not in here cannot be asked for."""
    return {
        path.name: path.read_bytes()
        for path in (HERE / "static").iterdir()
        if path.suffix in MEDIA_TYPES
    }


@cache
def static_url(name: str) -> str:
    """Where a static file is found; another one when its content is another."""
    return f"/static/{name}?v={hashlib.sha256(static_files()[name]).hexdigest()[:12]}"


def page(
    request: Request, template: str, status: int = 200, catalog: str | None = None, **given: Any
) -> HTMLResponse:
    """A page.

    Args:
        request: that it answers.
        template: its file.
        status: of the answer.
        catalog: that it is about; None where it is about none.
        given: what the template is given.
    """
    access: Access = request.app.state.access
    key = access.key_of(request.headers, request.cookies)
    content = (
        _environment()
        .get_template(template)
        .render(
            catalog=catalog,
            catalogs=visible_catalogs(request),
            signed_in=not access.local and key is not None,
            here=request.url.path,
            **given,
        )
    )
    return HTMLResponse(content, status, SAME_ORIGIN)


def visible_catalogs(request: Request) -> list[str]:
    """The catalogs that whoever asks may look at."""
    return [each.name for each in request.app.state.catalogs if may_see(request, each.name)]


def url(catalog: str, kind: str = "", name: str | None = None, **query: Any) -> str:
    """The address of a page of a catalog.

    Args:
        catalog: whose.
        kind: of page: users, items, try, map, …; the overview where left out.
        name: of the user or item.
        query: parameters; of a list each, empty ones are left out.
    """
    parts = [quote(part, safe="") for part in ("c", catalog, kind) if part]
    if name is not None:
        parts.append(quote(name, safe=""))
    asked = urlencode({key: value for key, value in query.items() if value}, doseq=True)
    return "/" + "/".join(parts) + (f"?{asked}" if asked else "")


def ago(moment: datetime) -> str:
    """How long ago a moment is, in words."""
    seconds = (datetime.now(UTC) - moment).total_seconds()
    for size, unit in UNITS:
        if seconds >= size:
            return count(int(seconds // size), unit) + " ago"
    return "just now"


def day(moment: datetime | np.datetime64) -> str:
    """A date as people write it."""
    if isinstance(moment, np.datetime64):
        moment = moment.astype("datetime64[s]").item()
    return f"{moment.day} {moment:%B %Y}"


def count(number: int, noun: str) -> str:
    """A number of things."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def size(number_of_bytes: float) -> str:
    """Bytes for people."""
    for unit in ("bytes", "kB", "MB"):
        if number_of_bytes < 1_000:
            return f"{number_of_bytes:.3g} {unit}"
        number_of_bytes /= 1_000
    return f"{number_of_bytes:.3g} GB"


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 1:
        return "less than a second"
    if seconds < 120:
        return count(round(seconds), "second")
    return count(round(seconds / 60), "minute")


def spoken(names: Sequence[str]) -> str:
    """Names in a sentence."""
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)


def percent(share: float) -> str:
    """A share as people read it."""
    return "<1%" if 0 < share < 0.005 else f"{share:.0%}"


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shared: dict[str, Any] = {"url": url, "static": static_url, "charts": charts}
    environment.globals.update(shared)
    environment.filters.update(
        {each.__name__: each for each in (ago, day, count, size, duration, spoken, percent)}
    )
    return environment
