"""The rules of the house that a reader of one file cannot see."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from recsys_dagster.code_digest.modules import tree_of

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


ROOMS = ("schemas", "catalog", "steps", "assets", "automation", "build")
"""In flow order: none imports from a later one."""
STAGES = ("prepare", "embed", "similarity", "models", "lists", "evaluation")
STRATEGIES_DECLARE_THEMSELVES = {
    ("recsys_dagster.catalog.settings", "recsys_dagster.steps.models"),
    ("recsys_dagster.catalog.item_lists", "recsys_dagster.steps.lists.candidates"),
}
"""What a strategy's settings are is said in its own file, and what names items where rules are."""
CLOCKS_AND_FILES = {"time", "os", "io", "pathlib", "shutil", "tempfile", "subprocess", "glob"}
ASKED_OF_THE_WORLD = re.compile(
    r"(^|\.)(open|now|today|utcnow|read_(text|bytes|csv|parquet|json)|write_(text|bytes|table)"
    r"|to_(csv|parquet|pickle))$|^np\.(save|savez|load|memmap)$"
)


def imported(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree_of(file.read_bytes())):
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


@pytest.mark.parametrize("file", STEPS, ids=module_name)
def test_steps_ask_neither_the_clock_nor_the_disk(file):
    assert {name.partition(".")[0] for name in imported(file)} & CLOCKS_AND_FILES == set()
    tree = tree_of(file.read_bytes())
    called = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert [name for name in called if ASKED_OF_THE_WORLD.search(name)] == []


def later_imports(package: str, order: tuple[str, ...]) -> set[tuple[str, str]]:
    """Which modules of a package import something from a part of it that comes later."""
    found = set()
    for file in ROOT.joinpath(*package.split(".")).rglob("*.py"):
        own = module_name(file).removeprefix(f"{package}.").partition(".")[0]
        for name in imported(file):
            other = name.removeprefix(f"{package}.").partition(".")[0]
            within = name.startswith(f"{package}.") and {own, other} <= set(order)
            if within and order.index(other) > order.index(own):
                found.add((module_name(file), name))
    return found


def test_rooms_are_in_flow_order():
    for module, name in later_imports("recsys_dagster", ROOMS):
        allowed = [room for own, room in STRATEGIES_DECLARE_THEMSELVES if own == module]
        assert any(name == room or name.startswith(f"{room}.") for room in allowed), (module, name)


def test_what_is_allowed_against_the_flow_is_still_needed():
    assert later_imports("recsys_dagster", ROOMS) >= STRATEGIES_DECLARE_THEMSELVES


def test_a_step_imports_no_later_one():
    assert later_imports("recsys_dagster.steps", STAGES) == set()


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


def test_what_is_published_is_read_without_dagster_or_torch():
    folder = ROOT / "recsys_dagster" / "snapshots"
    modules = ", ".join(module_name(file) for file in sorted(folder.glob("*.py")))
    code = (
        f"import sys, {modules}\n"
        f"print([name for name in {('dagster', *HEAVY)!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
