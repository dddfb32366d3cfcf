"""What makes a table out of date: its settings, its code, and nothing else."""

import ast
import gc
import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import BaseModel

import recsys_dagster
from recsys_dagster.catalog.files import settings_of
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.catalog.source import SourceSettings
from recsys_dagster.code_digest.modules import tree_of
from recsys_dagster.schemas import TABLES
from recsys_dagster.versions import MADE_WITH, TOGETHER, code_version, content_digest

PACKAGE = Path(recsys_dagster.__file__).parent
SMALLEST = {
    "name": "shop",
    "interactions": {"source": "i.csv"},
    "items": {"source": "m.csv", "text": "title"},
}
SAYS_NOTHING_OF_TABLES = {
    "name",
    "folder",
    "refresh",
    "checks",
    "alert",
    "keep",
    "live",
    "evaluation.on_refresh",
}


class Parses:
    """Garbage whose finaliser parses something, as one does that prints a traceback."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        ast.parse("[1, (2, 3)]")


def test_code_is_read_whatever_finalisers_do_meanwhile():
    source, threshold = (PACKAGE / "schemas.py").read_bytes(), gc.get_threshold()
    expected = ast.dump(tree_of(source))
    gc.set_threshold(5)
    try:
        for _ in range(20):
            Parses()
            assert ast.dump(tree_of(source)) == expected
    finally:
        gc.set_threshold(*threshold)
    assert gc.isenabled()


def catalog(**settings) -> Catalog:
    return Catalog.model_validate(SMALLEST | settings)


def paths(settings: type[BaseModel], prefix: str = "") -> list[str]:
    found = []
    for name, field in settings.model_fields.items():
        nested = settings_of(field.annotation)
        if nested is None or nested is SourceSettings:
            found.append(prefix + name)
        else:
            found += paths(nested, f"{prefix}{name}.")
    return found


def test_every_table_says_what_makes_it():
    assert {*MADE_WITH, *TOGETHER} == {*TABLES, "published"}


def test_every_setting_makes_some_table():
    used = {setting for _, settings in MADE_WITH.values() for setting in settings}
    for path in paths(Catalog):
        parts = path.split(".")
        reaches = {".".join(parts[:n]) for n in range(1, len(parts) + 1)}
        assert reaches & (used | SAYS_NOTHING_OF_TABLES), path


@pytest.mark.parametrize(
    ("settings", "changed"),
    [
        (
            {"strategy": "ease"},
            {"model", "recommendations", "published", "tuning", "evaluation"},
        ),
        (
            {"encoder": "tfidf"},
            {"item_embeddings", "user_embeddings", "published", "tuning", "evaluation"},
        ),
        ({"neighbours": 7}, {"item_neighbours"}),
        ({"items": {"source": "m.csv", "text": "name"}}, {"items", "rejected_items", "item_texts"}),
        (
            {"interactions": {"source": "i.csv", "decimal": ","}},
            {"interactions", "rejected_interactions", "published"},
        ),
        ({"items": {"source": "n.csv", "text": "title"}}, {"raw_items"}),
        ({"description": "A shop"}, {"published"}),
        ({"list_length": 7}, {"recommendations", "published"}),
        ({"refresh": {"watch": False}}, set()),
        ({"rules": {"deny": ["a"]}}, {"popular_items"}),
        ({"rules": {"categories": ["a"]}}, {"popular_items"}),
        ({"rules": {"max_per_category": 2}}, {"recommendations", "published", "evaluation"}),
        ({"rules": {"diversity": 0.5}}, {"recommendations", "published", "evaluation"}),
    ],
)
def test_a_setting_changes_the_version_of_what_it_decides(settings, changed):
    before, after = catalog(), catalog(**settings)
    assert changed == {
        table
        for table in [*TABLES, "published"]
        if code_version(table, before) != code_version(table, after)
    }


ASK = """
import json, sys
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.schemas import TABLES
from recsys_dagster.versions import code_version
catalog = Catalog.model_validate(json.loads(sys.argv[1]))
print(json.dumps({table: code_version(table, catalog) for table in [*TABLES, "published"]}))
"""


def versions_of(root: Path) -> dict[str, str]:
    """The versions that a copy of the package says."""
    done = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps(SMALLEST)],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def as_it_is() -> dict[str, str]:
    return versions_of(PACKAGE.parent)


@pytest.fixture
def changed_by(tmp_path, as_it_is):
    """Which tables change where one text of a file is another."""

    def changed(file: str, old: str, new: str) -> set[str]:
        shutil.copytree(
            PACKAGE, tmp_path / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__")
        )
        edited = tmp_path / PACKAGE.name / file
        before = edited.read_text(encoding="utf-8")
        assert before.count(old) == 1, f"{file} has {before.count(old)} times {old!r}"
        edited.write_text(before.replace(old, new), encoding="utf-8")
        versions = versions_of(tmp_path)
        return {table for table in as_it_is if versions[table] != as_it_is[table]}

    return changed


MEASURED_TABLES = {"tuning", "evaluation"}
RAW = {"raw_interactions", "raw_items", "raw_users"}
LISTS = {"recommendations", *MEASURED_TABLES}
MADE_BY_PARSING = {"interactions", "rejected_interactions"}


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        (
            "steps/similarity/tables.py",
            "def item_neighbours(",
            "def item_neighbours(*_,",
            {"item_neighbours"},
        ),
        (
            "catalog/settings.py",
            'CONDITION = re.compile(r"^',
            'CONDITION = re.compile(r"',
            MADE_BY_PARSING,
        ),
        (
            "assets/held_back.py",
            "Known(user_ids, items,",
            "Known(user_ids, items[:],",
            MEASURED_TABLES,
        ),
        ("steps/lists/reranking.py", "NO_CATEGORY = -1", "NO_CATEGORY = -2", LISTS),
        ("steps/models/item_weights.py", "MAX_KEPT = 1_440", "MAX_KEPT = 1_439", {"model", *LISTS}),
        ("resources/sources/delimited.py", "CELLS_KNOWN = 5_000", "CELLS_KNOWN = 4_000", RAW),
        ("schemas.py", '"to_champion", "DOUBLE"', '"to_champion", "FLOAT"', {"evaluation"}),
        (
            "resources/warehouse.py",
            "create or replace table",
            "create table",
            {*TABLES, "published"},
        ),
    ],
)
def test_code_changes_the_versions_of_the_tables_that_use_it_and_no_other(
    changed_by, file, old, new, changed
):
    assert changed_by(file, old, new) == changed


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("steps/similarity/tables.py", "def item_neighbours(", "# why\ndef item_neighbours("),
        ("steps/models/ease.py", "P = (XᵀX + diag λ)⁻¹", "P is the inverse"),
        ("steps/models/ease.py", "settings: EaseSettings) -> Arrays", "settings: None) -> dict"),
        ("schemas.py", "difference to the catalog's own strategy", "how far ahead"),
        ("catalog/operations.py", "of the schedule, such as Europe/Berlin", "such as Asia/Tokyo"),
        ("assets/metadata.py", "FINGERPRINT_LENGTH = 12", "FINGERPRINT_LENGTH = 13"),
        ("assets/common.py", 'OWNERS = ["team:recommendations"]', 'OWNERS = ["team:others"]'),
        ("cli/app.py", "import typer", "import typer as typer"),
    ],
)
def test_what_is_said_and_shown_changes_no_version(changed_by, file, old, new):
    assert changed_by(file, old, new) == set()


def test_what_lies_under_a_null_is_no_content():
    valid = pa.py_buffer(bytes([0b01]))
    first, second = (
        pa.Array.from_buffers(pa.float64(), 2, [valid, pa.py_buffer(struct.pack("dd", 1.0, rest))])
        for rest in (2.0, 3.0)
    )
    assert content_digest(pa.table({"x": first})) == content_digest(pa.table({"x": second}))


def test_content_is_values_types_names_and_order():
    table = pa.table({"x": [1, 2], "y": ["a", None]})
    others = [
        pa.table({"x": [2, 1], "y": [None, "a"]}),
        pa.table({"x": [1, 2], "y": ["a", "b"]}),
        pa.table({"x": [1.0, 2.0], "y": ["a", None]}),
        pa.table({"x": [1, 2], "z": ["a", None]}),
        table.slice(0, 1),
    ]
    digests = {content_digest(other) for other in [table, *others]}
    assert len(digests) == 6
    assert content_digest(table, ordered=False) == content_digest(others[0], ordered=False)


def test_who_made_a_row_is_no_content_where_we_say_it_and_is_where_a_source_does():
    table = pa.table({"user_id": ["ann"]})
    other = table.append_column("run_id", pa.array(["a"]))
    assert content_digest(other, "recommendations") == content_digest(table, "recommendations")
    assert content_digest(other, "items") != content_digest(table, "items")
    assert content_digest(other) != content_digest(table)


@pytest.mark.parametrize("name", ["content", "CONTENT", "c0", "found", ""])
def test_a_column_of_any_name_hides_no_other(name):
    table = pa.table({"user_id": ["ann"], name: ["x"]})
    other = pa.table({"user_id": ["bob"], name: ["x"]})
    for ordered in (True, False):
        assert content_digest(table, ordered=ordered) != content_digest(other, ordered=ordered)
