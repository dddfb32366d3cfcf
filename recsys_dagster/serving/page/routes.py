"""The routes of the pages."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from recsys_dagster.errors import UnknownNameError, UserError
from recsys_dagster.serving.access import PUBLIC, may_see, needs, told_of_fault
from recsys_dagster.serving.api import CatalogName, ItemId, UserId, catalog_state, served
from recsys_dagster.serving.keys import Scope
from recsys_dagster.serving.messages import MAX_ID
from recsys_dagster.serving.opened import OpenSnapshot
from recsys_dagster.serving.page import item_map, rendering, users, views
from recsys_dagster.serving.page.naming import category_of
from recsys_dagster.serving.page.quality import quality
from recsys_dagster.serving.page.rendering import page, url
from recsys_dagster.snapshots import evaluations

router = APIRouter(include_in_schema=False)

MAX_WORDS = 1_000
MAX_ITEMS = 100
FOREVER = "public, max-age=31536000, immutable"
OF_SNAPSHOT = "private, max-age=86400"
"""Of addresses that name a snapshot, which never changes; it may be for holders of a key alone."""

Words = Annotated[str, Query(max_length=MAX_WORDS)]
Items = Annotated[
    list[Annotated[str, Query(min_length=1, max_length=MAX_ID)]], Query(max_length=MAX_ITEMS)
]


@router.get("/")
@needs(Scope.READ)
def home(request: Request) -> Response:
    """The only catalog, or all of them."""
    names = rendering.visible_catalogs(request)
    catalogs = request.app.state.catalogs
    if len(names) == 1 and not catalogs.faults:
        return RedirectResponse(url(names[0]), 303)
    states = [catalog_state(request, of) for of in catalogs if of.name in names]
    faults = {
        name: told_of_fault(request, why)
        for name, why in catalogs.faults.items()
        if may_see(request, name)
    }
    return page(request, "catalogs.html", states=states, faults=faults)


@router.get("/static/{name}")
@needs(PUBLIC)
def static(name: str, v: str = "") -> Response:
    """A static file of the package."""
    content = rendering.static_files().get(name)
    if content is None:
        raise HTTPException(404, "There is no such file.")
    media_type = rendering.MEDIA_TYPES[f".{name.rpartition('.')[2]}"]
    kept = FOREVER if v and rendering.static_url(name).endswith(v) else "no-cache"
    return Response(content, media_type=media_type, headers={"cache-control": kept})


@router.get("/c/{catalog}")
@needs(Scope.READ)
def overview(request: Request, catalog: CatalogName) -> HTMLResponse:
    """A catalog: what is published, how fresh it is, where to begin."""
    of = served(request, catalog)
    dagster = request.app.state.dagster_url
    asset = f"{dagster.rstrip('/')}/assets/{catalog}/published" if dagster else None
    return page(
        request,
        "overview.html",
        catalog=catalog,
        view=views.overview(of, of.snapshot, partial(told_of_fault, request)),
        asset=asset,
        snapshot=of.snapshot.name,
    )


@router.get("/c/{catalog}/find")
@needs(Scope.READ)
def find(request: Request, catalog: CatalogName, q: Words = "") -> HTMLResponse:
    """Items and users by words."""
    found = views.found(served(request, catalog).snapshot, q)
    return page(request, "find.html", catalog=catalog, view=found)


@router.get("/c/{catalog}/users/{user:path}")
@needs(Scope.READ)
def user(
    request: Request,
    catalog: CatalogName,
    user: UserId,
    without: Items = [],  # noqa: B006 - FastAPI copies it
    history: Words = "",
) -> HTMLResponse:
    """A user: what they did, what they are recommended, and why."""
    of = served(request, catalog)
    snapshot = of.snapshot
    whole = history == "all"
    view = users.user_page(of, snapshot, user, without, whole)
    template = "user.html" if view.known else "unknown_user.html"
    given = _lists(snapshot)
    return page(request, template, catalog=catalog, view=view, whole=whole, **given)


@router.get("/c/{catalog}/items/{item:path}")
@needs(Scope.READ)
def item(request: Request, catalog: CatalogName, item: ItemId) -> HTMLResponse:
    """An item: what it is, and what is near to it."""
    snapshot = served(request, catalog).snapshot
    try:
        view = views.item_page(snapshot, item)
    except UserError as error:
        near = views.nearest_items(snapshot, item)
        unknown = isinstance(error, UnknownNameError)
        given = {"item": item, "near": near, "unknown": unknown}
        return page(request, "unknown_item.html", 404, catalog, **given)
    return page(request, "item.html", catalog=catalog, view=view, **_lists(snapshot))


@router.get("/c/{catalog}/try")
@needs(Scope.READ)
def try_it(
    request: Request,
    catalog: CatalogName,
    item: Items = [],  # noqa: B006
    text: Words = "",
    q: Words = "",
) -> HTMLResponse:
    """A list for somebody made up."""
    snapshot = served(request, catalog).snapshot
    view = views.tried(snapshot, item, text.strip(), q.strip(), request.app.state.vectors.of)
    return page(request, "try.html", catalog=catalog, view=view, **_lists(snapshot))


@router.get("/c/{catalog}/map")
@needs(Scope.READ)
def mapped(request: Request, catalog: CatalogName) -> HTMLResponse:
    """The items on a plane."""
    snapshot = served(request, catalog).snapshot
    view = item_map.map_page(snapshot)
    return page(request, "map.html", catalog=catalog, view=view, snapshot=snapshot.name)


@router.get("/c/{catalog}/map.json")
@needs(Scope.READ)
def map_points(request: Request, catalog: CatalogName, snapshot: Words = "") -> JSONResponse:
    """The points of the map, for the script."""
    current = served(request, catalog).snapshot
    kept = {"cache-control": OF_SNAPSHOT} if snapshot == current.name else None
    return JSONResponse(item_map.map_points(current), headers=kept)


@router.get("/c/{catalog}/quality")
@needs(Scope.READ)
def measured(request: Request, catalog: CatalogName) -> HTMLResponse:
    """What evaluations found."""
    served(request, catalog)
    entries = evaluations.read(request.app.state.catalogs.folder, catalog)
    return page(request, "quality.html", catalog=catalog, view=quality(entries))


def _lists(snapshot: OpenSnapshot) -> dict[str, Any]:
    """What every template needs that shows a list."""
    return {
        "snapshot": snapshot.name,
        "strategy": snapshot.manifest["model"]["strategy"],
        "category_of": partial(category_of, snapshot),
    }
