"""The gate: each check passes on sound tables, and says what is wrong with spoiled ones."""

import re
import shutil
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
import yaml

from recsys_dagster.assets.checks.common import Checked
from recsys_dagster.assets.checks.items import items_some_available
from recsys_dagster.assets.checks.schema import checks_of_schema
from recsys_dagster.assets.gate import SCHEMA_CHECKED, schema_checks
from recsys_dagster.catalog.files import Catalogs
from recsys_dagster.resources.snapshot_store import SnapshotStore
from recsys_dagster.schemas import TABLES, Table
from recsys_dagster.snapshots.current import CURRENT
from recsys_dagster.snapshots.reader import Snapshot

ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
Evaluations = dict[str, Any]


def evaluate(place, *names: str) -> Evaluations:
    """Checks run alone, without any asset, by name; all of them where none is named."""
    definitions = place.definitions()
    keys = definitions.resolve_asset_graph().asset_check_keys
    chosen = [key for key in keys if not names or key.name in names]
    result = dg.materialize(
        [*definitions.assets, *definitions.asset_checks],
        selection=dg.AssetSelection.checks(*chosen),
        resources=definitions.resources,
        raise_on_error=False,
    )
    return {each.check_name: each for each in result.get_asset_check_evaluations()}


def figures(evaluation) -> dict[str, Any]:
    return {name: entry.value for name, entry in evaluation.metadata.items()}


@pytest.mark.parametrize(
    ("check", "table"),
    [
        ("interactions_keys_unique", "interactions"),
        ("items_columns_sound", "items"),
        ("items_accepted_share", "items"),
        ("item_neighbours_keys_unique", "item_neighbours"),
        ("item_texts_scripts", "item_texts"),
        ("every_user_served", "recommendations"),
    ],
)
def test_a_check_that_is_run_before_its_table_was_made_says_what_to_make_first(tiny, check, table):
    definitions = tiny().definitions()
    keys = definitions.resolve_asset_graph().asset_check_keys
    result = dg.materialize(
        [*definitions.assets, *definitions.asset_checks],
        selection=dg.AssetSelection.checks(*(key for key in keys if key.name == check)),
        resources=definitions.resources,
        raise_on_error=False,
    )
    (failure,) = (each.step_failure_data.error.cause for each in result.get_step_failure_events())
    assert failure.cls_name == "UserError"
    assert f"the table {table} is not there yet: materialise tiny/{table} first" in failure.message
    assert result.get_asset_check_evaluations() == []


@pytest.fixture(scope="module")
def sound(published_tiny, tmp_path_factory) -> Evaluations:
    """All checks on the tables of one run, beside what it published."""
    return evaluate(published_tiny.copy(tmp_path_factory.mktemp("sound") / "place"))


class TestSound:
    def test_all_pass_and_say_what_they_counted(self, sound):
        assert len(sound) == 54
        assert [name for name, each in sound.items() if not each.passed] == []
        for name, each in sound.items():
            assert each.description, name
            assert each.metadata, name

    def test_only_those_that_may_stop_a_run_are_errors(self, sound):
        assert {name for name, each in sound.items() if each.severity == WARN} == {
            "interactions_know_items",
            "item_texts_own_share",
            "item_texts_scripts",
            "item_neighbours_to_read",
            "recommendations_cover_items",
            "recommendations_not_concentrated",
            "lists_not_upset",
            "evaluation_split_keys_unique",
            "evaluation_split_columns_sound",
            "evaluation_keys_unique",
            "evaluation_columns_sound",
        }

    def test_counts_are_compared_with_what_is_published(self, sound):
        assert figures(sound["interactions_not_fallen"]) == {
            "interactions": 24,
            "users": 8,
            "published_interactions": 24,
            "published_users": 8,
            "fall_of_interactions": 0.0,
            "fall_of_users": 0.0,
            "allowed_fall": 0.5,
        }
        assert figures(sound["items_not_fallen"])["published_items"] == 10

    def test_texts_have_lengths_and_scripts(self, sound):
        own = figures(sound["item_texts_own_share"])
        assert own["text_share"] == 1.0
        assert 20 < own["median_length"] <= own["length_of_95_percent"] < 60
        scripts = figures(sound["item_texts_scripts"])["scripts"]
        assert [dict(record.data) for record in scripts.records] == [
            {"script": "Latin", "share of texts": "100.0%"}
        ]

    def test_vectors_have_a_norm_and_a_mean_cosine(self, sound):
        seen = figures(sound["item_embeddings_sound"])
        assert seen["mean_norm"] == pytest.approx(1.0, abs=1e-3)
        assert 0 < seen["mean_cosine"] < seen["allowed_mean_cosine"] == 0.98

    def test_neighbours_are_a_table_of_titles_from_the_most_to_the_least_liked(self, sound):
        table = figures(sound["item_neighbours_to_read"])["neighbours"]
        names = [column.name for column in table.schema.columns]
        assert names == ["item", "likes", "nearest", "second", "third"]
        rows = [list(record.data.values()) for record in table.records]
        assert len(rows) == 5
        likes = [int(row[1]) for row in rows]
        assert likes == sorted(likes, reverse=True)
        (rocket,) = [row for row in rows if "love" not in row[0].lower()][:1]
        assert all(cell.endswith(")") for cell in rocket[2:])

    def test_lists_spread_and_none_has_changed(self, sound):
        cover = figures(sound["recommendations_cover_items"])
        assert cover["items_available"] == cover["items_reachable"] == 10
        assert cover["coverage"] == cover["items_recommended"] / 10
        assert 0 <= figures(sound["recommendations_not_concentrated"])["concentration"] < 0.98
        assert figures(sound["lists_not_upset"]) == {
            "changed_share": 0.0,
            "allowed_share": 0.95,
            "users_compared": 8,
            "new_users": 0,
            "users_gone": 0,
        }


