"""Who is told of a failed run, and what is removed when it is old."""

import http.server
import json
import os
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from recsys_dagster.automation import alerts, retention
from recsys_dagster.automation.alerts import alert_sensor, tell
from recsys_dagster.automation.jobs import CATALOG_TAG
from recsys_dagster.automation.retention import remove_leftovers, remove_runs
from recsys_dagster.catalog.files import Catalogs
from recsys_dagster.catalog.operations import AlertSettings
from recsys_dagster.errors import UserError
from recsys_dagster.resources.embedding_store import SCHEMA, remove_unused
from recsys_dagster.resources.snapshot_store import SnapshotStore
from recsys_dagster.snapshots.current import last_passed
from recsys_dagster.snapshots.evaluations import EVALUATIONS
from recsys_dagster.snapshots.model_files import remove_models
from recsys_dagster.snapshots.reader import Snapshot
from recsys_dagster.snapshots.writer import make_current, models_of, remove_old

TINY_SETTINGS = {
    "interactions": {"source": "../data/interactions.csv"},
    "items": {"source": "../data/items.csv", "text": "title"},
    "encoder": "tfidf",
}
MESSAGE = {"catalog": "tiny", "job": "refresh_tiny", "run_id": "1", "message": "it failed"}


def command_that_writes(file):
    code = f"import sys, pathlib; pathlib.Path({str(file)!r}).write_text(sys.stdin.read())"
    return [sys.executable, "-c", code]


def test_a_command_reads_the_message(tmp_path):
    tell(AlertSettings(command=tuple(command_that_writes(tmp_path / "told"))), MESSAGE)
    assert json.loads((tmp_path / "told").read_text()) == MESSAGE


def test_a_webhook_named_by_a_variable_gets_the_message(monkeypatch):
    got = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.handle_request, daemon=True).start()
    monkeypatch.setenv("ALERT_WEBHOOK", f"http://127.0.0.1:{server.server_port}/secret")
    tell(AlertSettings(webhook="${ALERT_WEBHOOK}"), MESSAGE)
    server.server_close()
    assert got == [MESSAGE]


def test_other_addresses_than_http_are_refused(tmp_path):
    with pytest.raises(OSError, match="no http address"):
        tell(AlertSettings(webhook=f"file://{tmp_path}/x"), MESSAGE)


def told_of_a_run(place, name, file):
    """Run a catalog, which fails, and let the sensor tell; what was told, None where nothing."""
    history = str(place.root / "history")
    (place.root / "history").mkdir(exist_ok=True)
    # A run closes its instance; what it wrote is on disk, as for a sensor.
    result = place.run(name, instance=dg.DagsterInstance.local_temp(history))
    assert not result.success
    sensor = alert_sensor(Catalogs.read(place.catalogs))
    assert sensor is not None
    with dg.DagsterInstance.local_temp(history) as instance:
        context = dg.build_run_status_sensor_context(
            sensor_name="alert_on_failure",
            dagster_event=result.get_run_failure_event(),
            dagster_instance=instance,
            dagster_run=result.dagster_run,
            resources={
                "recsys_warehouse": place.warehouse,
                "recsys_snapshots": SnapshotStore(folder=str(place.snapshots)),
            },
        ).for_run_failure()
        sensor(context)
    if not file.exists():
        return None
    told = json.loads(file.read_text())
    assert told["run_id"] == result.dagster_run.run_id
    return told


def test_a_failed_run_is_told_of_its_own_catalog_alone(tiny, tmp_path):
    tiny("other")
    place = tiny(alert={"command": command_that_writes(tmp_path / "told")})
    (place.data / "items.csv").unlink()
    assert told_of_a_run(place, "other", tmp_path / "told") is None
    told = told_of_a_run(place, "tiny", tmp_path / "told")
    assert told["catalog"] == "tiny"
    assert told["job"] == "refresh_tiny"


