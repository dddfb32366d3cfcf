"""Blocks of work: the same results wherever they are done, and settings that say where."""

import pickle

import cloudpickle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info, threadpool_limits
from work import LIGHT, WORK, assert_same

from recsys_dagster.compute.blocks import LOCAL, LocalCompute
from recsys_dagster.errors import UserError
from recsys_dagster.resources import compute as resource
from recsys_dagster.resources.compute import ComputeResource
from recsys_dagster.resources.encoder_static import StaticEncoder


class Shipped:
    """As if every block went to another process: what arrives is a copy that cannot be written."""

    def map(self, function, shared, blocks, what):
        function, shared = shipped((function, shared))
        for block in blocks:
            yield pickle.loads(pickle.dumps(function(shared, shipped(block)), protocol=5))


def shipped(value):
    buffers = []
    pickled = cloudpickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    return pickle.loads(pickled, buffers=[bytes(each.raw()) for each in buffers])


def test_blocks_are_done_one_after_the_other_and_none_before_it_is_asked_for():
    taken = []

    def blocks():
        for number in range(3):
            taken.append(number)
            yield number

    found = LOCAL.map(pow, 2, blocks(), "powers")
    assert taken == []
    assert next(found) == 1
    assert taken == [0]
    assert list(found) == [2, 4]


@given(threads=st.integers(1, 5), number=st.integers(0, 12))
@settings(max_examples=30, deadline=None)
def test_threads_give_results_in_order_and_take_few_blocks_ahead(threads, number):
    taken = []

    def blocks():
        for block in range(number):
            taken.append(block)
            yield block

    for place, found in enumerate(LocalCompute(threads).map(pow, 2, blocks(), "powers")):
        assert found == 2**place
        assert len(taken) <= place + threads + 2
    assert len(taken) == number


@pytest.mark.parametrize("work", LIGHT)
def test_threads_make_what_one_makes(work):
    do, tolerance = WORK[work]
    assert_same(do(LocalCompute(3)), do(LOCAL), tolerance)


def test_threads_have_a_core_each_and_blas_its_own_back_whatever_happens():
    with threadpool_limits(2, "blas"):
        before = of_blas()
        assert max(before) == 2
        seen = list(LocalCompute(2).map(cores_of, 2, range(4), "cores"))
        assert seen == [1] * 4
        assert of_blas() == before
        with pytest.raises(ZeroDivisionError):
            list(LocalCompute(2).map(divmod, 1, [1, 1, 0, 1, 1, 1], "quotients"))
        left = LocalCompute(2).map(cores_of, 2, range(9), "cores")
        next(left)
        left.close()
        assert of_blas() == before


@pytest.mark.parametrize(
    ("cores", "free", "threads"), [(4, None, 4), (4, 2.5, 2), (4, 0.1, 1), (1, 64, 1), (8, 64, 8)]
)
def test_as_many_threads_as_there_are_cores_and_memory_for(cores, free, threads, monkeypatch):
    monkeypatch.setattr(resource, "usable_cores", lambda: cores)
    monkeypatch.setattr(resource, "available_bytes", lambda: free and int(free * 2**30))
    assert resource.free_threads() == threads


def of_blas() -> list[int]:
    """Threads of each BLAS that is loaded."""
    return [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]


def cores_of(_shared: object, _block: object) -> int:
    return max(of_blas())


@pytest.mark.parametrize("work", LIGHT)
def test_a_block_needs_nothing_but_what_it_is_given_and_changes_none_of_it(work):
    do, _ = WORK[work]
    assert_same(do(Shipped()), do(LOCAL), 0)


@pytest.mark.parametrize("where", ["local", "", " local "])
def test_work_is_done_here_where_nothing_else_is_said(where, monkeypatch):
    monkeypatch.setenv("RECSYS_COMPUTE", where)
    compute = ComputeResource.of_environment()
    assert compute.in_words == "local"
    assert list(compute.map(pow, 2, [3, 4], "powers")) == [8, 16]
    encoder = object()
    assert compute.encoder(encoder) is encoder


@pytest.mark.parametrize(
    "where", ["spark", "ray://", "Ray", "http://head:10001", "ray://[head", "ray://head:port"]
)
def test_an_unknown_place_is_said_with_the_known_ones(where, monkeypatch):
    monkeypatch.setenv("RECSYS_COMPUTE", where)
    with pytest.raises(UserError, match=r"RECSYS_COMPUTE is .*expected local, ray or ray://"):
        ComputeResource.of_environment()


def test_ray_that_is_not_installed_is_said_with_the_line_that_installs_it(monkeypatch):
    monkeypatch.setenv("RECSYS_COMPUTE", "ray")
    monkeypatch.setattr(resource.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[ray\]'"):
        ComputeResource.of_environment()


def test_a_static_model_encodes_here_whatever_is_said():
    static = StaticEncoder(None)
    assert ComputeResource(where="ray").encoder(static) is static


def test_where_work_is_done_is_said_without_starting_anything(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert ComputeResource(where="ray").in_words == "Ray on this machine"
    assert ComputeResource(where="ray://head:10001").in_words == "Ray at head"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.7:6379")
    assert ComputeResource(where="ray").in_words == "Ray at 10.0.0.7"
    monkeypatch.setenv("RAY_ADDRESS", "[head")
    assert ComputeResource(where="ray").in_words == "Ray at [head"
