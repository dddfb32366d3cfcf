"""The routes for programs, under /v1."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Path, Query, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from recsys_dagster.errors import UserError
from recsys_dagster.serving import messages
from recsys_dagster.serving.access import may_see, needs, told_of_fault
from recsys_dagster.serving.keys import Scope
from recsys_dagster.serving.landing import KEY
from recsys_dagster.serving.live import typed
from recsys_dagster.serving.messages import MAX_ID
from recsys_dagster.serving.opened import OpenSnapshot
from recsys_dagster.serving.recommending import Answer, Wish, for_history, for_user
from recsys_dagster.serving.served import Live, Served
from recsys_dagster.snapshots.reader import Row

if TYPE_CHECKING:
    import pandas as pd

NO_INTERACTIONS = "no interactions are taken for this catalog; the server's log says why"
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": messages.Problem, "content": {"application/problem+json": {}}}
    for status in (400, 401, 403, 404, 409, 413, 421, 422, 429, 503)
}
# An address that is too long is refused by the HTTP parser, in plain text.
PROBLEMS[400]["content"] |= {"text/plain": {}}
router = APIRouter(prefix="/v1", responses=PROBLEMS)

CatalogName = Annotated[str, Path(max_length=MAX_ID, examples=["movies"])]
UserId = Annotated[str, Path(max_length=MAX_ID, examples=["1"])]
ItemId = Annotated[str, Path(max_length=MAX_ID, examples=["1"])]
Count = Annotated[int, Query(ge=1, le=messages.MAX_ROWS, description="rows, at most")]
Categories = Annotated[
    list[Annotated[str, Query(max_length=MAX_ID)]],
    Query(max_length=messages.MAX_IN_ADDRESS, description="only these; may be repeated"),
]
Excluded = Annotated[
    list[Annotated[str, Query(max_length=MAX_ID)]],
    Query(
        max_length=messages.MAX_IN_ADDRESS,
        description="item_ids that must not be in the list; may be repeated",
    ),
]
Explain = Annotated[bool, Query(description="say why each row is there")]


def served(request: Request, catalog: str) -> Served:
    """The catalog that a request is about.

    Raises:
        UnknownNameError: it is not served.
    """
    return request.app.state.catalogs.find(catalog, partial(may_see, request))


@router.get("/catalogs", response_model=messages.CatalogList)
@needs(Scope.READ)
async def catalogs(request: Request) -> JSONResponse:
    """What is served."""
    every = request.app.state.catalogs
    return JSONResponse(
        {
            "catalogs": [
                catalog_state(request, each) for each in every if may_see(request, each.name)
            ],
            "faults": {
                name: told_of_fault(request, fault)
                for name, fault in every.faults.items()
                if may_see(request, name)
            },
        }
    )


@router.get("/{catalog}/manifest")
@needs(Scope.READ)
async def manifest(request: Request, catalog: CatalogName) -> JSONResponse:
    """The manifest of the snapshot that is served: run, counts, checksums, settings."""
    return JSONResponse(served(request, catalog).snapshot.manifest)


@router.get("/{catalog}/users/{user:path}/recommendations", response_model=messages.Recommendations)
@needs(Scope.READ)
async def recommendations_of_user(
    request: Request,
    catalog: CatalogName,
    user: UserId,
    n: Count = 10,
    category: Categories = [],  # noqa: B006 - FastAPI copies it
    exclude: Excluded = [],  # noqa: B006
    explain: Explain = True,
) -> JSONResponse:
    """A user's list; popular items, with `known` false, for somebody nobody knows."""
    of = served(request, catalog)
    snapshot, live = of.snapshot, of.live.histories if of.live else None
    wish = Wish(n, category, exclude)
    if not wish.narrows and n <= snapshot.list_length and not (live and live.has(user)):
        answer = for_user(snapshot, None, user, wish)
    else:
        answer = await run_in_threadpool(for_user, snapshot, live, user, wish)
    return _answered(catalog, snapshot, answer, explain, user)


@router.post("/{catalog}/recommendations", response_model=messages.Recommendations)
@needs(Scope.READ)
async def recommendations_for_history(
    request: Request, catalog: CatalogName, body: messages.RecommendationRequest
) -> JSONResponse:
    """The list of somebody whom no run has seen: what a run would give them."""
    snapshot = served(request, catalog).snapshot

    encode = None
    if body.text is not None:
        encode = partial(request.app.state.vectors.of, snapshot.manifest, body.text)
    answer = await run_in_threadpool(
        for_history,
        snapshot,
        body.item_ids,
        body.weights,
        body.times,
        encode,
        Wish(body.n, body.category, body.exclude),
    )
    return _answered(catalog, snapshot, answer, body.explain)


@router.get("/{catalog}/popular", response_model=messages.Recommendations)
@needs(Scope.READ)
async def popular(
    request: Request,
    catalog: CatalogName,
    n: Count = 10,
    category: Categories = [],  # noqa: B006
) -> JSONResponse:
    """What most users like."""
    snapshot = served(request, catalog).snapshot
    if category:
        answer = await run_in_threadpool(
            for_history, snapshot, [], None, None, None, Wish(n, category)
        )
    else:
        answer = Answer(snapshot.popular(n), "popular", known=False)
    return _answered(catalog, snapshot, answer, explain=False)


