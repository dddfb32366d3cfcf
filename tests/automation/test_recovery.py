"""After a crash: dead runs are seen for what they are, living ones are left alone."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from socket import gethostname

import dagster as dg
import pytest
from dagster._core.storage.tags import GRPC_INFO_TAG

from recsys_dagster.automation import recovery
from recsys_dagster.automation.jobs import HOST_TAG
from recsys_dagster.automation.recovery import (
    DIED_TAG,
    MAX_RESTARTS,
    RESTARTS_TAG,
    fail_dead_runs,
    recovery_sensor,
)
from recsys_dagster.automation.runs import UNFINISHED, catalogs_of, runs_of
from recsys_dagster.resources.locks import Holder, hold, holder_of, is_held
from recsys_dagster.resources.run_locks import catalog_lock, own_run, run_lock


def at_work(folder, catalog):
    """The run that is at a catalog now; None where none is."""
    lock = catalog_lock(folder, catalog)
    return holder_of(lock) if is_held(lock) else None


HOLD = """
import sys, time
from pathlib import Path
from recsys_dagster.resources.run_locks import own_run
folder, catalog, run_id = sys.argv[1:]
with own_run(Path(folder), [catalog], run_id, f"refresh_{catalog}", print):
    print("held", flush=True)
    time.sleep(600)
