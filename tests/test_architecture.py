"""The rules of the house that a reader of one file cannot see."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STEPS = sorted((ROOT / "recsys_dagster" / "steps").rglob("*.py"))
HEAVY = ("torch", "sentence_transformers", "sklearn", "faiss", "matplotlib")
OUTSIDE = (
    "dagster",
    "dagster_duckdb",
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
            # `from recsys_dagster import assets` imports a module by its last name.
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def module_name(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("file", STEPS, ids=module_name)
def test_steps_are_pure(file):
    for name in imported(file):
        assert not any(name == room or name.startswith(room + ".") for room in OUTSIDE), name


def test_there_are_steps_to_look_at():
    assert len(STEPS) > 10
    assert "numpy" in imported(ROOT / "recsys_dagster" / "steps" / "similarity" / "ranking.py")


def test_steps_do_not_import_each_other_in_circles():
    modules = {module_name(file): file for file in STEPS}
    needs = {name: (imported(file) & modules.keys()) - {name} for name, file in modules.items()}
    while free := {name for name, needed in needs.items() if not needed & needs.keys()}:
        needs = {name: needed for name, needed in needs.items() if name not in free}
    assert not needs


def test_loading_the_steps_loads_neither_dagster_nor_duckdb_nor_anything_heavy():
    modules = ", ".join(module_name(file) for file in STEPS)
    code = (
        f"import sys, {modules}\n"
        f"print([name for name in {('dagster', 'duckdb', *HEAVY)!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_loading_the_definitions_loads_nothing_heavy():
    code = (
        "import sys, recsys_dagster.definitions\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"RECSYS_CATALOGS": str(ROOT / "catalogs")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