def test_an_error_is_told_by_its_first_line_with_the_page_of_the_run(tiny, tmp_path):
    alert = {
        "command": command_that_writes(tmp_path / "told"),
        "ui": "https://dagster.example.org/",
    }
    place = tiny(alert=alert)
    (place.data / "items.csv").unlink()
    told = told_of_a_run(place, "tiny", tmp_path / "told")
    assert told["url"] == f"https://dagster.example.org/runs/{told['run_id']}"
    assert (told["checks"], told["rejected"]) == ([], {})
    first, error, url = told["message"].splitlines()
    assert first == "tiny: the run of refresh_tiny failed; nothing is published yet."
    assert error.startswith("raw_items: ")
    assert "items.csv" in error
    assert "Error:" not in error
    assert url == told["url"]


def test_where_something_is_published_it_is_said_that_it_is_still_served(published, tmp_path):
    place = published(alert={"command": command_that_writes(tmp_path / "told")})
    (place.data / "items.csv").unlink()
    first = told_of_a_run(place, "tiny", tmp_path / "told")["message"].splitlines()[0]
    assert first.endswith("failed; what was published before is still served.")


def test_the_page_is_as_it_is_written_where_its_variable_is_not_set(tiny, tmp_path):
    alert = {"command": command_that_writes(tmp_path / "told"), "ui": "${NO_SUCH_UI}"}
    place = tiny(alert=alert)
    (place.data / "items.csv").unlink()
    told = told_of_a_run(place, "tiny", tmp_path / "told")
    assert told["url"].startswith("${NO_SUCH_UI}/runs/")


def test_a_command_that_fails_does_not_keep_the_webhook_from_being_told(monkeypatch):
    posted = []
    monkeypatch.setattr(alerts, "_post", lambda alert, _: posted.append(alert.webhook))
    with pytest.raises(FileNotFoundError):
        tell(AlertSettings(command=("no-such-program",), webhook="http://x"), MESSAGE)
    assert posted == ["http://x"]


def test_an_alert_that_nobody_gets_fails_the_sensor(tiny, tmp_path):
    place = tiny(alert={"command": ["no-such-program"]})
    (place.data / "items.csv").unlink()
    with pytest.raises(UserError, match="nobody was told of a failed run: tiny: FileNotFound"):
        told_of_a_run(place, "tiny", tmp_path / "told")


def test_a_failed_check_is_told_with_its_figures_and_the_reasons_of_rejection(tiny, tmp_path):
    place = tiny(alert={"command": command_that_writes(tmp_path / "told")})
    rows = (place.data / "interactions.csv").read_text().splitlines()
    faulty = [f"user-zq-77,space{n},many,2024-01-10" for n in range(40)]
    faulty += [f"user-zq-78,,{n},2024-01-10" for n in range(2)]
    (place.data / "interactions.csv").write_text("\n".join([*rows, *faulty]) + "\n")
    told = told_of_a_run(place, "tiny", tmp_path / "told")
    (check,) = told["checks"]
    assert (check["asset"], check["check"]) == ("interactions", "interactions_accepted_share")
    assert check["description"].startswith("36.4% of 66 rows accepted, at least 50% expected")
    assert told["rejected"] == {
        "interactions": [
            {"reason": "weight is not a number", "rows": 40},
            {"reason": "item_id is missing or blank", "rows": 2},
        ]
    }
    assert told["url"] == f"http://127.0.0.1:3000/runs/{told['run_id']}"
    for part in (check["description"], "40 × weight is not a number", told["url"]):
        assert part in told["message"]
    assert "blocking" not in told["message"]
    assert "user-zq" not in json.dumps(told)


