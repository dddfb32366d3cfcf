"""The sensor of a catalog: one run for a change of content, none for anything else."""

import json
import os
import sqlite3
import time

import dagster as dg
import pytest

from recsys_dagster.automation.jobs import CATALOG_TAG
from recsys_dagster.automation.sensors import watch_sensor

QUIET = {"settle_seconds": 0}


class Daemon:
    """Ticks a catalog's sensor as Dagster's daemon does: cursor and run keys are comment."""

    def __init__(self, place, name="tiny") -> None:
        self.place, self.name = place, name
        self.instance = dg.DagsterInstance.ephemeral()
        self.cursor: str | None = None
        self.run_keys: list[str] = []

    def tick(self) -> str:
        """Which run was asked for, or why none was."""
        sensor = watch_sensor(self.place.catalog(self.name))
        last = self.run_keys[-1] if self.run_keys else None
        context = dg.SensorEvaluationContext(
            None, instance=self.instance, cursor=self.cursor, last_run_key=last
        )
        data = sensor.evaluate_tick(context)
        self.cursor = data.cursor or self.cursor
        if not data.run_requests:
            return data.skip_message
        (request,) = data.run_requests
        assert request.tags[CATALOG_TAG] == self.name
        self.run_keys.append(request.run_key)
        return "run"


@pytest.fixture
def daemon(tiny):
    return Daemon(tiny(refresh=QUIET))


def add(place, line="user-zq-10,love5,5,2024-02-01\n"):
    with (place.data / "interactions.csv").open("a") as file:
        file.write(line)


def test_the_first_tick_asks_for_a_run_and_the_next_for_none(daemon):
    assert daemon.tick() == "run"
    assert daemon.tick() == "no content has changed"


def test_the_graph_is_told_which_source_changed_and_when(daemon):
    def told() -> dict:
        sensor = watch_sensor(daemon.place.catalog("tiny"))
        context = dg.build_sensor_context(daemon.instance, cursor=daemon.cursor)
        data = sensor.evaluate_tick(context)
        daemon.cursor = data.cursor or daemon.cursor
        return {event.asset_key.path[-1]: event for event in data.asset_events}

    first = told()
    assert set(first) == {"interactions_source", "items_source"}
    shown = first["items_source"].metadata
    file = daemon.place.data / "items.csv"
    assert shown["dagster/last_updated_timestamp"].value == pytest.approx(file.stat().st_mtime)
    assert (shown["files"].value, shown["size_bytes"].value) == (1, file.stat().st_size)
    assert told() == {}
    add(daemon.place)
    assert set(told()) == {"interactions_source"}


def test_a_change_is_one_run(daemon):
    daemon.tick()
    add(daemon.place)
    assert daemon.tick() == "run"
    assert daemon.tick() == "no content has changed"


def test_a_change_of_a_file_that_rules_name_is_one_run(tiny):
    place = tiny(refresh=QUIET, rules={"deny": "../data/deny.txt"})
    daemon, file = Daemon(place), place.data / "deny.txt"
    assert "deny.txt" in daemon.tick()  # it is not there
    file.write_text("space1\n")
    assert daemon.tick() == "run"
    assert daemon.tick() == "no content has changed"
    file.write_text("space2\n")
    assert daemon.tick() == "run"
    os.utime(file, (1, 1))
    assert daemon.tick() == "no content has changed"


@pytest.mark.parametrize("source", ["../data/interactions.csv", "python:collections:ChainMap"])
def test_what_a_server_was_told_of_is_one_run_whatever_the_source(tiny, source):
    place = tiny(refresh=QUIET, interactions={"source": source}, live={"folder": "../data/landing"})
    daemon = Daemon(place)
    assert daemon.tick() == "run"
    assert daemon.tick() == "no content has changed"
    landing = place.data / "landing"
    landing.mkdir()
    (landing / ".live-1.jsonl").write_text('{"user_id": "a"}\n')
    assert daemon.tick() == "no content has changed", "it is still being written"
    (landing / ".live-1.jsonl").rename(landing / "live-1.jsonl")
    assert daemon.tick() == "run"
    assert daemon.tick() == "no content has changed"


