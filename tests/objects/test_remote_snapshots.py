"""Snapshots on object storage: whole or not seen, one publisher at a time, one copy a machine."""

import itertools
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pandas as pd
import pytest

from recsys_dagster import objects
from recsys_dagster.errors import UnknownNameError, UserError
from recsys_dagster.snapshots import evaluations
from recsys_dagster.snapshots.current import (
    CURRENT,
    MANIFEST,
    current_name,
    published,
    served,
)
from recsys_dagster.snapshots.model_files import write_model
from recsys_dagster.snapshots.reader import Snapshot
from recsys_dagster.snapshots.remote import RemoteFolder, folder_of
from recsys_dagster.snapshots.writer import OvertakenError, publish, remove_old, roll_back
from tests.snapshots.test_snapshots import tables

pytestmark = pytest.mark.objects

KILLED = 9
PUBLISHING = """
import os, sys
from pathlib import Path
from recsys_dagster import objects
from recsys_dagster.snapshots.remote import RemoteFolder
from tests.objects.test_remote_snapshots import put

calls = 0

def dying(original):
    def call(*arguments):
        global calls
        if sys.argv[4] == "before" and calls == int(sys.argv[3]):
            os._exit(9)
        calls += 1
        result = original(*arguments)
        if sys.argv[4] == "after" and calls == int(sys.argv[3]) + 1:
            os._exit(9)
        return result
    return call

objects.upload, objects.write = dying(objects.upload), dying(objects.write)
put(RemoteFolder(sys.argv[1], Path(sys.argv[2])), "two", day=2)
"""
OBJECTS_OF_A_SNAPSHOT = 9


def put(folder, word="one", day=1, passed=True, began=None, year=2024):
    """Publish a snapshot whose titles all begin with a word."""
    items = [(str(number), f"{word} {number}") for number in range(1, 5)]
    models = folder.here.with_name(folder.here.name + "-models")
    model = write_model(models, "f1", {"popularity": np.ones(3, np.float32)}, {"strategy": "x"})
    about = {"gate": {"passed": passed, "reason": "why"}}
    made_at = pd.Timestamp(year, 1, day)
    made = tables(items, ["ann"], 2)
    return publish(folder, "films", word, made_at, made, about, model, {"power": 0.5}, began).name


def words(snapshot):
    """What the titles of a list and of its reasons begin with."""
    rows = snapshot.recommend("ann", 10)
    titles = [row.title for row in rows] + [why.title for row in rows for why in row.because]
    return {title.partition(" ")[0] for title in titles}


@pytest.fixture
def machine(bucket, tmp_path):
    """`machine()`: the same folder of object storage, as another machine has it."""
    numbers = itertools.count()
    return lambda: RemoteFolder(f"{bucket}/snapshots", tmp_path / f"machine{next(numbers)}")


def there(machine):
    """The objects of the folder, without its address."""
    folder = machine()
    return {
        each.address.removeprefix(folder.address + "/") for each in objects.below(folder.address)
    }