def test_reasons_that_cannot_be_read_now_do_not_stop_a_message(tiny, tmp_path, monkeypatch):
    place = tiny(alert={"command": command_that_writes(tmp_path / "told")})
    text = (place.data / "interactions.csv").read_text().replace("-01-", "-13-")
    (place.data / "interactions.csv").write_text(text)

    def held(*_):
        raise dg.RetryRequested(3)

    monkeypatch.setattr(alerts, "quoted", held)
    told = told_of_a_run(place, "tiny", tmp_path / "told")
    assert told["checks"][0]["check"] == "interactions_accepted_share"
    assert told["rejected"] == {"interactions": []}


def test_there_is_no_alert_sensor_where_nobody_is_to_be_told(tiny):
    assert alert_sensor(Catalogs.read(tiny().catalogs)) is None


def snapshots(place):
    return sorted(path.name for path in (place.snapshots / "tiny").iterdir() if path.is_dir())


def test_the_newest_snapshots_and_the_current_one_are_kept(published):
    place = published()
    home = place.snapshots / "tiny"
    (first,) = snapshots(place)
    for number in range(5):
        (home / f"9999010{number}T000000-{number}").mkdir()
    make_current(home, first)
    assert remove_old(place.snapshots, "tiny", keep=2) == 3
    assert snapshots(place) == [first, "99990103T000000-3", "99990104T000000-4"]
    Snapshot.current(place.snapshots, "tiny").verify()


def test_what_a_killed_publisher_left_goes_after_a_day(published):
    place = published()
    home = place.snapshots / "tiny"
    old, new = (home / f".2024010{day}T000000000000-{day}" for day in (1, 2))
    for folder in (old, new):
        folder.mkdir()
    os.utime(old, (0, 0))
    before = snapshots(place)
    assert remove_old(place.snapshots, "tiny", keep=9) == 0
    assert snapshots(place) == [name for name in before if name != old.name]


def test_what_evaluations_found_is_no_snapshot(published):
    place = published()
    file = place.snapshots / "tiny" / EVALUATIONS
    file.write_text("")
    passed = last_passed(place.snapshots, "tiny")
    assert [passed["snapshot"]] == snapshots(place)
    assert remove_old(place.snapshots, "tiny", keep=1) == 0
    assert models_of(place.snapshots, "tiny") == {passed["model"]["fingerprint"]}
    assert file.exists()


def test_nothing_is_removed_where_nothing_was_published(tmp_path):
    assert remove_old(tmp_path, "tiny", keep=1) == 0


def test_old_runs_go_and_the_last_one_stays(tiny):
    place = tiny()
    with dg.DagsterInstance.ephemeral() as instance:
        job = place.definitions().resolve_job_def("refresh_tiny")
        tags = {CATALOG_TAG: "tiny"}
        runs = [
            instance.create_run_for_job(job, status=status, tags=tags)
            for status in (
                dg.DagsterRunStatus.SUCCESS,
                dg.DagsterRunStatus.STARTED,
                dg.DagsterRunStatus.FAILURE,
            )
        ]
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        assert remove_runs(instance, "tiny", tomorrow - timedelta(days=2)) == 0
        assert remove_runs(instance, "other", tomorrow) == 0
        assert remove_runs(instance, "tiny", tomorrow) == 1
        left = {run.run_id for run in instance.get_runs()}
        assert left == {run.run_id for run in runs[1:]}