REJECTED = "insert into rejected_{0} by name select source_row, 'x' as reason, false as by_setting"
SPOILED: dict[str, tuple[str, str, dg.AssetCheckSeverity, str]] = {
    "a pair twice": (
        "interactions_keys_unique",
        "insert into interactions from (from interactions limit 1)",
        ERROR,
        "1 repeated key",
    ),
    "no interactions": ("interactions_keys_unique", "delete from interactions", ERROR, "0 rows"),
    "most interactions rejected": (
        "interactions_accepted_share",
        REJECTED.format("interactions") + " from raw_interactions limit 13",
        ERROR,
        "45.8% of 24 rows accepted, at least 50% expected; .*lower checks: accepted_share",
    ),
    "nobody likes anything": (
        "interactions_some_positive",
        "update interactions set positive = false",
        ERROR,
        "0 of 24 interactions are positive.*nothing to learn from; see positive, returns",
    ),
    "most users lost": (
        "interactions_not_fallen",
        "delete from interactions where user_id > 'user-zq-12'",
        ERROR,
        r"3 users \(8 published\).*interactions and users fell by more.*raise checks: row_fall",
    ),
    "an item twice": (
        "items_keys_unique",
        "insert into items from (from items limit 1)",
        ERROR,
        "1 repeated key",
    ),
    "most items rejected": (
        "items_accepted_share",
        REJECTED.format("items") + " from raw_items limit 6",
        ERROR,
        "40.0% of 10 rows accepted.*items: columns",
    ),
    "nothing to be had": (
        "items_some_available",
        "update items set available = false",
        ERROR,
        "0 of 10 items are available.*every list would be empty.*columns: available",
    ),
    "most items lost": (
        "items_not_fallen",
        "delete from items where item_id > 'love4'",
        ERROR,
        r"4 items \(10 published\).*raise checks: row_fall",
    ),
    "an item only in interactions": (
        "interactions_know_items",
        "delete from items where item_id = 'love1'",
        WARN,
        "1 items are only in interactions.*lower checks: known_share",
    ),
    "ids written differently": (
        "interactions_know_items",
        "update items set item_id = md5(item_id)",
        ERROR,
        "0.0% of 24 interactions.*write ids differently.*items: columns",
    ),
    "ids in another case": (
        "interactions_know_items",
        "update items set item_id = upper(item_id)",
        ERROR,
        r"0.0% of 24 .*; in lower case 100.0% would match.*replace \(lower\(item_id\) as item_id\)",
    ),
    "an item without a text": (
        "every_item_has_a_text",
        "delete from item_texts where item_id = 'love1'",
        ERROR,
        "1 items without one",
    ),
    "texts that say nothing": (
        "item_texts_own_share",
        "update item_texts set is_fallback = item_id > 'love3'",
        WARN,
        "30.0% of 10 items.*lower checks: text_share",
    ),
    "an item without a vector": (
        "one_vector_per_item",
        "delete from item_embeddings where item_id = 'love1'",
        ERROR,
        "1 items without one",
    ),
    "all vectors alike": (
        "item_embeddings_sound",
        "update item_embeddings set embedding = "
        "(select embedding from item_embeddings order by item_id limit 1)",
        ERROR,
        "cosine of all pairs 1.000, at most 0.98 expected; .*raise checks: mean_cosine",
    ),
    "all vectors zero": (
        "item_embeddings_sound",
        "update item_embeddings set embedding = list_transform(embedding::float[], lambda x: 0)",
        ERROR,
        "10 zero.*see encoder: model",
    ),
    "a vector that is no number": (
        "item_embeddings_sound",
        "update item_embeddings set embedding = "
        "list_transform(embedding::float[], lambda x: 'nan'::float) where item_id = 'love1'",
        ERROR,
        "1 not finite.*see encoder: model",
    ),
    "a user without a vector": (
        "user_embeddings_finite",
        "delete from user_embeddings where user_id = 'user-zq-11'",
        ERROR,
        "1 users with likes lack one",
    ),
    "similarity that rises with rank": (
        "similarity_matrix_ranked",
        "update similarity_matrix set similarity = -2 where rank = 1",
        ERROR,
        "8 users with broken ranks",
    ),
    "an item its own neighbour": (
        "item_neighbours_known",
        "update item_neighbours set neighbour_item_id = item_id where rank = 1",
        ERROR,
        "10 of themselves",
    ),
    "a hole in a list": (
        "recommendations_ranked",
        "delete from recommendations where rank = 2 and user_id = 'user-zq-11'",
        ERROR,
        "1 with broken ranks",
    ),
    "a seen item recommended": (
        "no_seen_item_recommended",
        "update recommendations as r set item_id = (select min(item_id) from interactions as x "
        "where x.user_id = r.user_id) where rank = 1",
        ERROR,
        "8 seen items",
    ),
    "a user without a list": (
        "every_user_served",
        "delete from recommendations where user_id = 'user-zq-11'",
        ERROR,
        "1 without a list",
    ),
    "one item for everybody": (
        "recommendations_not_concentrated",
        "update recommendations set item_id = 'love1'",
        WARN,
        "0.900 of how often 10 items.*raise checks: concentration",
    ),
    "hardly any item recommended": (
        "recommendations_cover_items",
        "update recommendations set item_id = 'love1'",
        WARN,
        r"1 of 10 available items.*10.0%.*lower checks: coverage",
    ),
    "lists turned upside down": (
        "lists_not_upset",
        "update recommendations set rank = 6 - rank",
        WARN,
        "100.0% of 8 users.*raise checks: changed_lists",
    ),
}
STRICT = {"coverage": 0.2, "concentration": 0.85}
"""Ten items cannot be as concentrated as the usual limits allow."""