class TestPublishing:
    def test_another_machine_reads_what_was_published(self, machine, downloaded):
        name = put(machine())
        reader = machine()
        assert words(Snapshot.current(reader, "films")) == {"one"}
        assert len(downloaded) == OBJECTS_OF_A_SNAPSHOT
        downloaded.clear()
        snapshot = Snapshot.current(reader, "films")
        snapshot.verify()
        assert snapshot.path == reader.here / "films" / name
        assert downloaded == []
        assert published(reader) == {"films": name}

    def test_nothing_is_published(self, machine):
        with pytest.raises(UserError, match="has published nothing yet"):
            Snapshot.current(machine(), "films")
        assert published(machine()) == {}

    @pytest.mark.parametrize(
        ("began", "run_id", "goes_on"),
        [(-60, "two", False), (-60, "one", True), (60, "two", True)],
    )
    @pytest.mark.parametrize("year", [2024, 2099])
    def test_a_run_does_not_publish_over_what_another_machine_published_while_it_ran(
        self, machine, began, run_id, goes_on, year
    ):
        """Whatever the clock of that machine says: it may be wrong."""
        name = put(machine(), "one", day=1, year=year)
        seconds = time.time() + began
        told = pytest.raises(OvertakenError, match=f"{name} was published by another machine after")
        with nullcontext() if goes_on else told:
            put(machine(), run_id, day=3, began=seconds)
        assert words(Snapshot.current(machine(), "films")) == {run_id if goes_on else "one"}

    @pytest.mark.parametrize(
        ("damaged", "content"),
        [("{}/" + MANIFEST, b'{"format": 1}'), ("{}/" + MANIFEST, b"[]"), (CURRENT, b"\xff\0")],
    )
    def test_what_nobody_can_read_is_replaced_by_the_next_one(self, machine, damaged, content):
        name = put(machine(), "one", day=1)
        address = f"{machine().address}/films/{damaged.format(name)}"
        _, tag = objects.read(address)
        objects.write(address, content, tag)
        put(machine(), "two", day=2, began=0.0)
        assert words(Snapshot.current(machine(), "films")) == {"two"}

    def test_the_next_one_is_current_and_the_first_one_stays(self, machine):
        publisher = machine()
        first, second = put(publisher), put(publisher, "two", day=2)
        assert Snapshot.current(machine(), "films").path.name == second
        assert {name.split("/")[1] for name in there(machine)} == {CURRENT, first, second}

    @pytest.mark.parametrize("is_first", [True, False])
    def test_of_two_publishers_one_wins_and_the_other_says_so(self, machine, monkeypatch, is_first):
        slow, fast = machine(), machine()
        if not is_first:
            put(machine())
        original, won = RemoteFolder.send, []

        def overtaken(self, name, last):
            original(self, name, last)
            if self is slow and not won:
                won.append(put(fast, "fast", day=3))

        monkeypatch.setattr(RemoteFolder, "send", overtaken)
        with pytest.raises(OvertakenError) as fault:
            put(slow, "slow", day=2)
        assert f"{won[0]} was made current by somebody else" in str(fault.value)
        assert words(Snapshot.current(machine(), "films")) == {"fast"}
        assert not any("slow" in name for name in there(machine))
        assert put(slow, "again", day=4) == current_name(machine(), "films")

    def test_a_write_whose_answer_got_lost_is_repeated_and_no_overtaking(
        self, machine, monkeypatch
    ):
        original = objects.write

        def twice(*arguments):
            original(*arguments)
            original(*arguments)

        put(machine())
        monkeypatch.setattr(objects, "write", twice)
        assert put(machine(), "two", day=2) == current_name(machine(), "films")

    def test_a_failure_while_sending_leaves_the_one_before(self, machine, monkeypatch):
        first = put(machine())

        def fail(*_):
            raise UserError("the network is gone")

        with monkeypatch.context() as patch:
            patch.setattr(objects, "upload", fail)
            with pytest.raises(UserError, match="the network is gone"):
                put(machine(), "two", day=2)
        assert Snapshot.current(machine(), "films").path.name == first

    @pytest.mark.parametrize(
        ("call", "when"),
        [(0, "before"), (4, "before"), (4, "after"), (8, "after"), (9, "before"), (9, "after")],
    )
    def test_a_kill_leaves_the_one_before_or_the_new_one(self, machine, call, when):
        put(machine())
        publisher = machine()
        arguments = [publisher.address, str(publisher.here), str(call), when]
        done = subprocess.run(
            [sys.executable, "-c", PUBLISHING, *arguments],
            cwd=Path(__file__).parents[2],
            check=False,
        )
        assert done.returncode == KILLED
        expected = "two" if (call, when) == (OBJECTS_OF_A_SNAPSHOT, "after") else "one"
        for reader in (machine(), publisher):
            snapshot = Snapshot.current(reader, "films")
            snapshot.verify()
            assert words(snapshot) == {expected}
        again = put(publisher, "three", day=3)
        assert Snapshot.current(machine(), "films").path.name == again