class TestVectors:
    LATER = datetime.now(UTC) + timedelta(days=1)

    @pytest.fixture
    def stored(self, tiny):
        """Texts a (in use), b and c of the encoder `used`, and a of the encoder `gone`."""
        warehouse = tiny().warehouse
        with warehouse.connect("tiny") as connection:
            connection.execute(f"create schema {SCHEMA}")
            for name, hashes in (("used", "abc"), ("gone", "a")):
                table = f'{SCHEMA}."{name}"'
                connection.execute(
                    f"create table {table} (text_hash varchar primary key, embedding float[1])"
                )
                for text in hashes:
                    connection.execute(f"insert into {table} values (?, [1.0])", [text])
            connection.execute("create table item_texts as select 'a' as text_hash")
            connection.execute("create table user_texts (text_hash varchar)")
        return warehouse

    def left(self, warehouse, name):
        rows = warehouse.query("tiny", f'select text_hash from {SCHEMA}."{name}" order by 1')
        return "".join(text for (text,) in rows)

    def test_what_no_text_and_no_encoder_needs_goes(self, stored):
        assert remove_unused(stored, "tiny", {"used"}, self.LATER) == 3
        assert self.left(stored, "used") == "a"
        assert self.left(stored, "gone") == ""

    @pytest.mark.parametrize("gone", ["item_texts", "user_texts"])
    def test_nothing_of_an_encoder_in_use_goes_while_a_table_of_texts_is_missing(
        self, stored, gone
    ):
        stored.query("tiny", f"drop table {gone}")
        assert remove_unused(stored, "tiny", {"used"}, self.LATER) == 1
        assert self.left(stored, "used") == "abc"

    def test_what_is_young_stays(self, stored):
        yesterday = self.LATER - timedelta(days=2)
        assert remove_unused(stored, "tiny", {"used"}, yesterday) == 0

    def test_a_catalog_that_never_ran_has_nothing_to_remove(self, tiny):
        assert remove_unused(tiny().warehouse, "tiny", set(), self.LATER) == 0


def test_copies_of_objects_that_a_killed_process_left_go_after_a_day(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    for folder in (old, new):
        folder.mkdir()
        (folder / "items.csv").write_text("half")
    os.utime(old, (0, 0))
    remove_leftovers(tmp_path, datetime.now(UTC) - timedelta(days=1))
    assert list(tmp_path.iterdir()) == [new]
    remove_leftovers(tmp_path / "nothing", datetime.now(UTC))


def test_what_another_process_takes_away_meanwhile_is_no_fault(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    monkeypatch.setattr(Path, "iterdir", lambda _: iter([gone]))
    assert remove_leftovers(tmp_path, datetime.now(UTC)) == 0
    assert remove_models(tmp_path, [], datetime.now(UTC) - timedelta(hours=1)) == 0


def test_the_job_cleans_every_catalog_up(published):
    place = published()
    home = place.snapshots / "tiny"
    for number in range(12):
        (home / f"199901{number:02}T000000-{number}").mkdir()
    job = place.definitions().resolve_job_def("clean_up")
    assert job.execute_in_process(instance=dg.DagsterInstance.ephemeral()).success
    assert len(snapshots(place)) == 10
    Snapshot.current(place.snapshots, "tiny").verify()


def test_what_cannot_be_removed_of_one_catalog_stays_alone(published):
    """An encoder that is not found: its vectors stay, and all else is removed."""
    place = published(encoder="no-such-encoder")
    place.write_catalog("zoo", TINY_SETTINGS)
    for name in ("tiny", "zoo"):
        for number in range(12):
            (place.snapshots / name / f"199901{number:02}T000000-{number}").mkdir(parents=True)
    job = place.definitions().resolve_job_def("clean_up")
    result = job.execute_in_process(instance=dg.DagsterInstance.ephemeral(), raise_on_error=False)
    assert not result.success
    assert len(snapshots(place)) == 10
    assert len(list((place.snapshots / "zoo").iterdir())) == 10
    (failure,) = (event for event in result.all_events if event.is_step_failure)
    error = failure.step_failure_data.error
    message = (error.cause or error).message
    assert "Not everything could be removed: tiny: vectors of texts: " in message
    assert "no-such-encoder" in message
    assert "zoo" not in message


def test_a_warehouse_that_a_run_holds_is_cleaned_another_day(published, monkeypatch):
    place = published()

    def held(*_):
        raise dg.RetryRequested(3)

    monkeypatch.setattr(retention, "remove_unused", held)
    job = place.definitions().resolve_job_def("clean_up")
    assert job.execute_in_process(instance=dg.DagsterInstance.ephemeral()).success
