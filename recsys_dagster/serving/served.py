"""The catalogs that are served: each with its current snapshot, exchanged while requests go on."""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

from recsys_dagster.catalog.files import Catalogs
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.catalog.source import expand_variables
from recsys_dagster.errors import UnknownNameError, UserError, did_you_mean
from recsys_dagster.serving.landing import Landing
from recsys_dagster.serving.live import LiveHistories, typed
from recsys_dagster.serving.opened import OpenSnapshot
from recsys_dagster.serving.source_columns import SourceColumns
from recsys_dagster.snapshots.current import published
from recsys_dagster.snapshots.reader import Snapshot
from recsys_dagster.snapshots.remote import Folder

LOOK_SECONDS = 0.5
LOOK_THERE_SECONDS = 5.0
"""Object storage is asked less often: every question costs money."""
RETRY_SECONDS = 30.0
LOG = logging.getLogger("recsys_dagster.serving")


@dataclass(frozen=True)
class Live:
    """How interactions are taken for a catalog.

    Attributes:
        catalog: what they mean, by the settings that the snapshot was made with: the file may say
            something else already, or not any more.
        landing: where they are written.
        columns: how the source spells them.
        histories: what they make of users.
    """

    catalog: Catalog
    landing: Landing
    columns: SourceColumns
    histories: LiveHistories


@dataclass
class Served:
    """One catalog.

    Attributes:
        name: of the catalog.
        snapshot: the current one. Take it once a request, so that an answer is of one snapshot.
        live: how interactions are taken; None where they are not.
        refusal: why they are not.
        fault: why the newest snapshot cannot be opened; an older one is served meanwhile.
    """

    name: str
    snapshot: OpenSnapshot
    live: Live | None = None
    refusal: str = ""
    fault: str | None = None


