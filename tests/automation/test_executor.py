"""A catalog's run goes through its steps in its own process, alone; other runs are Dagster's."""

from types import SimpleNamespace

import dagster as dg
import pytest
from dagster._core.op_concurrency_limits_counter import RunOpConcurrency

from recsys_dagster.automation import executor
from recsys_dagster.automation.executor import CatalogExecutor
from recsys_dagster.resources.locks import holder_of, is_held
from recsys_dagster.resources.run_locks import catalog_lock, own_run


def at_work(folder, catalog):
    """The run that is at a catalog now; None where none is."""
    lock = catalog_lock(folder, catalog)
    return holder_of(lock) if is_held(lock) else None


class Theirs:
    """The executor that runs of other assets have."""

    retries = None

    def execute(self, plan_context, execution_plan):
        yield "theirs"


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """`execute(pools)`: what is yielded for a run of these pools, and what it logged."""

    class InProcess:
        def __init__(self, retries) -> None:
            pass

        def execute(self, plan_context, execution_plan):
            yield [
                holder.run_id if (holder := at_work(tmp_path, name)) else None
                for name in ("films", "shop")
            ]

    monkeypatch.setattr(executor, "InProcessExecutor", InProcess)

    def make(pools, waiting=pytest.fail):
        concurrency = RunOpConcurrency(
            root_key_counts={}, has_unconstrained_root_nodes=True, all_pools=set(pools)
        )
        run = dg.DagsterRun(job_name="job", run_id="run-1", run_op_concurrency=concurrency)
        context = SimpleNamespace(dagster_run=run, log=SimpleNamespace(info=waiting))
        return list(CatalogExecutor(Theirs(), tmp_path).execute(context, None))

    return make


def test_a_run_of_a_catalog_is_the_only_one_while_it_lasts(execute, tmp_path):
    assert execute(["recsys_shop"]) == [[None, "run-1"]]
    assert at_work(tmp_path, "shop") is None


def test_a_run_of_two_catalogs_is_the_only_one_of_both(execute):
    assert execute(["recsys_shop", "recsys_films", "gpu"]) == [["run-1", "run-1"]]


@pytest.mark.parametrize("pools", [[], ["gpu"]])
def test_runs_of_other_assets_are_executed_as_without_us(execute, pools):
    assert execute(pools) == ["theirs"]


def test_while_it_waits_its_log_says_for_whom(execute, tmp_path):
    class EnoughError(Exception):
        pass

    said = []

    def waiting(sentence: str) -> None:
        said.append(sentence)
        raise EnoughError

    with (
        own_run(tmp_path, ["shop"], "12345678-9", "refresh_shop", pytest.fail),
        pytest.raises(EnoughError),
    ):
        execute(["recsys_shop"], waiting)
    assert said[0].startswith("waiting for run 12345678 of refresh_shop, for ")