class TestReading:
    def test_no_reader_sees_a_mixed_snapshot_while_others_are_published(self, machine):
        publisher, reader, ended, found = machine(), machine(), Event(), []
        put(publisher, "word0")

        def reading():
            while not ended.is_set():
                found.append(frozenset(words(Snapshot.current(reader, "films"))))

        thread = Thread(target=reading)
        thread.start()
        for number in range(1, 9):
            put(publisher, f"word{number}", day=number + 1)
        ended.set()
        thread.join()
        assert {len(each) for each in found} == {1}
        assert len(set(found)) > 2
        copies = [path for path in (reader.here / "films").iterdir() if path.is_dir()]
        assert len(copies) <= 3

    def test_two_processes_of_a_machine_fetch_at_the_same_time(self, machine):
        name = put(machine())
        reader, found = machine(), []

        def reading():
            found.append(words(Snapshot.current(reader, "films")))

        threads = [Thread(target=reading) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [{"one"}] * 3
        assert {path.name for path in (reader.here / "films").iterdir()} == {CURRENT, name}

    def test_what_was_damaged_there_is_not_seen_here(self, machine):
        name, reader = put(machine()), machine()
        address = f"{reader.address}/films/{name}/items.parquet"
        _, tag = objects.read(address)
        objects.write(address, b"damaged", tag)
        with pytest.raises(UserError, match=r"items\.parquet: the file is not what was published"):
            Snapshot.current(reader, "films")
        assert {path.name for path in (reader.here / "films").iterdir()} == {CURRENT}

    def test_no_address_leads_out_of_the_folder_of_copies(self, machine, tmp_path):
        name, reader = put(machine()), machine()
        objects.write(f"{reader.address}/films/{name}/../../../outside", b"x", None)
        with pytest.raises(UserError, match=r"/outside: this is no file of a snapshot"):
            Snapshot.current(reader, "films")
        objects.write(f"{reader.address}/../CURRENT", b"x", None)
        assert published(reader) == {"films": name}
        assert [path for path in tmp_path.iterdir() if path.is_file()] == []
        assert {path.name for path in (reader.here / "films").iterdir()} == {CURRENT}

    def test_what_was_removed_there_is_said(self, machine):
        publisher, reader = machine(), machine()
        name = put(publisher)
        publisher.remove(f"films/{name}", first=MANIFEST)
        with pytest.raises(UserError, match=rf"^s3://.*{name}: this snapshot is not there any"):
            Snapshot.current(reader, "films")

    def test_no_network(self, bucket, machine, environment, reconnect):
        publisher = machine()
        put(publisher)
        environment.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        reconnect()
        with pytest.raises(UserError, match="could not be reached"):
            Snapshot.current(machine(), "films")
        assert served(publisher, "films", "x") == "what was published before is still served"


class TestGoingBack:
    def test_to_the_one_before_and_to_a_named_one(self, machine):
        publisher = machine()
        first, second, third = (put(publisher, f"w{day}", day=day) for day in (1, 2, 3))
        assert roll_back(machine(), "films") == (third, second)
        assert words(Snapshot.current(machine(), "films")) == {"w2"}
        assert roll_back(machine(), "films", first) == (second, first)
        assert current_name(publisher, "films") == first
        with pytest.raises(UserError, match="no older snapshot"):
            roll_back(machine(), "films")
        with pytest.raises(UnknownNameError, match=f"Did you mean.*{third}"):
            roll_back(machine(), "films", third + "x")

    def test_one_that_is_not_whole_is_passed_over(self, machine):
        publisher = machine()
        first, second, third = (put(publisher, f"w{day}", day=day) for day in (1, 2, 3))
        objects.remove([f"{publisher.address}/films/{second}/{MANIFEST}"])
        assert roll_back(machine(), "films") == (third, first)
        with pytest.raises(UserError, match=f"{second}: this snapshot is not whole there"):
            roll_back(publisher, "films", second)  # which has a whole copy here


class TestCleaningUp:
    def test_the_newest_the_current_one_and_the_last_that_passed_are_kept(self, machine):
        publisher = machine()
        names = [put(publisher, f"w{day}", day=day, passed=day < 3) for day in range(1, 6)]
        roll_back(publisher, "films", names[2])
        assert remove_old(machine(), "films", keep=2) == 1
        left = {name.split("/")[1] for name in there(machine)} - {CURRENT}
        assert left == set(names[1:])
        Snapshot.current(machine(), "films").verify()


def test_what_evaluations_found_is_kept_there_by_several(machine, monkeypatch):
    def measured(folder, run):
        frame = pd.DataFrame(
            [{"slice": "all", "strategy": "x", "metric": "ndcg@10", "value": 0.5}]
        ).assign(low=0.4, high=0.6, users=3)
        made_at = pd.Timestamp(2024, 1, 1)
        evaluations.append(folder, "films", run, made_at, "time", "x", frame)

    measured(machine(), "one")
    original, between = RemoteFolder.read, []

    def overtaken(self, name):
        found = original(self, name)
        if not between:
            between.append(1)
            measured(machine(), "two")
        return found

    monkeypatch.setattr(RemoteFolder, "read", overtaken)
    measured(machine(), "three")
    runs = [entry["run_id"] for entry in evaluations.read(machine(), "films")]
    assert runs == ["one", "two", "three"]


def test_a_path_is_no_address(tmp_path):
    assert folder_of(str(tmp_path / "snapshots"), tmp_path) == tmp_path / "snapshots"
    remote = folder_of("s3://bucket/snapshots/", tmp_path)
    assert remote.address == "s3://bucket/snapshots"
    assert remote == folder_of("s3://bucket/snapshots", tmp_path)