@router.get("/{catalog}/items/{item:path}/similar", response_model=messages.SimilarItems)
@needs(Scope.READ)
async def similar(
    request: Request, catalog: CatalogName, item: ItemId, n: Count = 10
) -> JSONResponse:
    """An item's nearest neighbours, by its id or title."""
    snapshot = served(request, catalog).snapshot
    # Late in a thread: an unknown name is compared with all others.
    item_id, title = await run_in_threadpool(snapshot.find_item, item)
    rows = snapshot.similar(item_id, n)
    return JSONResponse(
        {
            "catalog": catalog,
            "snapshot": snapshot.name,
            "item_id": item_id,
            "title": title,
            "similar": rows_as_json(snapshot, rows, explain=False),
        }
    )


@router.get("/{catalog}/items", response_model=messages.Items)
@needs(Scope.READ)
async def items(
    request: Request,
    catalog: CatalogName,
    q: Annotated[str, Query(max_length=MAX_ID, description="beginning of an id, or words")] = "",
    n: Count = 10,
) -> JSONResponse:
    """Items by the beginning of their id or by words of their title, the popular ones first."""
    snapshot = served(request, catalog).snapshot
    found = await run_in_threadpool(snapshot.search, q, n)
    content = {
        "catalog": catalog,
        "snapshot": snapshot.name,
        "items": [
            {"item_id": item_id, "title": title, "category": snapshot.category_of(item_id) or None}
            for item_id, title in found
        ],
    }
    return JSONResponse(content)


@router.post("/{catalog}/interactions", status_code=202, response_model=messages.Accepted)
@needs(Scope.WRITE)
async def interactions(
    request: Request,
    catalog: CatalogName,
    body: messages.Interactions,
    idempotency_key: Annotated[str | None, Header(max_length=MAX_ID)] = None,
) -> JSONResponse:
    """Take interactions: on the disk before this answers, counted in the users' next requests."""
    of = served(request, catalog)
    live = of.live
    if live is None:
        raise HTTPException(409, told_of_fault(request, of.refusal, NO_INTERACTIONS))
    rows = [
        _row(told, place, live, idempotency_key) for place, told in enumerate(body.interactions)
    ]
    kept = await run_in_threadpool(_acceptable, live, rows)
    landed = await asyncio.wrap_future(live.landing.take(rows))
    live.histories.add([landed.file] * len(landed.fresh), kept.loc[list(landed.fresh)])
    request.app.state.measures.interactions(catalog, len(landed.fresh))
    snapshot = of.snapshot
    unknown = [item for item in dict.fromkeys(kept["item_id"]) if not snapshot.has_item(item)]
    return JSONResponse(
        {
            "catalog": catalog,
            "accepted": len(landed.fresh),
            "repeated": len(rows) - len(landed.fresh),
            "unknown_items": unknown,
        },
        status_code=202,
    )


def _row(
    told: messages.Interaction, place: int, live: Live, idempotency_key: str | None
) -> dict[str, Any]:
    """A row as it lands.

    Raises:
        UserError: the source has no such column or value.
    """
    key = told.key or (f"{idempotency_key}/{place}" if idempotency_key else None)
    at = told.timestamp or datetime.now(UTC)
    given = told.model_dump(exclude={"key", "timestamp"}, exclude_none=True)
    given["timestamp"] = at if at.tzinfo else at.replace(tzinfo=UTC)
    try:
        row = live.columns.row(given)
    except UserError as error:
        raise UserError(f"interactions.{place}: {error}") from None
    return row | ({KEY: key} if key else {})


def _acceptable(live: Live, rows: Sequence[dict[str, Any]]) -> "pd.DataFrame":
    """Typed rows; a run would take every one, so nothing is acknowledged that it rejects."""
    kept, rejected = typed(rows, live.columns, live.catalog)
    if len(rejected):
        said = [
            f"interactions.{row - 1}: {reason}"
            for row, reason in zip(rejected["source_row"], rejected["reason"], strict=True)
        ]
        more = f"; and {len(said) - 5} more" if len(said) > 5 else ""
        raise UserError("; ".join(said[:5]) + more)
    return kept


def _answered(
    catalog: str, snapshot: OpenSnapshot, answer: Answer, explain: bool, user: str | None = None
) -> JSONResponse:
    content: dict[str, Any] = {
        "catalog": catalog,
        "snapshot": snapshot.name,
        "how": answer.how,
        "known": answer.known,
        "since": answer.since,
        "text_counts": answer.text_counts,
        "recommendations": rows_as_json(snapshot, answer.rows, explain),
    }
    if user is not None:
        content["user_id"] = user
    return JSONResponse(content)


def rows_as_json(
    snapshot: OpenSnapshot, rows: Sequence[Row], explain: bool
) -> list[dict[str, Any]]:
    """Rows as they are answered."""
    found: list[dict[str, Any]] = []
    for row in rows:
        own: dict[str, Any] = {
            "item_id": row.item_id,
            "title": row.title,
            "category": snapshot.category_of(row.item_id) or None,
            "rank": row.rank,
            "score": row.score,
            "strategy": row.strategy,
        }
        if explain:
            own["because"] = [vars(reason) for reason in row.because]
        found.append(own)
    return found


def catalog_state(request: Request, of: Served) -> dict[str, Any]:
    """What there is to say of a catalog."""
    about = of.snapshot.manifest
    return {
        "catalog": of.name,
        "description": about["settings"]["description"],
        "snapshot": of.snapshot.name,
        "made_at": about["made_at"],
        "strategy": about["model"]["strategy"],
        **{name: about["counts"][name] for name in ("users", "items", "interactions")},
        "takes_interactions": of.live is not None,
        "fault": None if of.fault is None else told_of_fault(request, of.fault),
    }
