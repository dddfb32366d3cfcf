"""What makes a table out of date: its settings, its code, and nothing else."""

import struct

import pyarrow as pa
import pytest
from pydantic import BaseModel

from recsys_dagster import versions
from recsys_dagster.catalog.files import settings_of
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.catalog.source import SourceSettings
from recsys_dagster.schemas import TABLES
from recsys_dagster.versions import MADE_WITH, TOGETHER, code_version, content_digest

SMALLEST = {
    "name": "shop",
    "interactions": {"source": "i.csv"},
    "items": {"source": "m.csv", "text": "title"},
}
SAYS_NOTHING_OF_TABLES = {
    "name",
    "description",
    "folder",
    "refresh",
    "checks",
    "alert",
    "keep",
    "evaluation.on_refresh",
}


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
        ({"strategy": "ease"}, {"recommendations", "tuning", "evaluation"}),
        ({"encoder": "tfidf"}, {"item_embeddings", "user_embeddings", "tuning", "evaluation"}),
        ({"neighbours": 7}, {"item_neighbours"}),
        ({"items": {"source": "m.csv", "text": "name"}}, {"items", "rejected_items", "item_texts"}),
        (
            {"interactions": {"source": "i.csv", "decimal": ","}},
            {"interactions", "rejected_interactions"},
        ),
        ({"items": {"source": "n.csv", "text": "title"}}, {"raw_items"}),
        ({"description": "A shop"}, set()),
        ({"rules": {"deny": ["a"]}}, {"popular_items", "recommendations"}),
        ({"rules": {"categories": ["a"]}}, {"popular_items", "recommendations"}),
        ({"rules": {"max_per_category": 2}}, {"recommendations", "evaluation"}),
        ({"rules": {"diversity": 0.5}}, {"recommendations", "evaluation"}),
    ],
)
def test_a_setting_changes_the_version_of_what_it_decides(settings, changed):
    before, after = catalog(), catalog(**settings)
    assert changed == {
        table
        for table in [*TABLES, "published"]
        if code_version(table, before) != code_version(table, after)
    }


@pytest.mark.parametrize(
    ("module", "changed"),
    [
        ("recsys_dagster.steps.similarity.tables", {"similarity_matrix", "item_neighbours"}),
        ("recsys_dagster.steps.models.l3ae", {"popular_items", "recommendations"}),
        ("recsys_dagster.steps.lists.reranking", {"recommendations", "evaluation"}),
        ("recsys_dagster.catalog.item_lists", {"popular_items", "recommendations"}),
        ("recsys_dagster.assets.metadata", set()),
        ("recsys_dagster.cli.app", set()),
    ],
)
def test_code_changes_the_version_of_what_uses_it(monkeypatch, module, changed):
    before = {table: code_version(table, catalog()) for table in MADE_WITH}
    source = versions._source
    monkeypatch.setattr(
        versions, "_source", lambda name: source(name) + ("# other" if name == module else "")
    )
    versions._code_digest.cache_clear()
    after = {table: code_version(table, catalog()) for table in MADE_WITH}
    versions._code_digest.cache_clear()
    assert {table for table in MADE_WITH if before[table] != after[table]} >= changed
    assert ({"raw_items"} & {t for t in MADE_WITH if before[t] != after[t]}) == set()
    if not changed:
        assert before == after


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
    assert content_digest(table.append_column("run_id", pa.array(["a", "b"]))) == content_digest(
        table
    )