@dataclass
class ServedCatalogs:
    """All catalogs that have published something, looked at again twice a second.

    On object storage every five seconds.

    Attributes:
        folder: where all snapshots lie.
        catalogs: the catalog files, which say where interactions land.
        on_swap: told the name of a catalog whose snapshot was exchanged.
    """

    folder: Folder
    catalogs: Catalogs
    on_swap: Callable[[str], None] = lambda name: None
    _served: dict[str, Served] = field(default_factory=dict)
    _faults: dict[str, str] = field(default_factory=dict)
    _failed: dict[str, tuple[str, float]] = field(default_factory=dict)
    _unreachable: str = ""
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
        return self.find(name)

    def find(self, name: str, may_see: Callable[[str], bool] = lambda name: True) -> Served:
        """A catalog.

        Args:
            name: of the catalog.
            may_see: whether whoever asks may know of another one.

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
            f"There is no published catalog {name!r}."
            f"{did_you_mean(name, sorted(filter(may_see, self._served)))}"
        )

    @property
    def faults(self) -> Mapping[str, str]:
        """Catalogs that cannot be served at all, and why."""
        return dict(self._faults)

    def look(self) -> None:
        """Open every snapshot that is current and not open yet.

        What cannot be opened is looked at again after a while, or when another one is current.
        """
        folder, names = self._published()
        for name, current in names.items():
            served = self._served.get(name)
            try:
                if served is not None and served.snapshot.name == current:
                    served.fault = None  # of another one, which is not current any more
                    self._take_interactions(served)
                    continue
                failed, when = self._failed.get(name, ("", 0.0))
                if failed == current and time.monotonic() - when < RETRY_SECONDS:
                    continue
                self._failed[name] = (current, time.monotonic())
                self._exchange(name, OpenSnapshot(Snapshot.current(folder, name)))
            except Exception as error:  # one catalog must not keep the others from being served
                if not isinstance(error, UserError):
                    LOG.exception("%s", name)
                self._not_opened(name, served, str(error) or type(error).__name__)

    def _published(self) -> tuple[Folder, Mapping[str, str]]:
        """Where snapshots are opened, and the current ones by catalog.

        Where object storage cannot be asked, that is what was fetched before.
        """
        try:
            found = published(self.folder)
        except (UserError, OSError) as error:
            if str(error) != self._unreachable:
                LOG.warning("%s", error)
            self._unreachable = str(error)
            if isinstance(self.folder, Path):
                return self.folder, {}
            return self.folder.here, published(self.folder.here)
        self._unreachable = ""
        return self.folder, found

    def _exchange(self, name: str, opened: OpenSnapshot) -> None:
        served = self._served.get(name)
        if served is None:
            served = Served(name, opened)
            self._take_interactions(served)
            self._served[name] = served
        else:
            self._put_in_place(served, opened)
        self._faults.pop(name, None)
        self._failed.pop(name, None)
        LOG.info("%s: serving %s", name, opened.name)
        self.on_swap(name)

    def _put_in_place(self, served: Served, opened: OpenSnapshot) -> None:
        """Serve another snapshot of a catalog, with what users did that it does not have."""
        live = served.live
        if live is not None and _must_count_again(live, served.snapshot, opened):
            # Closed before, so that what is acknowledged meanwhile is in no file alone.
            live.landing.close()
            has = served.snapshot.live_files & opened.live_files
            live = self._taking(served, opened, has)
        elif live is not None:
            live = replace(live, columns=SourceColumns.of(opened.manifest))
        served.live = live
        served.snapshot, served.fault = opened, None
        if live is not None:
            live.histories.forget(opened.live_files)

    def _not_opened(self, name: str, served: Served | None, said: str) -> None:
        known = self._faults.get(name) if served is None else served.fault
        if known != said:
            LOG.warning("%s: %s", name, said)
        if served is None:
            self._faults[name] = said
        else:
            served.fault = said

    def _watch(self) -> None:
        is_here = isinstance(self.folder, Path)
        while not self._ended.wait(LOOK_SECONDS if is_here else LOOK_THERE_SECONDS):
            self.look()

    def _take_interactions(self, served: Served) -> None:
        """Begin to take interactions, where nothing is in the way any more."""
        if served.live is not None:
            return
        snapshot = served.snapshot
        served.live = self._taking(served, snapshot, snapshot.live_files)

    def _taking(self, served: Served, snapshot: OpenSnapshot, has: Collection[str]) -> Live | None:
        """How interactions are taken beside a snapshot that has some files; None where said why."""
        try:
            live = self._opened(served.name, snapshot, has)
        except Exception as error:  # the catalog is served to readers all the same
            said = str(error) or type(error).__name__
            if said != served.refusal:
                trace = None if isinstance(error, UserError) else error
                LOG.warning("%s: no interactions are taken: %s", served.name, said, exc_info=trace)
            served.refusal = said
            return None
        served.refusal = ""
        return live

    def _opened(self, name: str, snapshot: OpenSnapshot, has: Collection[str]) -> Live:
        file = self._catalog(name)
        columns = SourceColumns.of(snapshot.manifest)
        landing = Landing(landing_folder(file), file.live.file_seconds, columns.time)
        catalog = _meaning(snapshot)
        live = Live(catalog, landing, columns, LiveHistories(catalog))
        try:
            _count_again(live, landing.rows(without=has))
        except BaseException:
            landing.close()
            raise
        return live

    def _catalog(self, name: str) -> Catalog:
        with suppress(KeyError):
            return self.catalogs[name]
        raise UserError(f"There is no catalog file of {name!r} here, which says where they go.")


def _meaning(snapshot: OpenSnapshot) -> Catalog:
    """The catalog as it was when a snapshot was made."""
    return Catalog.model_validate(snapshot.manifest["settings"])


def _must_count_again(live: Live, before: OpenSnapshot, after: OpenSnapshot) -> bool:
    """Whether rows that landed are not as another snapshot needs them.

    Those that only the one before has are not in memory; and others may mean something else.
    """
    now = _meaning(after)
    was = live.catalog
    is_edited = (was.interactions, was.users) != (now.interactions, now.users)
    return is_edited or not before.live_files <= after.live_files


def _count_again(live: Live, landed: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """Count rows that landed before, each with the file that has it."""
    found = list(landed)
    if found:
        kept, _ = typed([row for _, row in found], live.columns, live.catalog)
        live.histories.add([found[place][0] for place in kept.index], kept)


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
