"""What is acknowledged is on the disk, once, in a file that does not change when it is seen."""

import json
import signal
import subprocess
import sys
import textwrap

import pytest

from recsys_dagster.errors import UserError
from recsys_dagster.serving.landing import KEY, Landing


def visible(folder):
    return sorted(folder.glob("live-*.jsonl"))


def lines(folder):
    return [json.loads(line) for file in visible(folder) for line in file.read_text().splitlines()]


def test_rows_are_hidden_until_their_file_is_closed(tmp_path):
    landing = Landing(tmp_path, file_seconds=3600)
    assert landing.take([{"user_id": "u", "item_id": "i"}]).result().accepted == 1
    assert visible(tmp_path) == []
    assert list(landing.rows()) == [{"user_id": "u", "item_id": "i"}]
    landing.close()
    assert lines(tmp_path) == [{"user_id": "u", "item_id": "i"}]


def test_a_file_is_closed_after_its_time_and_never_changes_again(tmp_path):
    landing = Landing(tmp_path, file_seconds=0)
    landing.take([{"user_id": "a"}]).result()
    landing.take([{"user_id": "b"}]).result()
    landing.close()
    assert [row["user_id"] for row in lines(tmp_path)] == ["a", "b"]


def test_a_row_told_twice_under_one_key_is_there_once_also_after_a_restart(tmp_path):
    row = {"user_id": "u", KEY: "order-1"}
    landing = Landing(tmp_path, 3600)
    first, second = landing.take([row]), landing.take([row, row | {KEY: "order-2"}])
    assert (first.result().accepted, second.result().accepted, second.result().repeated) == (
        1,
        1,
        1,
    )
    landing.close()
    again = Landing(tmp_path, 3600)
    assert again.take([row]).result().repeated == 1
    again.close()
    assert len(lines(tmp_path)) == 2


def test_the_same_key_twice_in_one_call_is_taken_once(tmp_path):
    landing = Landing(tmp_path, 3600)
    landed = landing.take([{"user_id": "a", KEY: "k"}, {"user_id": "b", KEY: "k"}]).result()
    landing.close()
    assert (landed.accepted, landed.repeated) == (1, 1)
    assert lines(tmp_path) == [{"user_id": "a", KEY: "k"}]


def test_a_line_that_a_crash_cut_off_is_taken_away_and_the_rest_kept(tmp_path):
    left = tmp_path / ".live-20260101T000000000000-1.jsonl"
    left.write_bytes(b'{"user_id": "a"}\n{"user_id": "b"}\n{"user_id": "c')
    (tmp_path / ".live-20260102T000000000000-1.jsonl").write_bytes(b'{"user_id": "d')
    Landing(tmp_path, 3600).close()
    assert [row["user_id"] for row in lines(tmp_path)] == ["a", "b"]
    assert len(list(tmp_path.glob(".live-*"))) <= 1  # the lock


def test_two_servers_do_not_write_in_one_folder(tmp_path):
    landing = Landing(tmp_path, 3600)
    with pytest.raises(UserError, match="another process takes interactions here"):
        Landing(tmp_path, 3600)
    landing.close()


WRITER = """
    import sys
    from pathlib import Path
    from recsys_dagster.serving.landing import Landing
    landing = Landing(Path(sys.argv[1]), 3600)
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
        Landing(folder, 3600).close()
        kept = [int(row["user_id"]) for row in lines(folder)]
        assert set(acknowledged) <= set(kept)
        assert kept == sorted(set(kept))
