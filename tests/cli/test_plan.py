"""`recsys plan`: a table that can be read, JSON, faults, and nothing heavy loaded for it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recsys_dagster.cli import planning
from recsys_dagster.cli.app import app
from recsys_dagster.errors import UserError
from recsys_dagster.onboarding.sizing.plan import STAGES
from recsys_dagster.onboarding.sizing.rates import SHIPPED, rates_file

SIZE = ["--users", "100M", "--items", "1e7", "--interactions", "10_000_000_000"]
MACHINE = ["--cores", "16", "--memory", "64GiB"]
LOADED = """
import json, sys
from typer.testing import CliRunner
from recsys_dagster.cli.app import app
done = CliRunner().invoke(app, sys.argv[1:])
print(json.dumps([done.exit_code, done.output, sorted(sys.modules)]))
"""


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("RECSYS_HOME", str(tmp_path))
    return tmp_path


DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "scaling.md"
WORKED = re.compile(r"<!-- recsys plan (.*?) -->\n```\n(.*?)```", re.DOTALL)


def planned(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["plan", *arguments], env={"COLUMNS": "80"})
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_a_table_of_eighty_columns_with_titles(monkeypatch):
    monkeypatch.setattr(planning.console, "width", 80)
    printed = planned(*SIZE, *MACHINE)
    assert max(len(line) for line in printed.splitlines()) <= 80
    for title in STAGES.values():
        assert title in printed
    assert "100,000,000 users, 10,000,000 items, 10,000,000,000 interactions" in printed
    assert "16 cores, 64 GiB" in printed
    assert "--measure" in printed
    assert SHIPPED.measured_on in printed


def test_a_run_with_a_gpu_looks_for_the_nearest_by_itself():
    """Ray's workers do it where there is none: see `top_k`."""
    by_device = {
        device: {
            stage["stage"]: (stage["can_be_shared"], stage["machines"] > 1)
            for stage in json.loads(planned(*SIZE, *MACHINE, "--device", device, "--json"))[
                "stages"
            ]
        }
        for device in ("cpu", "h100")
    }
    assert by_device["cpu"]["similarity"] == (True, True)
    assert by_device["h100"]["similarity"] == (False, False)
    assert by_device["h100"]["lists"] == (True, True)


def test_a_fit_that_is_not_counted_is_said():
    assert "Not counted: what the fit of als takes" in planned(*SIZE, "--strategy", "als")


def test_json_and_nothing_else():
    found = json.loads(planned(*SIZE, *MACHINE, "--device", "h100", "--json"))
    assert [stage["stage"] for stage in found["stages"]] == list(STAGES)
    assert found["workload"]["users"] == 100_000_000
    assert found["machine"] == {"cores": 16, "memory": 64 * 2**30, "device": "h100"}
    assert found["rates"]["shipped"] is True
    own = [stage["seconds"] for stage in found["stages"] if stage["stage"] != "serve"]
    assert found["refresh"]["seconds"] == pytest.approx(sum(own))


def test_it_loads_nothing_that_computes_or_runs(home):
    done = subprocess.run(
        [sys.executable, "-c", LOADED, "plan", *SIZE],
        env=os.environ | {"RECSYS_HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    code, output, modules = json.loads(done.stdout)
    assert code == 0, output
    heavy = {"dagster", "torch", "sentence_transformers", "matplotlib", "sklearn", "faiss"}
    assert (heavy | {"duckdb", "pandas"}) & set(modules) == set()
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--users, --items, --interactions: how many"),
        (SIZE[:4], "--interactions: how many"),
        (["--measure", *SIZE[:2]], "--items, --interactions: how many"),
        (["--measure", "--json"], "--json: it is of a plan"),
        ([*SIZE[:-1], "a lot"], "--interactions a lot: expected a whole number"),
        (["--users", "10", "--items", "10", "--interactions", "101"], "100 pairs"),
        (["--users", "10", "--items", "1", "--interactions", "10"], "--items 1"),
        ([*SIZE, "--device", "h10"], "Did you mean 'h100'"),
        ([*SIZE, "--memory", "64"], "--memory 64: expected at least 1 GiB"),
        ([*SIZE, "--memory", f"{'9' * 400}GiB"], "at most 1 EiB"),
        ([*SIZE, "--strategy", "hybird"], "Did you mean 'hybrid'"),
        ([*SIZE, "--encoder", "bert"], "--encoder bert"),
    ],
)
def test_faults_say_what_was_expected(arguments, said):
    with pytest.raises(UserError, match=said):
        planned(*arguments)


def test_what_was_measured_here_is_used_and_said(monkeypatch, home):
    slower = {
        stage: {name: 2 * rate for name, rate in of_stage.items()}
        for stage, of_stage in SHIPPED.seconds.items()
    }

    def measured(saying):
        saying("something")
        return type(SHIPPED)(
            "3 cores of this", "2031-01-02", slower, SHIPPED.memory, SHIPPED.storage
        )

    monkeypatch.setattr("recsys_dagster.onboarding.sizing.measuring.measured_rates", measured)
    before = json.loads(planned(*SIZE, *MACHINE, "--json"))
    printed = planned("--measure")
    assert rates_file().is_file()
    assert "3 cores of this" in printed
    after = json.loads(planned(*SIZE, *MACHINE, "--json"))
    assert after["refresh"]["seconds"] == pytest.approx(2 * before["refresh"]["seconds"], rel=0.01)
    assert "2031-01-02" in planned(*SIZE)


def test_nothing_is_measured_that_could_not_be_kept(monkeypatch, home):
    (home / "file").touch()
    monkeypatch.setenv("RECSYS_HOME", str(home / "file" / "home"))
    monkeypatch.setattr("recsys_dagster.onboarding.sizing.measuring.measured_rates", None)
    with pytest.raises(UserError, match="could not be written"):
        planned("--measure")


def test_the_worked_tables_are_what_is_printed(monkeypatch):
    monkeypatch.setattr(planning.console, "width", 80)
    tables = WORKED.findall(DOCUMENT.read_text(encoding="utf-8"))
    assert len(tables) == 2
    for arguments, table in tables:
        printed = [line.rstrip() for line in planned(*arguments.split()).splitlines()]
        assert table.splitlines() == printed, f"put what recsys plan {arguments} prints there"
