"""The power is cut in the middle of a refresh: nobody has to lift a hand afterwards."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest

from recsys_dagster.automation.recovery import DIED_TAG
from recsys_dagster.home import prepare_dagster_home
from recsys_dagster.snapshots.current import CURRENT
from recsys_dagster.snapshots.reader import Snapshot

pytestmark = pytest.mark.faults
ROOT = Path(__file__).parents[1]
RECOVERY_SECONDS = 120
STUCK_SECONDS = 240


class DagsterDev:
    """`dagster dev` in a process group of its own."""

    def __init__(self, log: Path) -> None:
        self.log = log
        with log.open("ab") as stream:
            self.process = subprocess.Popen(
                [
                    Path(sys.executable).with_name("dagster"),
                    *("dev", "-m", "recsys_dagster.definitions", "-h", "127.0.0.1", "-p", "0"),
                ],
                cwd=ROOT,
                env=dict(os.environ),
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def cut_the_power(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)


@pytest.fixture
def start(tmp_path):
    started = []

    def make() -> DagsterDev:
        started.append(DagsterDev(tmp_path / "dev.log"))
        return started[-1]

    yield make
    for dev in started:
        if dev.process.poll() is None:
            dev.cut_the_power()


def until(seconds: float, what: str, look):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.2)
    return pytest.fail(f"{what}: not within {seconds:.0f} s")


def at_work(instance: dg.DagsterInstance):
    """The run that is under way and has made something."""
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        if instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION):
            return run
    return None


def test_a_refresh_that_was_cut_off_is_published_within_two_minutes(
    published, start, tmp_path, monkeypatch
):
    place = published(refresh={"settle_seconds": 0, "every_seconds": 5})
    place.environment(monkeypatch)
    prepare_dagster_home()
    current = place.snapshots / "tiny" / CURRENT
    before = current.read_text()
    with (place.data / "interactions.csv").open("a") as file:
        file.write("user-zq-10,love5,5,2024-02-01\n")
    dev = start()
    with dg.DagsterInstance.get() as instance:
        run = until(STUCK_SECONDS, "a run at work", lambda: at_work(instance))
        dev.cut_the_power()
        assert current.read_text() == before
        assert not instance.get_run_by_id(run.run_id).is_finished
        start()
        until(RECOVERY_SECONDS, "a new snapshot", lambda: current.read_text() != before)
        dead = instance.get_run_by_id(run.run_id)
        assert (dead.status, dead.tags[DIED_TAG]) == (dg.DagsterRunStatus.FAILURE, "true")
    Snapshot.current(place.snapshots, "tiny").verify()