@pytest.mark.parametrize(
    "source",
    [
        "python:collections:ChainMap",
        {"asset": "sales/orders", "io_manager": "files"},
        {"asset": "sales/orders", "path": "../data/interactions.csv"},
    ],
)
def test_what_a_server_was_told_of_is_a_whole_refresh_where_no_condition_sees_it(tiny, source):
    place = tiny(
        refresh=QUIET | {"automation": "conditions"},
        interactions={"source": source},
        live={"folder": "../data/landing"},
    )
    daemon = Daemon(place)

    @dg.asset(key=["sales", "orders"])
    def orders() -> None: ...

    dg.materialize([orders], instance=daemon.instance)
    by_conditions = "content has changed; the conditions of the stages see to the rest"
    assert daemon.tick() == by_conditions
    (place.data / "landing").mkdir()
    (place.data / "landing" / "live-1.jsonl").write_text('{"user_id": "a"}\n')
    assert daemon.tick() == "run"
    assert daemon.tick() == "no content has changed"
    with (place.data / "items.csv").open("a") as file:
        file.write("space9,Nine,space\n")
    assert daemon.tick() == by_conditions


def test_what_a_server_was_told_of_beside_a_file_is_seen_to_by_conditions(tiny):
    place = tiny(refresh=QUIET | {"automation": "conditions"}, live={"folder": "../data/landing"})
    daemon = Daemon(place)
    daemon.tick()
    (place.data / "landing").mkdir()
    (place.data / "landing" / "live-1.jsonl").write_text('{"user_id": "a"}\n')
    assert "the conditions of the stages see to the rest" in daemon.tick()


def test_a_file_that_is_only_touched_is_no_change(daemon):
    daemon.tick()
    os.utime(daemon.place.data / "items.csv", (1, 1))
    assert daemon.tick() == "no content has changed"


def test_content_that_comes_back_is_a_change_with_a_key_of_its_own(daemon):
    file = daemon.place.data / "interactions.csv"
    before = file.read_bytes()
    daemon.tick()
    add(daemon.place)
    daemon.tick()
    file.write_bytes(before)
    assert daemon.tick() == "run"
    assert len(set(daemon.run_keys)) == 3


def test_a_tick_that_is_repeated_after_a_crash_asks_for_the_same_run(daemon):
    daemon.tick()
    add(daemon.place)
    cursor = daemon.cursor
    daemon.tick()
    daemon.cursor = cursor
    daemon.tick()
    assert daemon.run_keys[-1] == daemon.run_keys[-2]


@pytest.mark.parametrize("cursor", [None, "", "nonsense", "5", '{"files": []}', "{}"])
def test_after_a_cursor_was_emptied_or_rewritten_in_the_ui_all_is_taken_up_anew(daemon, cursor):
    """With a key of its own: Dagster takes a run with a key of before for done, and starts none."""
    daemon.tick()
    add(daemon.place)
    daemon.tick()
    for _ in range(2):
        daemon.cursor = cursor
        assert daemon.tick() == "run"
    assert daemon.tick() == "no content has changed"
    assert len(set(daemon.run_keys)) == 4


def test_a_file_that_is_still_being_written_is_waited_for(tiny):
    place = tiny(refresh={"settle_seconds": 1000})
    for file in place.data.iterdir():
        os.utime(file, (time.time() - 2000,) * 2)
    daemon = Daemon(place)
    assert daemon.tick() == "run"
    add(place)
    assert "interactions.csv is still being written" in daemon.tick()
    os.utime(place.data / "interactions.csv", (time.time() - 2000,) * 2)
    assert daemon.tick() == "run"


def test_a_file_from_the_future_is_waited_for_no_longer_than_one_of_now(tiny):
    place = tiny(refresh={"settle_seconds": 1000})
    for file in place.data.iterdir():
        os.utime(file, (time.time() - 2000,) * 2)
    os.utime(place.data / "items.csv", (time.time() + 500,) * 2)  # a clock that is ahead
    daemon = Daemon(place)
    assert "items.csv is still being written" in daemon.tick()
    os.utime(place.data / "items.csv", (time.time() + 86_400,) * 2)
    assert daemon.tick() == "run"


def test_ten_files_of_a_burst_are_one_run(tiny):
    source = {"interactions": {"source": "../data/parts", "positive": "rating >= 4"}}
    place = tiny(refresh=QUIET, **source)
    parts = place.data / "parts"
    parts.mkdir()
    header, *lines = (place.data / "interactions.csv").read_text().splitlines()
    (parts / "0.csv").write_text("\n".join([header, *lines]) + "\n")
    daemon = Daemon(place)
    daemon.tick()
    for number in range(1, 11):
        (parts / f"{number}.csv").write_text(f"{header}\nuser-zq-{number},love1,5,2024-02-01\n")
    assert daemon.tick() == "run"
    assert daemon.tick() == "no content has changed"


