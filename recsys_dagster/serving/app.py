"""The only assembler of the server."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from fastapi import Depends, FastAPI

from recsys_dagster.catalog.files import Catalogs
from recsys_dagster.serving import api, operations
from recsys_dagster.serving.access import LOCAL_NAMES, Access, authorized
from recsys_dagster.serving.encoding import TextVectors
from recsys_dagster.serving.guard import Guard, Limits
from recsys_dagster.serving.keys import Keys
from recsys_dagster.serving.measures import Measures
from recsys_dagster.serving.page import routes as pages
from recsys_dagster.serving.page import signing_in
from recsys_dagster.serving.page.errors import show_errors_as_pages
from recsys_dagster.serving.problems import handle_problems
from recsys_dagster.serving.served import ServedCatalogs
from recsys_dagster.snapshots.remote import Folder


@dataclass(frozen=True)
class ServerSettings:
    """What a server is started with.

    Attributes:
        snapshots: folder of all snapshots.
        catalogs: the catalog files.
        keys: file of keys.
        local: it listens on this machine's own address alone, and asks for no key.
        host: that it listens on.
        dagster_url: where people find the Dagster UI; None where there is none.
        limits: how much may be asked.
    """

    snapshots: Folder
    catalogs: Catalogs
    keys: Path
    local: bool = True
    host: str = "127.0.0.1"
    dagster_url: str | None = None
    limits: Limits = field(default_factory=Limits)


def create_app(settings: ServerSettings) -> FastAPI:
    """The whole server as an ASGI app; snapshots are opened when it starts."""
    measures = Measures()
    catalogs = ServedCatalogs(settings.snapshots, settings.catalogs)

    def opened(name: str) -> None:
        made_at = datetime.fromisoformat(catalogs[name].snapshot.manifest["made_at"])
        measures.opened(name, made_at.timestamp())

    catalogs.on_swap = opened

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncGenerator[None]:
        catalogs.open()
        yield
        catalogs.close()
        app.state.vectors.close()

    shown = f"[{settings.host}]" if ":" in settings.host else settings.host
    access = Access(Keys(settings.keys), settings.local, {*LOCAL_NAMES, shown})
    app = FastAPI(
        title="recsys_dagster",
        description="Recommendations, computed by a pipeline and answered in milliseconds.",
        version="1",
        lifespan=life,
        dependencies=[Depends(authorized)],
        # Pages of their own, which would load scripts from elsewhere; ours is under operations.
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.access = access
    app.state.catalogs = catalogs
    app.state.measures = measures
    app.state.vectors = TextVectors()
    app.state.dagster_url = settings.dagster_url
    handle_problems(app)
    show_errors_as_pages(app)
    app.include_router(operations.router)
    app.include_router(api.router)
    app.include_router(pages.router)
    app.include_router(signing_in.router)
    app.add_middleware(Guard, access=access, limits=settings.limits, measures=measures)
    return app