class TestSpoiled:
    def test_every_check_that_can_fail_does_here(self, sound):
        for_people = {"item_texts_scripts", "item_neighbours_to_read"}
        of_schemas = {name for table in SCHEMA_CHECKED for name in schema_checks(table.name)}
        spoiled = {name for name, *_ in SPOILED.values()}
        assert spoiled | of_schemas == set(sound) - for_people

    @pytest.mark.parametrize("case", SPOILED)
    def test_it_says_what_is_wrong_and_what_to_do(self, published, case):
        name, sql, severity, said = SPOILED[case]
        place = published(checks=STRICT)
        place.warehouse.query("tiny", sql)
        evaluation = evaluate(place, name)[name]
        assert not evaluation.passed
        assert evaluation.severity == severity
        assert re.search(said, evaluation.description), evaluation.description
        assert "user-zq" not in dg.serialize_value(evaluation)


@pytest.fixture(scope="module")
def run_once(published_tiny, tmp_path_factory) -> Checked:
    """What checks look at after one run, to be spoiled and mended again."""
    place = published_tiny.copy(tmp_path_factory.mktemp("run_once") / "place")
    catalog = Catalogs.read(place.catalogs)["tiny"]
    return Checked(catalog, place.warehouse, SnapshotStore(folder=str(place.snapshots)))