def test_while_a_run_is_under_way_the_next_waits(daemon):
    daemon.tick()
    job = daemon.place.definitions().resolve_job_def("refresh_tiny")
    run = daemon.instance.create_run_for_job(
        job, status=dg.DagsterRunStatus.STARTED, tags={CATALOG_TAG: "tiny"}
    )
    add(daemon.place)
    assert "a run is under way" in daemon.tick()
    daemon.instance.report_run_failed(run)
    assert daemon.tick() == "run"


def test_another_catalog_is_not_waited_for(tiny):
    tiny("other")
    daemon = Daemon(tiny(refresh=QUIET))
    job = daemon.place.definitions().resolve_job_def("refresh_other")
    daemon.instance.create_run_for_job(
        job, status=dg.DagsterRunStatus.STARTED, tags={CATALOG_TAG: "other"}
    )
    assert daemon.tick() == "run"


def test_a_missing_file_is_told_in_the_tick_and_taken_when_it_comes(daemon):
    file = daemon.place.data / "items.csv"
    content = file.read_bytes()
    daemon.tick()
    file.unlink()
    assert "items.csv: there is no such file" in daemon.tick()
    file.write_bytes(content + b"space6,Late Comet,space comet\n")
    assert daemon.tick() == "run"


def test_a_database_is_watched_with_its_newest_rows(tiny):
    source = {"database": "../data/shop.sqlite", "table": "items"}
    place = tiny(refresh=QUIET, items={"source": source, "text": "title"})
    connection = sqlite3.connect(place.data / "shop.sqlite")
    connection.execute("pragma journal_mode = wal")
    connection.execute("create table items (item_id text, title text)")
    connection.execute("insert into items values ('love1', 'Paris Kiss')")
    connection.commit()
    daemon = Daemon(place)
    assert daemon.tick() == "run"
    assert daemon.tick() == "no content has changed"
    connection.execute("insert into items values ('love2', 'Wedding Day')")
    connection.commit()
    assert daemon.tick() == "run"
    connection.close()


def test_a_query_is_watched_by_what_it_gives(tiny):
    query = {"sql": "select * from read_csv('../data/items.csv') where genres like '%space%'"}
    daemon = Daemon(tiny(refresh=QUIET, items={"source": query, "text": "title"}))
    daemon.tick()
    file = daemon.place.data / "items.csv"
    with file.open("a") as items:
        items.write("love6,Old Letters,love\n")
    assert daemon.tick() == "no content has changed"
    with file.open("a") as items:
        items.write("space6,Late Comet,space\n")
    assert daemon.tick() == "run"


def test_an_asset_is_watched_by_what_it_materialised(tiny):
    place = tiny(
        refresh=QUIET,
        interactions={
            "source": {"asset": "sales/orders", "io_manager": "files"},
            "positive": "rating >= 4",
        },
    )
    daemon = Daemon(place)
    versions = iter("12")

    @dg.asset(key=["sales", "orders"])
    def orders(context: dg.AssetExecutionContext) -> None:
        context.set_data_version(context.asset_key, dg.DataVersion(next(versions)))

    assert "sales/orders: it was never materialised" in daemon.tick()
    for _ in range(2):
        dg.materialize([orders], instance=daemon.instance)
        assert daemon.tick() == "run"
        assert daemon.tick() == "no content has changed"


def test_an_asset_that_gives_only_the_lineage_need_not_be_materialised(tiny):
    place = tiny(
        refresh=QUIET,
        interactions={"source": {"asset": "sales/orders", "path": "../data/interactions.csv"}},
    )
    assert Daemon(place).tick() == "run"


def test_the_cursor_says_what_was_seen_and_not_what_is_in_it(daemon):
    daemon.tick()
    assert "user-zq" not in daemon.cursor
    seen = json.loads(daemon.cursor)["files"]["items"]["items.csv"]
    assert seen["size"] == (daemon.place.data / "items.csv").stat().st_size


@pytest.mark.parametrize(
    "settings",
    [
        {"refresh": {"watch": False}},
        {
            "interactions": {"source": "python:recsys_dagster.demo:interactions"},
            "items": {"source": "python:recsys_dagster.demo:items", "text": "title"},
        },
    ],
)
def test_there_is_no_sensor_where_it_is_switched_off_or_has_nothing_to_watch(tiny, settings):
    assert watch_sensor(tiny(**settings).catalog("tiny")) is None
