"""What makes a table out of date: its settings, its code, and nothing else."""

import pytest
from pydantic import BaseModel

from recsys_dagster import versions
from recsys_dagster.catalog import Catalog
from recsys_dagster.catalogs import settings_of
from recsys_dagster.schemas import TABLES
from recsys_dagster.source import SourceSettings
from recsys_dagster.versions import MADE_WITH, TOGETHER, code_version

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
        ({"strategy": "ease"}, {"recommendations", "evaluation"}),
        ({"encoder": "tfidf"}, {"item_embeddings", "user_embeddings", "evaluation"}),
        ({"neighbours": 7}, {"item_neighbours"}),
        ({"items": {"source": "m.csv", "text": "name"}}, {"item_texts"}),
        ({"items": {"source": "n.csv", "text": "title"}}, {"raw_items"}),
        ({"description": "A shop"}, set()),
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
        ("recsys_dagster.steps.similarity_tables", {"similarity_matrix", "item_neighbours"}),
        ("recsys_dagster.steps.models.l3ae", {"popular_items", "recommendations"}),
        ("recsys_dagster.metadata", set()),
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