@pytest.fixture
def checked(run_once) -> Iterator[Checked]:
    """`run_once`, whatever a test before has spoiled."""
    file = run_once.warehouse.path("tiny")
    before = file.read_bytes()
    yield run_once
    file.write_bytes(before)


@pytest.mark.parametrize("table", SCHEMA_CHECKED, ids=lambda table: table.name)
class TestASchema:
    """Every table that a stage makes is held against what is declared of it."""

    @staticmethod
    def look(checked: Checked, table: Table) -> list[dg.AssetCheckResult]:
        """What is found of keys, and of columns."""
        found = checks_of_schema(table).look(checked)
        return [found[name] for name in schema_checks(table.name)]

    @staticmethod
    def fill(checked: Checked, table: Table) -> None:
        """See that there is a row to be spoiled."""
        if table.name == "user_texts":
            checked.rows("insert into user_texts values ('user-zq-11', 'space', 'no hash')")

    def test_a_sound_table_passes(self, checked, table):
        self.fill(checked, table)
        keys, columns = self.look(checked, table)
        assert keys.passed
        assert columns.passed
        assert ", 0 repeated keys" in keys.description
        assert "0 missing, 0 of another type, 0 with nulls" in columns.description

    def test_a_key_twice(self, checked, table):
        self.fill(checked, table)
        checked.rows(f"insert into {table.name} from (from {table.name} limit 1)")
        keys, columns = self.look(checked, table)
        assert not keys.passed
        assert f"1 repeated keys ({', '.join(table.key)})" in keys.description
        assert columns.passed

    def test_no_row_passes_only_where_that_is_allowed(self, checked, table):
        checked.rows(f"delete from {table.name}")
        keys, columns = self.look(checked, table)
        assert keys.passed == table.may_be_empty
        assert "0 rows" in keys.description
        assert columns.passed

    def test_a_null_in_a_column_that_may_have_none(self, checked, table):
        self.fill(checked, table)
        column = [each.name for each in table.columns if not each.nullable][-1]
        rows = checked.numbers(f"select count(*) from {table.name}")[0]
        checked.rows(f"update {table.name} set {column} = null")
        _, columns = self.look(checked, table)
        assert not columns.passed
        assert f"{column} is null in {rows:,} rows" in columns.description
        assert f"drop the table {table.name} from" in columns.description
        assert "user-zq" not in str(columns)

    def test_nulls_where_they_are_allowed(self, checked, table):
        self.fill(checked, table)
        for column in table.columns:
            if column.nullable:
                checked.rows(f"update {table.name} set {column.name} = null")
        assert [each.passed for each in self.look(checked, table)] == [True, True]

    def test_a_column_of_another_type(self, checked, table):
        column = table.columns[-1]
        checked.rows(f"alter table {table.name} alter {column.name} type blob using 'x'::blob")
        _, columns = self.look(checked, table)
        assert not columns.passed
        assert f"{column.name} is BLOB, not {column.type}" in columns.description

    def test_a_missing_column(self, checked, table):
        checked.rows(f"alter table {table.name} drop {table.columns[-1].name}")
        _, columns = self.look(checked, table)
        assert not columns.passed
        assert f"{table.columns[-1].name} is missing" in columns.description

    def test_a_missing_column_of_the_key(self, checked, table):
        self.fill(checked, table)
        checked.rows(f"alter table {table.name} drop {table.key[0]}")
        assert [each.passed for each in self.look(checked, table)] == [False, False]

    def test_no_table(self, checked, table):
        checked.rows(f"drop table {table.name}")
        keys, columns = self.look(checked, table)
        assert keys.passed == table.may_be_empty
        assert not columns.passed
        assert f"{len(table.columns)} missing" in columns.description

    def test_it_blocks_where_something_published_rests_on_it(self, checked, table):
        severities = {each.severity for each in self.look(checked, table)}
        assert severities == ({WARN} if table.name.startswith("evaluation") else {ERROR})


def test_a_check_is_a_function_of_what_it_looks_at(checked):
    checked.rows("update items set available = false")
    found = items_some_available(checked)
    assert not found.passed
    assert "0 of 10 items are available" in found.description


def test_what_people_or_a_search_write_is_not_held_against_a_schema():
    of_sources = {name for name in TABLES if name.startswith(("raw_", "rejected_"))}
    assert {table.name for table in SCHEMA_CHECKED} == set(TABLES) - of_sources - {"tuning"}


