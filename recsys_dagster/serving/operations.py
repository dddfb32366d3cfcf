"""The routes for whoever runs the server: whether it works, what it counts, its OpenAPI."""

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse, Response

from recsys_dagster.serving import messages
from recsys_dagster.serving.access import PUBLIC, may_see_all, needs
from recsys_dagster.serving.keys import Scope

router = APIRouter()


@router.get("/health/live", response_model=messages.Health)
@needs(PUBLIC)
async def live() -> JSONResponse:
    """Whether the process answers."""
    return JSONResponse({"status": "live"})


@router.get(
    "/health/ready",
    response_model=messages.Readiness,
    responses={503: {"model": messages.Readiness}},
)
@needs(PUBLIC)
async def ready(request: Request) -> JSONResponse:
    """Whether there is something to serve; of how many catalogs the newest snapshot is served."""
    catalogs = request.app.state.catalogs
    served = list(catalogs)
    content = {
        "status": "ready" if served else "not ready",
        "served": len(served),
        "stale": sum(of.fault is not None for of in served),
        "failed": len(catalogs.faults),
    }
    return JSONResponse(content, status_code=200 if served else 503)


@router.get("/metrics", response_class=Response)
@needs(Scope.READ)
async def metrics(request: Request) -> Response:
    """What is counted, in the text format of Prometheus."""
    if not may_see_all(request):
        raise HTTPException(403, "These are of all catalogs: it needs a key for all of them.")
    text = request.app.state.measures.text()
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/openapi.json", include_in_schema=False)
@needs(Scope.READ)
async def openapi(request: Request) -> JSONResponse:
    """What can be asked, as OpenAPI."""
    return JSONResponse(request.app.openapi())