"""


class Process:
    """Another process that is a run of a catalog, for as long as it lives."""

    def __init__(self, folder: Path, run_id: str, catalog: str = "tiny") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(folder), catalog, run_id],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout.readline() == "held\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)
        self.process.stdout.close()


@pytest.fixture
def start(tmp_path):
    """`start(run_id)`: a process that is the run."""
    started = []

    def make(run_id: str) -> Process:
        started.append(Process(tmp_path / "locks", run_id))
        return started[-1]

    yield make
    for process in started:
        process.kill()


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def launched(tiny, instance):
    """`launched()`: a refresh of `tiny` as the daemon starts one; options as of a run."""
    job = tiny().definitions().resolve_job_def("refresh_tiny")

    def make(status=dg.DagsterRunStatus.STARTED, tags=(), by_daemon=True, **options):
        server = {GRPC_INFO_TAG: json.dumps({"host": "localhost"}), HOST_TAG: gethostname()}
        server = server if by_daemon else {}
        return instance.create_run_for_job(job, status=status, tags=server | dict(tags), **options)

    return make


class TestLocks:
    def test_a_killed_process_holds_nothing(self, start, tmp_path):
        process = start("run-1")
        folder = tmp_path / "locks"
        assert at_work(folder, "tiny").run_id == "run-1"
        assert is_held(run_lock(folder, "run-1"))
        process.kill()
        assert at_work(folder, "tiny") is None
        assert not is_held(run_lock(folder, "run-1"))
        assert holder_of(run_lock(folder, "run-1")).pid == process.process.pid

    def test_who_waits_says_for_whom(self, start, tmp_path):
        start("11111111-of-another-process")
        said = []

        class EnoughError(Exception):
            pass

        def stop() -> None:
            if said:
                raise EnoughError

        with (
            pytest.raises(EnoughError),
            own_run(tmp_path / "locks", ["tiny"], "mine", "run", said.append, stop),
        ):
            pytest.fail("two runs at once")
        (sentence,) = said
        assert sentence.startswith("waiting for run 11111111 of refresh_tiny, for ")
        assert sentence.endswith("one run of tiny at a time")

    def test_it_goes_on_when_the_other_one_ends(self, start, tmp_path):
        process = start("run-1")
        with own_run(tmp_path / "locks", ["tiny"], "mine", "run", lambda _: process.kill()):
            assert at_work(tmp_path / "locks", "tiny").run_id == "mine"

    def test_catalogs_do_not_wait_for_each_other(self, start, tmp_path):
        start("run-1")
        with own_run(tmp_path / "locks", ["other"], "mine", "run", pytest.fail):
            assert at_work(tmp_path / "locks", "other").run_id == "mine"

    def test_a_run_that_ended_leaves_no_file_of_its_own(self, tmp_path):
        with own_run(tmp_path, ["tiny"], "mine", "run", pytest.fail):
            pass
        assert list((tmp_path / "runs").iterdir()) == []
        assert not is_held(catalog_lock(tmp_path, "tiny"))


class TestDeadRuns:
    def test_a_run_whose_process_was_killed_is_failed_and_says_so(
        self, start, launched, instance, tmp_path
    ):
        run = launched()
        process = start(run.run_id)
        assert fail_dead_runs(instance, tmp_path / "locks", ["tiny"]) == []
        process.kill()
        (sentence,) = fail_dead_runs(instance, tmp_path / "locks", ["tiny"])
        assert f"process {process.process.pid} of run {run.run_id[:8]} of refresh_tiny" in sentence
        found = instance.get_run_by_id(run.run_id)
        assert (found.status, found.tags[DIED_TAG]) == (dg.DagsterRunStatus.FAILURE, "true")
        assert fail_dead_runs(instance, tmp_path / "locks", ["tiny"]) == []
        assert list((tmp_path / "locks" / "runs").iterdir()) == []

    def test_one_that_was_killed_just_before_it_started_is_failed(
        self, start, launched, instance, tmp_path
    ):
        run = launched(dg.DagsterRunStatus.NOT_STARTED)
        process = start(run.run_id)
        assert fail_dead_runs(instance, tmp_path / "locks", ["tiny"]) == []
        process.kill()
        assert len(fail_dead_runs(instance, tmp_path / "locks", ["tiny"])) == 1
        assert runs_of(instance, "tiny", UNFINISHED) == []

    def test_what_the_daemon_is_about_to_start_is_its_own(
        self, launched, instance, tmp_path, monkeypatch
    ):
        monkeypatch.setattr(recovery, "SECONDS_TO_START", -1.0)
        gone = json.dumps({"host": "localhost", "socket": str(tmp_path / "gone")})
        launched(dg.DagsterRunStatus.NOT_STARTED, {GRPC_INFO_TAG: gone})
        assert fail_dead_runs(instance, tmp_path, ["tiny"]) == []

    def test_one_that_was_being_canceled_is_canceled(self, start, launched, instance, tmp_path):
        run = launched(dg.DagsterRunStatus.CANCELING)
        start(run.run_id).kill()
        (sentence,) = fail_dead_runs(instance, tmp_path / "locks", ["tiny"])
        assert sentence.endswith("the run is marked as canceled")
        assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.CANCELED

    def test_one_of_another_machine_is_not_judged(self, launched, instance, tmp_path, monkeypatch):
        monkeypatch.setattr(recovery, "SECONDS_TO_START", -1.0)
        gone = json.dumps({"host": "localhost", "socket": str(tmp_path / "gone")})
        run = launched(tags={GRPC_INFO_TAG: gone})
        lock = run_lock(tmp_path, run.run_id)
        lock.parent.mkdir(parents=True)
        lock.touch()
        elsewhere = {"run_id": run.run_id, "what": "x", "since": 0.0, "host": "far", "pid": 1}
        lock.with_suffix(".json").write_text(json.dumps(elsewhere))
        assert fail_dead_runs(instance, tmp_path, ["tiny"]) == []

    def test_one_that_ends_just_now_is_let_end(self, launched, instance, tmp_path, monkeypatch):
        run = launched()
        monkeypatch.setattr(recovery, "has_died", lambda *_: True)
        monkeypatch.setattr(
            recovery.time, "sleep", lambda _: instance.report_run_failed(run, "by itself")
        )
        assert fail_dead_runs(instance, tmp_path, ["tiny"]) == []
        assert DIED_TAG not in instance.get_run_by_id(run.run_id).tags

    def test_one_that_nothing_is_known_of_is_not_judged(self, launched, instance, tmp_path):
        launched()
        assert fail_dead_runs(instance, tmp_path, ["tiny"]) == []

    def test_one_that_was_to_be_started_by_a_server_that_is_gone_is_failed(
        self, launched, instance, tmp_path, monkeypatch
    ):
        monkeypatch.setattr(recovery, "SECONDS_TO_START", -1.0)
        gone = json.dumps({"host": "localhost", "socket": str(tmp_path / "gone")})
        launched(dg.DagsterRunStatus.STARTING, {GRPC_INFO_TAG: gone, HOST_TAG: "far"})
        assert fail_dead_runs(instance, tmp_path, ["tiny"]) == []
        launched(dg.DagsterRunStatus.STARTING, {GRPC_INFO_TAG: gone})
        assert len(fail_dead_runs(instance, tmp_path, ["tiny"])) == 1

    def test_other_catalogs_runs_are_for_others_to_judge(self, start, launched, instance, tmp_path):
        run = launched()
        start(run.run_id).kill()
        assert fail_dead_runs(instance, tmp_path / "locks", ["other"]) == []


class TestInterruptedRefreshes:
    @pytest.fixture
    def settings(self):
        return {}

    @pytest.fixture
    def tick(self, tiny, instance, tmp_path, settings):
        place = tiny(refresh=settings)
        catalogs = place.definitions().resources["recsys_catalogs"]
        job = place.definitions().resolve_job_def("refresh_tiny")
        sensor = recovery_sensor(catalogs, tmp_path / "locks", [job])

        def make():
            with dg.build_sensor_context(instance) as context:
                data = sensor.evaluate_tick(context)
            return list(data.run_requests or []), data.skip_message

        return make

    def test_a_refresh_that_died_is_asked_for_again(self, start, launched, tick):
        run = launched()
        start(run.run_id).kill()
        ((request,), _) = tick()
        assert request.job_name == "refresh_tiny"
        assert request.run_key == f"tiny-after-{run.run_id}"
        assert request.tags[RESTARTS_TAG] == "1"
        ((again,), _) = tick()
        assert again.run_key == request.run_key  # which Dagster takes once

    def test_one_that_died_long_ago_is_asked_for_too(self, start, launched, tick, monkeypatch):
        start(launched().run_id).kill()
        weekend = time.time() + 3 * 86_400
        monkeypatch.setattr(recovery.time, "time", lambda: weekend)
        ((request,), _) = tick()
        assert request.job_name == "refresh_tiny"

    def test_not_one_that_a_person_canceled(self, start, launched, tick):
        start(launched(dg.DagsterRunStatus.CANCELING).run_id).kill()
        assert tick()[0] == []

    @pytest.mark.parametrize("settings", [{"automation": "conditions"}])
    def test_where_conditions_make_stages_any_of_their_runs_counts(
        self, start, launched, tick, settings
    ):
        start(launched(asset_selection={dg.AssetKey(["tiny", "users"])}).run_id).kill()
        ((request,), _) = tick()
        assert request.job_name == "refresh_tiny"

    def test_not_where_a_later_run_has_taken_it_up(self, start, launched, tick):
        start(launched().run_id).kill()
        tick()
        launched(dg.DagsterRunStatus.SUCCESS)
        assert tick()[0] == []

    def test_not_one_that_dies_every_time(self, start, launched, tick):
        start(launched(tags={RESTARTS_TAG: str(MAX_RESTARTS)}).run_id).kill()
        requests, said = tick()
        assert requests == []
        assert "is gone" in said

    def test_not_what_a_person_ran_on_the_command_line(self, start, launched, tick):
        start(launched(by_daemon=False).run_id).kill()
        assert tick()[0] == []

    def test_otherwise_it_says_that_all_is_well(self, tick):
        tick()
        assert tick() == ([], "no run has died")


class TestWhoseRunItIs:
    def test_every_run_that_makes_something_of_a_catalog_is_found(self, tiny, instance):
        tiny("other")
        defs = tiny().definitions()
        by_hand = instance.create_run_for_job(
            defs.resolve_implicit_global_asset_job_def().get_subset(
                asset_selection={dg.AssetKey(["tiny", "users"]), dg.AssetKey(["other", "users"])}
            )
        )
        search = instance.create_run_for_job(defs.resolve_job_def("tune_tiny"))
        assert catalogs_of(by_hand) == ["other", "tiny"]
        assert {run.run_id for run in runs_of(instance, "tiny")} == {by_hand.run_id, search.run_id}
        assert {run.run_id for run in runs_of(instance, "other")} == {by_hand.run_id}

    def test_every_asset_check_and_search_is_in_its_catalogs_pool(self, tiny):
        job = tiny().definitions().resolve_job_def("refresh_tiny")
        assert {node.definition.pool for node in job.nodes} == {"recsys_tiny"}


STUCK = """
import sys, numpy as np
from dagster._utils.interrupts import capture_interrupts
from recsys_dagster.cli.interrupts import ended_by_one_signal
matrix = np.random.default_rng(0).normal(size=(6000, 6000))
with ended_by_one_signal(lambda: print("told", flush=True)), capture_interrupts():
    print("ready", flush=True)
    np.linalg.svd(matrix)  # minutes
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("in_the_background", [False, True])
def test_one_signal_ends_the_program_also_in_compiled_code(number, in_the_background):
    """In the background of a script Ctrl-C is ignored from the start."""
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(  # noqa: PLW1509, one thread
            signal.SIGINT, signal.SIG_IGN if in_the_background else signal.SIG_DFL
        ),
    )
    try:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.5)
        os.kill(process.pid, number)
        out, _ = process.communicate(timeout=20)
    finally:
        process.kill()
    assert (process.returncode, out) == (130, "told\n")


def test_the_encoder_is_waited_for_by_name(tmp_path):
    from recsys_dagster.resources.encoder import TextEncoder

    lock = tmp_path / "encoder.lock"
    said = []
    holder = Holder.here("abcdefgh-1", "shop, job refresh_shop")
    encoder = TextEncoder(lock=str(lock))

    class EnoughError(Exception):
        pass

    def waiting(sentence: str) -> None:
        said.append(sentence)
        raise EnoughError

    with (
        hold(lock, holder, pytest.fail),
        pytest.raises(EnoughError),
        encoder.turn(Holder.here("other", "films"), waiting),
    ):
        pytest.fail("two encoders at once")
    assert said[0].startswith(
        "waiting for the encoder, held by run abcdefgh of shop, job refresh_shop, for "
    )