def test_who_only_likes_items_of_unknown_words_needs_no_vector(published):
    place = published()
    place.warehouse.query("tiny", "delete from user_embeddings where user_id = 'user-zq-11'")
    place.warehouse.query(
        "tiny",
        "update item_embeddings set embedding = list_transform(embedding::float[], lambda x: 0) "
        "where item_id in (select item_id from interactions where user_id = 'user-zq-11')",
    )
    (evaluation,) = evaluate(place, "user_embeddings_finite").values()
    assert not re.search("user-zq", evaluation.description)
    assert "0 users with likes lack one" in evaluation.description
    assert evaluation.passed


def test_profile_texts_need_no_likes(published):
    place = published(
        strategy="content",
        users={"source": "../data/users.csv", "text": "profile", "vectors": "text"},
    )
    place.warehouse.query("tiny", "update interactions set positive = false")
    (evaluation,) = evaluate(place, "interactions_some_positive").values()
    assert evaluation.passed
    assert "lists are made from the users' texts" in evaluation.description


class TestNothingToCompareWith:
    COMPARING = ("interactions_not_fallen", "items_not_fallen", "lists_not_upset")

    def test_a_first_run_passes(self, published):
        place = published()
        shutil.rmtree(place.snapshots)
        place.warehouse.query("tiny", "delete from interactions where user_id > 'user-zq-11'")
        evaluations = evaluate(place, *self.COMPARING)
        assert len(evaluations) == 3
        for each in evaluations.values():
            assert each.passed
            assert "nothing is published" in each.description

    def test_a_damaged_snapshot_is_a_warning_and_gives_way_to_the_next(self, published):
        place = published()
        file = Snapshot.current(place.snapshots, "tiny").path / "recommendations.parquet"
        for damage in (lambda: file.write_bytes(b"no parquet"), file.unlink):
            damage()
            upset = evaluate(place, "lists_not_upset")["lists_not_upset"]
            assert not upset.passed
            assert upset.severity == WARN
            assert str(file) in upset.description

    def test_neighbours_are_not_read_before_there_are_interactions(self, published):
        place = published()
        place.warehouse.query("tiny", "drop table interactions")
        names = ("item_neighbours_to_read", "interactions_know_items")
        assert [each.passed for each in evaluate(place, *names).values()] == [True, True]


class TestWholeRuns:
    @staticmethod
    def current(place) -> str:
        return (place.snapshots / "tiny" / CURRENT).read_text()

    @staticmethod
    def failed(result) -> set[str]:
        return {each.check_name for each in result.get_asset_check_evaluations() if not each.passed}

    def test_a_table_that_shrank_keeps_what_is_published_until_that_is_allowed(self, published):
        place = published()
        before = self.current(place)
        items = (place.data / "items.csv").read_text().splitlines(keepends=True)
        (place.data / "items.csv").write_text("".join(items[:5]))
        result = place.run("tiny")
        assert not result.success
        assert "items_not_fallen" in self.failed(result)
        assert self.current(place) == before

        settings = yaml.safe_load((place.catalogs / "tiny.yaml").read_text())
        place.write_catalog("tiny", settings | {"checks": {"row_fall": 0.6}})
        assert place.run("tiny").success
        assert Snapshot.current(place.snapshots, "tiny").manifest["counts"]["items"] == 4

    def test_warnings_stop_nothing_and_name_nobody(self, published):
        place = published(
            strategy="popular",
            list_length=2,
            checks={
                "known_share": 1,
                "text_share": 1,
                "coverage": 1,
                "concentration": 0,
                "changed_lists": 0,
            },
        )
        before = self.current(place)
        with (place.data / "interactions.csv").open("a") as file:
            file.write("user-zq-12,unknown,5,2024-01-12\n")
        with (place.data / "items.csv").open("a") as file:
            file.write("space9,,\n")
        result = place.run("tiny")
        assert result.success
        assert self.failed(result) == {
            "interactions_know_items",
            "item_texts_own_share",
            "recommendations_cover_items",
            "recommendations_not_concentrated",
            "lists_not_upset",
        }
        assert self.current(place) != before
        said = [dg.serialize_value(each) for each in result.get_asset_check_evaluations()]
        assert [each for each in said if "user-zq" in each] == []
