"""The rules of the house that a reader of one file cannot see."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STEPS = sorted((ROOT / "recsys_dagster" / "steps").rglob("*.py"))
HEAVY = ("torch", "sentence_transformers", "sklearn", "faiss", "matplotlib")
OUTSIDE = (
    "dagster",
    "duckdb",
    "recsys_dagster.assets",
    "recsys_dagster.resources",
    "recsys_dagster.cli",
    "recsys_dagster.definitions",
    "recsys_dagster.snapshots",
)


def imported(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("file", STEPS, ids=lambda file: file.stem)
def test_steps_are_pure(file):
    for name in imported(file):
        assert not any(name == room or name.startswith(room + ".") for room in OUTSIDE), name


def test_loading_the_definitions_loads_nothing_heavy():
    code = (
        "import sys, recsys_dagster.definitions\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
