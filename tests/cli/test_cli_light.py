"""Reading commands wait for nothing that they do not use."""

import json
import os
import subprocess
import sys

import pytest

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


def test_help_loads_less_still(finished):
    for asked in (["--help"], ["recommend", "--help"]):
        assert (HEAVY | TABLES | ARRAYS | SETTINGS) & loaded(finished.place, asked) == set()


def test_status_reads_catalog_files_and_no_tables(finished):
    modules = loaded(finished.place, ["status"])
    assert "yaml" in modules
    assert (HEAVY | TABLES) & modules == set()


def test_a_history_is_scored_with_arrays_alone(finished, user_and_item):
    modules = loaded(finished.place, ["recommend", "movies", "--history", user_and_item["ITEM"]])
    assert "numpy" in modules
    assert (HEAVY | TABLES) & modules == set()
