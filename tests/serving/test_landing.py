"""What is acknowledged is on the disk, once, in a file that does not change when it is seen."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from threading import Thread

import pytest

from recsys_dagster.errors import UserError
from recsys_dagster.serving.landing import KEY, KeyReusedError, Landing, NotTakenError


def visible(folder):
    return sorted(folder.glob("live-*.jsonl"))


def lines(folder):
    return [json.loads(line) for file in visible(folder) for line in file.read_text().splitlines()]


def test_rows_are_hidden_until_their_file_is_closed(tmp_path):
    landing = Landing(tmp_path, 3600, "time")
    landed = landing.take([{"user_id": "u", "item_id": "i"}]).result()
    assert landed.fresh == [0]
    assert visible(tmp_path) == []
    assert list(landing.rows(without=[])) == [(landed.file, {"user_id": "u", "item_id": "i"})]
    assert list(landing.rows(without=[landed.file])) == []
    landing.close()
    assert [file.name for file in visible(tmp_path)] == [landed.file]
    assert lines(tmp_path) == [{"user_id": "u", "item_id": "i"}]


def test_a_file_is_closed_after_its_time_and_never_changes_again(tmp_path):
    landing = Landing(tmp_path, 0, "time")
    landing.take([{"user_id": "a"}]).result()
    landing.take([{"user_id": "b"}]).result()
    landing.close()
    assert [row["user_id"] for row in lines(tmp_path)] == ["a", "b"]


def test_a_row_told_twice_under_one_key_is_there_once_also_after_a_restart(tmp_path):
    row = {"user_id": "u", KEY: "order-1"}
    landing = Landing(tmp_path, 3600, "time")
    first, second = landing.take([row]), landing.take([row, row | {KEY: "order-2"}])
    assert first.result().fresh == [0]
    assert second.result().fresh == [1]
    landing.close()
    again = Landing(tmp_path, 3600, "time")
    assert again.take([row]).result().fresh == []
    again.close()
    assert len(lines(tmp_path)) == 2


def test_the_same_key_twice_in_one_call_is_taken_once(tmp_path):
    landing = Landing(tmp_path, 3600, "time")
    rows = [{"user_id": "a", KEY: "k", "time": 1}, {"user_id": "a", KEY: "k", "time": 2}]
    landed = landing.take(rows).result()
    landing.close()
    assert landed.fresh == [0]
    assert lines(tmp_path) == rows[:1]


def test_a_key_that_stands_for_something_else_is_refused_with_its_whole_request(tmp_path):
    landing = Landing(tmp_path, 3600, "time")
    landing.take([{"user_id": "a", KEY: "k"}]).result()
    with pytest.raises(KeyReusedError, match="'k'"):
        landing.take([{"user_id": "c"}, {"user_id": "b", KEY: "k"}]).result()
    landing.close()
    assert lines(tmp_path) == [{"user_id": "a", KEY: "k"}]


def test_a_file_that_is_taken_away_stops_nothing(tmp_path):
    landing = Landing(tmp_path, 0.2, "time")
    landing.take([{"user_id": "a"}]).result()
    for hidden in tmp_path.glob(".live-*.jsonl"):
        hidden.unlink()
    time.sleep(1.5)
    assert landing.take([{"user_id": "b"}]).result(timeout=5).fresh == [0]
    landing.close()
    assert lines(tmp_path) == [{"user_id": "b"}]


def test_what_cannot_be_written_is_said_and_what_was_acknowledged_is_kept(tmp_path, monkeypatch):
    landing = Landing(tmp_path, 3600, "time")
    landing.take([{"user_id": "a"}]).result()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match="no space left") as caught:
            landing.take([{"user_id": "b"}]).result(timeout=5)
    assert str(tmp_path) not in str(caught.value)
    landing.take([{"user_id": "c"}]).result(timeout=5)
    landing.close()
    assert [row["user_id"] for row in lines(tmp_path)] == ["a", "c"]
    assert not list(tmp_path.glob(".live-*.jsonl"))


@pytest.mark.skipif(sys.platform == "win32", reason="files have no limit there")
@pytest.mark.parametrize("before", [0, 1])
def test_nothing_of_what_a_full_disk_refused_is_there_and_told_again_it_is_there_once(
    tmp_path, before
):
    import resource

    landing = Landing(tmp_path, 3600, "time")
    acknowledged = [{"user_id": "a", KEY: f"a-{number}"} for number in range(before)]
    landing.take(acknowledged).result(timeout=5)
    rows = [{"user_id": "b", KEY: f"b-{number}"} for number in range(1_000)]
    handled = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, unlimited[1]))
        with pytest.raises(NotTakenError, match="Send it again later, under the same keys"):
            landing.take(rows).result(timeout=5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        signal.signal(signal.SIGXFSZ, handled)
    assert [row for _, row in landing.rows(without=[])] == acknowledged
    assert len(landing.take(rows).result(timeout=5).fresh) == len(rows)
    landing.close()
    assert lines(tmp_path) == [*acknowledged, *rows]


def test_nothing_is_taken_after_the_end(tmp_path):
    landing = Landing(tmp_path, 3600, "time")
    landing.close()
    with pytest.raises(UserError, match="no interactions are taken here any more"):
        landing.take([{"user_id": "a"}])


def test_a_folder_is_free_again_also_where_another_thread_closes_it(tmp_path):
    landing = Landing(tmp_path, 3600, "time")
    thread = Thread(target=landing.close)
    thread.start()
    thread.join()
    Landing(tmp_path, 3600, "time").close()


def test_a_line_that_a_crash_cut_off_is_taken_away_and_the_rest_kept(tmp_path):
    left = tmp_path / ".live-20260101T000000000000-1.jsonl"
    left.write_bytes(b'{"user_id": "a"}\n{"user_id": "b"}\n{"user_id": "c')
    (tmp_path / ".live-20260102T000000000000-1.jsonl").write_bytes(b'{"user_id": "d')
    Landing(tmp_path, 3600, "time").close()
    assert [row["user_id"] for row in lines(tmp_path)] == ["a", "b"]
    assert len(list(tmp_path.glob(".live-*"))) <= 1  # the lock


def test_two_servers_do_not_write_in_one_folder(tmp_path):
    landing = Landing(tmp_path, 3600, "time")
    with pytest.raises(UserError, match="another server or another catalog"):
        Landing(tmp_path, 3600, "time")
    landing.close()


WRITER = """
    import sys
    from pathlib import Path
    from recsys_dagster.serving.landing import Landing
    landing = Landing(Path(sys.argv[1]), 3600, "time")
    for number in range(1_000_000):
        landing.take([{"user_id": str(number)}]).result()
        print(number, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")
def test_nothing_that_was_acknowledged_is_lost_when_the_process_is_killed(tmp_path):
    for round_ in range(3):
        folder = tmp_path / str(round_)
        command = [sys.executable, "-c", textwrap.dedent(WRITER), str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            acknowledged = [int(process.stdout.readline()) for _ in range(20 + 7 * round_)]
            process.send_signal(signal.SIGKILL)
            acknowledged += [int(line) for line in process.stdout if line.endswith("\n")]
        Landing(folder, 3600, "time").close()
        kept = [int(row["user_id"]) for row in lines(folder)]
        assert set(acknowledged) <= set(kept)
        assert kept == sorted(set(kept))
