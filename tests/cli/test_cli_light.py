"""Reading commands wait for nothing that they do not use."""

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from recsys_dagster.cli.app import app

HEAVY = {"dagster", "torch", "sentence_transformers", "matplotlib", "sklearn", "faiss"}
TABLES = {"pandas"}
ARRAYS = {"numpy", "scipy", "pyarrow"}
SETTINGS = {"yaml", "recsys_dagster.catalog.settings"}
ASKED = """
import json, sys
from typer.testing import CliRunner
from recsys_dagster.cli.app import app
done = CliRunner().invoke(app, sys.argv[1:])
print(json.dumps([done.exit_code, done.output, sorted(sys.modules)]))
"""

END = "\x1e"
ASKED_FOR_HELP = f"""
import json, os, sys
sys.argv[0] = "recsys"
before = set(sys.modules)
os._exit = lambda status: print({END!r} + json.dumps(sorted(sys.modules.keys() - before)))
from recsys_dagster.cli import command
command()
"""
DRAWS = {"recsys_dagster", "typer", "rich", "annotated_doc", "shellingham"}
NAMES = {
    f"recsys_dagster.{name}" for name in ("catalog", "catalog.names", "errors", "home", "writing")
}
"""Ours that commands need to be declared, and to end with a message."""
READS = {"recsys_dagster.cli.running", "recsys_dagster.cli.snapshot_tables"}


def loaded(place, arguments: list[str]) -> set[str]:
    """The modules in a fresh interpreter after a command that succeeded."""
    done = subprocess.run(
        [sys.executable, "-c", ASKED, *arguments],
        env=os.environ | {"RECSYS_CATALOGS": str(place.catalogs), "RECSYS_HOME": str(place.home)},
        capture_output=True,
        text=True,
        check=True,
    )
    code, output, modules = json.loads(done.stdout)
    assert code == 0, output
    return set(modules)


@pytest.fixture(scope="module")
def user_and_item(finished) -> dict[str, str]:
    (pair,) = finished.place.warehouse.query(
        "movies", "select min(user_id), min(item_id) from recommendations"
    )
    return dict(zip(("USER", "ITEM"), pair, strict=True))


@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["table", "json"])
@pytest.mark.parametrize(
    "command", [["recommend", "movies", "USER"], ["similar", "movies", "ITEM"]], ids=" ".join
)
def test_lists_are_read_with_duckdb_alone(finished, user_and_item, command, as_json):
    arguments = [user_and_item.get(word, word) for word in command]
    modules = loaded(finished.place, arguments + as_json)
    assert "duckdb" in modules
    assert (HEAVY | TABLES | ARRAYS | SETTINGS) & modules == set()


class TestHelp:
    """What is loaded by the console script, which ends its process at once."""

    def asked(self, *arguments: str) -> tuple[str, set[str]]:
        """What the command prints, and the modules that are loaded then."""
        done = subprocess.run(
            [sys.executable, "-c", ASKED_FOR_HELP, *arguments],
            env=os.environ | {"COLUMNS": "100"},
            capture_output=True,
            text=True,
            check=True,
        )
        printed, modules = done.stdout.split(END)
        return printed, set(json.loads(modules))

    @pytest.mark.parametrize("arguments", [[], ["--help"], ["key"], ["recommend", "--help"]])
    def test_it_reads_and_computes_nothing(self, arguments):
        printed, modules = self.asked(*arguments)
        assert "Usage: recsys" in printed
        assert (HEAVY | TABLES | ARRAYS | SETTINGS | {"duckdb"}) & modules == set()

    @pytest.mark.parametrize("arguments", [[], ["--help"]])
    def test_of_the_commands_it_loads_what_draws_it(self, arguments):
        _, modules = self.asked(*arguments)
        packages = {name.partition(".")[0] for name in modules} - sys.stdlib_module_names
        assert packages <= DRAWS
        assert {"rich.markdown", "rich.traceback"} & modules == set()
        ours = {name for name in modules if name.startswith("recsys_dagster.")}
        assert {name for name in ours if not name.startswith("recsys_dagster.cli")} <= NAMES
        assert ours & READS == set()

    @pytest.mark.parametrize("arguments", [["--help"], ["recommend", "--help"], ["key", "--help"]])
    def test_it_is_drawn_as_typer_does(self, arguments, monkeypatch):
        monkeypatch.setenv("COLUMNS", "100")
        printed, _ = self.asked(*arguments)
        drawn = CliRunner().invoke(app, arguments, prog_name="recsys", env={"COLUMNS": "100"})
        assert printed == drawn.stdout

    def test_what_draws_markdown_is_there_for_everybody_else(self):
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                "from recsys_dagster.cli.help_text import load_typers_help; load_typers_help();"
                "from rich.markdown import Markdown; from rich.traceback import install;"
                "print(Markdown('# whole').markup)",
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "# whole\n"


def test_status_reads_catalog_files_and_no_tables(finished):
    modules = loaded(finished.place, ["status"])
    assert "yaml" in modules
    assert (HEAVY | TABLES) & modules == set()


def test_a_history_is_scored_with_arrays_alone(finished, user_and_item):
    modules = loaded(finished.place, ["recommend", "movies", "--history", user_and_item["ITEM"]])
    assert "numpy" in modules
    assert (HEAVY | TABLES) & modules == set()
