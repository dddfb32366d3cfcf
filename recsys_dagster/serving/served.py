"""The catalogs that are served: each with its current snapshot, exchanged while requests go on."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

from recsys_dagster.catalog.files import Catalogs
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.catalog.source import expand_variables
from recsys_dagster.errors import UnknownNameError, UserError, did_you_mean
from recsys_dagster.serving.landing import Landing
from recsys_dagster.serving.live import LiveHistories, SourceColumns
from recsys_dagster.serving.opened import OpenSnapshot
from recsys_dagster.snapshots.reader import CURRENT, Snapshot

LOOK_SECONDS = 0.5
LOG = logging.getLogger("recsys_dagster.serving")


@dataclass(frozen=True)
class Live:
    """How interactions are taken for a catalog.

    Attributes:
        landing: where they are written.
        columns: how the source spells them.
        histories: what they make of users.
    """

    landing: Landing
    columns: SourceColumns
    histories: LiveHistories


@dataclass
class Served:
    """One catalog.

    Attributes:
        name: of the catalog.
        snapshot: the current one. Take it once a request, so that an answer is of one snapshot.
        opened_at: when it was opened, seconds since 1970.
        live: how interactions are taken; None where they are not.
        refusal: why they are not.
        fault: why the newest snapshot cannot be opened; an older one is served meanwhile.
    """

    name: str
    snapshot: OpenSnapshot
    opened_at: float
    live: Live | None = None
    refusal: str = ""
    fault: str | None = None


@dataclass
class ServedCatalogs:
    """All catalogs that have published something, looked at again twice a second.

    Attributes:
        folder: where all snapshots lie.
        catalogs: the catalog files, which say where interactions land.
        on_swap: told the name of a catalog whose snapshot was exchanged.
    """

    folder: Path
    catalogs: Catalogs
    on_swap: Callable[[str], None] = lambda name: None
    _served: dict[str, Served] = field(default_factory=dict)
    _faults: dict[str, str] = field(default_factory=dict)
    _ended: Event = field(default_factory=Event)

    def open(self) -> None:
        """Open what is published, and go on looking for what is newer."""
        self.look()
        Thread(target=self._watch, name="snapshots", daemon=True).start()

    def close(self) -> None:
        """End the looking, and put what landed in its place."""
        self._ended.set()
        for served in self._served.values():
            if served.live is not None:
                served.live.landing.close()

    def __iter__(self) -> Iterator[Served]:
        return iter(sorted(self._served.values(), key=lambda served: served.name))

    def __getitem__(self, name: str) -> Served:
        """A catalog.

        Raises:
            UnknownNameError: it is not served.
        """
        served = self._served.get(name)
        if served is not None:
            return served
        if name in self._faults:
            raise UnknownNameError(
                f"The catalog {name!r} cannot be served: its faults are in /v1/catalogs."
            )
        raise UnknownNameError(
            f"There is no published catalog {name!r}.{did_you_mean(name, sorted(self._served))}"
        )

    @property
    def faults(self) -> Mapping[str, str]:
        """Catalogs that cannot be served at all, and why."""
        return dict(self._faults)

    def look(self) -> None:
        """Open every snapshot that is current and not open yet."""
        for home in sorted(self.folder.glob(f"*/{CURRENT}")):
            name = home.parent.name
            served = self._served.get(name)
            try:
                current = home.read_text(encoding="utf-8").strip()
                if served is not None and served.snapshot.name == current:
                    continue
                if self._faults.get(name, "").startswith(f"{current}: "):
                    continue  # it was looked at before
                opened = OpenSnapshot(Snapshot.current(self.folder, name))
            except (UserError, OSError, KeyError, ValueError) as error:
                self._not_opened(name, served, error)
                continue
            self._faults.pop(name, None)
            if served is None:
                self._served[name] = self._first(name, opened)
            else:
                served.snapshot, served.opened_at, served.fault = opened, time.time(), None
                if served.live is not None:
                    served.live.histories.forget_known(opened)
            LOG.info("%s: serving %s", name, opened.name)
            self.on_swap(name)

    def _not_opened(self, name: str, served: Served | None, error: Exception) -> None:
        said = str(error) or type(error).__name__
        if served is None:
            if self._faults.get(name) != said:
                LOG.warning("%s: %s", name, said)
            self._faults[name] = said
        else:
            if served.fault != said:
                LOG.warning("%s: %s", name, said)
            served.fault = said

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            try:
                self.look()
            except Exception:
                LOG.exception("looking for snapshots")

    def _first(self, name: str, opened: OpenSnapshot) -> Served:
        served = Served(name, opened, time.time())
        try:
            catalog = self._catalog(name)
            columns = SourceColumns.of(opened.manifest)
            landing = Landing(landing_folder(catalog), catalog.live.file_seconds)
        except UserError as error:
            served.refusal = str(error)
            return served
        histories = LiveHistories(catalog, columns)
        histories.add(landing.rows())
        histories.forget_known(opened)
        served.live = Live(landing, columns, histories)
        return served

    def _catalog(self, name: str) -> Catalog:
        with suppress(KeyError):
            return self.catalogs[name]
        raise UserError(f"There is no catalog file of {name!r} here, which says where they go.")


def landing_folder(catalog: Catalog) -> Path:
    """Where interactions land that the server is told of.

    Raises:
        UserError: the catalog does not say, and its source is no folder.
    """
    if catalog.live_folder is not None:
        return catalog.live_folder
    path = catalog.interactions.source.path
    if path is not None:
        folder = catalog.folder / Path(expand_variables(path)).expanduser()
        if folder.is_dir():
            return folder
    raise UserError(
        f"The interactions of {catalog.name!r} come from {catalog.interactions.source.described}, "
        "which is no folder that new rows could be put into: name one in the catalog, with "
        "live: {folder: …}"
    )
