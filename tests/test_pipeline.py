"""A catalog end to end through Dagster: tables, accounting, checks, reuse, the gate, privacy."""

import json
import os
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from recsys_dagster.assets import common, interactions
from recsys_dagster.catalog.files import Catalogs
from recsys_dagster.errors import UserError
from recsys_dagster.resources import encoder
from recsys_dagster.resources.sources import files
from recsys_dagster.resources.warehouse import StoredTable
from recsys_dagster.schemas import EMBEDDING, TABLES, TUNING
from recsys_dagster.snapshots.current import CURRENT, MANIFEST
from recsys_dagster.snapshots.evaluations import EVALUATIONS
from recsys_dagster.snapshots.reader import Snapshot
from recsys_dagster.snapshots.writer import remove_old
from recsys_dagster.steps.models import STRATEGIES
from recsys_dagster.versions import content_digest

STAGES = {*TABLES, "published"}
REFRESHED = STAGES - {TUNING.name}
"""A search for settings is made when somebody asks for it."""


def column_types(place, catalog: str, table: str) -> dict[str, str]:
    return dict(
        place.warehouse.query(
            catalog,
            "select column_name, data_type from information_schema.columns "
            "where table_schema = 'main' and table_name = ? order by ordinal_position",
            [table],
        )
    )


def count(place, catalog: str, table: str, where: str = "true") -> int:
    return place.warehouse.query(catalog, f"select count(*) from {table} where {where}")[0][0]


def current(place, catalog: str) -> str:
    return (place.snapshots / catalog / CURRENT).read_text()


def content(place, catalog: str, table: str) -> str:
    return content_digest(place.warehouse.read(catalog, table), table)


def contents(place, catalog: str) -> dict[str, str]:
    return {table: content(place, catalog, table) for table in REFRESHED - {"published"}}


def failed_checks(result) -> set[str]:
    return {check.check_name for check in result.get_asset_check_evaluations() if not check.passed}


@pytest.fixture(scope="session")
def materialised(run_facts):
    return run_facts[0]


class TestFinished:
    def test_every_stage_is_materialised(self, finished, materialised):
        assert materialised(finished.result) == REFRESHED

    @pytest.mark.parametrize("table", sorted(REFRESHED - {"published"}))
    def test_tables_have_their_declared_columns(self, finished, table):
        expected = {
            column.name: "FLOAT[384]" if column.type == EMBEDDING else column.type
            for column in TABLES[table].columns
        }
        found = column_types(finished.place, "movies", table)
        if TABLES[table].open:
            found = {name: type for name, type in found.items() if name in expected}
        assert list(found.items()) == list(expected.items())

    def test_the_ui_sees_columns_and_row_counts(self, finished):
        for event in finished.result.get_asset_materialization_events():
            name = event.asset_key.path[-1]
            if name == "published":
                continue
            seen = event.materialization.metadata
            assert seen["dagster/row_count"].value == count(finished.place, "movies", name)
            columns = [column.name for column in seen["dagster/column_schema"].value.columns]
            assert columns == list(column_types(finished.place, "movies", name))

    @pytest.mark.parametrize("table", ["interactions", "items"])
    def test_every_raw_row_is_accounted_for(self, finished, table):
        (event,) = [
            event
            for event in finished.result.get_asset_materialization_events()
            if event.asset_key.path == ["movies", table]
        ]
        merged = event.materialization.metadata["merged_rows"].value
        place = finished.place
        raw, accepted, rejected = (
            count(place, "movies", prefix + table) for prefix in ("raw_", "", "rejected_")
        )
        assert raw == accepted + merged + rejected
        assert raw > 0

    def test_all_checks_pass(self, finished):
        evaluations = finished.result.get_asset_check_evaluations()
        declared = set(finished.place.definitions().resolve_asset_graph().asset_check_keys)
        assert {evaluation.asset_check_key for evaluation in evaluations} == declared
        assert failed_checks(finished.result) == set()

    def test_lists_hold_unseen_items_only_and_serve_everybody(self, finished):
        place = finished.place
        seen = place.warehouse.query(
            "movies",
            "select count(*) from recommendations semi join interactions using (user_id, item_id)",
        )
        assert seen == [(0,)]
        users = count(place, "movies", "users")
        assert users == 60
        assert count(place, "movies", "recommendations", "rank = 1") == users
        assert count(place, "movies", "recommendations") == users * 20

    def test_the_snapshot_is_what_the_tables_hold(self, finished):
        snapshot = Snapshot.current(finished.place.snapshots, "movies")
        snapshot.verify()
        assert snapshot.manifest["run_id"] == finished.result.run_id
        for table, expected in snapshot.manifest["files"].items():
            assert expected["rows"] == count(finished.place, "movies", table)

    def test_the_snapshot_has_what_pages_of_users_and_items_need(self, finished):
        place, snapshot = finished.place, Snapshot.current(finished.place.snapshots, "movies")
        histories = pq.read_table(snapshot.path / "histories.parquet")
        kept = place.warehouse.read("movies", "histories").drop_columns("first_timestamps")
        assert histories.equals(kept)
        users = histories["user_id"].to_pylist()
        assert users == sorted(users)
        last = histories.to_pylist()[-1]
        found = snapshot.history(users[-1])
        assert found.item_ids.tolist() == last["item_ids"]
        assert found.last_timestamps.tolist() == last["last_timestamps"]
        for item, text in place.warehouse.query(
            "movies", "select item_id, text from item_texts limit 20"
        ):
            assert snapshot.text_of(item) == text
        places = snapshot.item_map()
        assert (
            places.item_ids.tolist()
            == place.warehouse.read("movies", "item_embeddings")["item_id"].to_pylist()
        )
        for axis in (places.x, places.y):
            assert np.abs(axis).max() <= 1


@pytest.mark.usefixtures("no_pictures")
class TestAgain:
    def test_a_second_run_leaves_everything_as_it_is_and_says_so(
        self, finished_copy, run_facts, monkeypatch
    ):
        def no_model(*_):
            raise AssertionError("the model was loaded")

        monkeypatch.setattr(encoder, "load_model", no_model)
        before = current(finished_copy, "movies")
        tables = {
            name: content(finished_copy, "movies", name) for name in REFRESHED - {"published"}
        }
        read, arrow = set(), StoredTable.arrow
        monkeypatch.setattr(
            StoredTable, "arrow", lambda own, *which: read.add(own.name) or arrow(own, *which)
        )
        result = finished_copy.run("movies")
        assert result.success
        # What a check looks at, and a table that nobody asked for.
        assert read <= {"item_embeddings", "tuning"}
        materialised, figures = run_facts
        assert materialised(result) == REFRESHED
        for stage in materialised(result):
            assert figures(result, "movies", stage)["unchanged"] is True, stage
        assert {
            name: content(finished_copy, "movies", name) for name in REFRESHED - {"published"}
        } == tables
        assert current(finished_copy, "movies") == before

    def test_a_changed_setting_makes_again_what_it_decides_and_nothing_else(
        self, published, run_facts
    ):
        place = published(list_length=3)
        result = place.run("tiny")
        _, figures = run_facts
        changed = {stage for stage in REFRESHED if not figures(result, "tiny", stage)["unchanged"]}
        assert changed == {"recommendations", "published"}

    @pytest.mark.parametrize(
        "settings", [{"description": "Another one"}, {"matrix_width": 77}], ids=["said", "used"]
    )
    def test_a_setting_that_readers_go_by_is_published_though_no_list_is_another(
        self, published, run_facts, settings
    ):
        place = published(**settings)
        before = current(place, "tiny")
        result = place.run("tiny")
        _, figures = run_facts
        assert figures(result, "tiny", "recommendations")["unchanged"] is True
        assert figures(result, "tiny", "published")["unchanged"] is False
        assert current(place, "tiny") != before
        manifest = Snapshot.current(place.snapshots, "tiny").manifest
        assert settings.items() <= manifest["settings"].items()

    def test_a_setting_that_no_reader_goes_by_is_no_snapshot(self, published, run_facts):
        place = published(refresh={"watch": False})
        before = current(place, "tiny")
        place.run("tiny")
        assert current(place, "tiny") == before

    def test_rows_from_the_future_are_judged_again_when_their_time_has_come(
        self, tiny, run_facts, monkeypatch
    ):
        place, now = tiny(), pd.Timestamp.now("UTC")
        with (place.data / "interactions.csv").open("a") as file:
            for days in (3, 30):
                day = (now + pd.Timedelta(days=days)).date()
                file.write(f"user-zq-{days},love5,5,{day}\n")
        stages = ["raw_interactions", "interactions", "rejected_interactions"]
        _, figures = run_facts

        def left_alone(days: int) -> bool:
            later = now + pd.Timedelta(days=days)
            for module in (common, interactions):
                monkeypatch.setattr(module, "utc_now", lambda: later.tz_localize(None))
            return figures(place.run("tiny", stages), "tiny", "interactions")["unchanged"]

        def from_the_future() -> int:
            return count(
                place, "tiny", "rejected_interactions", "reason = 'timestamp is in the future'"
            )

        assert not left_alone(days=0)
        assert from_the_future() == 2
        assert left_alone(days=1)
        assert not left_alone(days=4)
        assert from_the_future() == 1
        assert left_alone(days=4)

    def test_a_table_that_is_lost_is_made_again(self, published, run_facts):
        place = published()
        place.warehouse.query("tiny", "drop table item_neighbours")
        before = current(place, "tiny")
        result = place.run("tiny")
        _, figures = run_facts
        assert figures(result, "tiny", "item_neighbours")["unchanged"] is False
        assert figures(result, "tiny", "recommendations")["unchanged"] is True
        assert current(place, "tiny") == before

    def test_only_a_changed_text_is_encoded(self, finished_copy, run_facts):
        file = finished_copy.data / "items.parquet"
        items = pd.read_parquet(file)
        items.loc[0, "title"] = "A title that nothing was encoded for"
        items.to_parquet(file, index=False)
        before = dict(
            finished_copy.warehouse.query(
                "movies", "select item_id, embedding from item_embeddings"
            )
        )
        result = finished_copy.run(
            "movies", ["raw_items", "items", "rejected_items", "item_texts", "item_embeddings"]
        )
        assert result.success
        _, figures = run_facts
        assert figures(result, "movies", "item_embeddings")["texts_encoded"] == 1
        after = dict(
            finished_copy.warehouse.query(
                "movies", "select item_id, embedding from item_embeddings"
            )
        )
        changed = {item for item in after if after[item] != before[item]}
        assert changed == {str(items.loc[0, "movieId"])}

    def test_a_warehouse_of_format_1_keeps_what_was_encoded(self, finished_copy, run_facts):
        finished_copy.warehouse.query("movies", "drop schema warehouse cascade")
        stages = ["raw_items", "items", "rejected_items", "item_texts", "item_embeddings"]
        assert not finished_copy.warehouse.has("movies", "items")
        result = finished_copy.run("movies", stages)
        assert result.success
        _, figures = run_facts
        assert figures(result, "movies", "raw_items")["rows_read"] == count(
            finished_copy, "movies", "raw_items"
        )
        assert figures(result, "movies", "item_embeddings")["texts_encoded"] == 0
        Snapshot.current(finished_copy.snapshots, "movies").verify()

    def test_a_source_that_did_not_change_is_read_again_only_when_asked(self, published, run_facts):
        place = published()
        _, figures = run_facts
        stages = ["raw_items"]
        assert figures(place.run("tiny", stages), "tiny", "raw_items")["unchanged"] is True
        with (place.data / "items.csv").open("a") as file:
            file.write("space6,Late Comet,space comet\n")
        assert figures(place.run("tiny", stages), "tiny", "raw_items")["rows_read"] == 11
        everything = {"ops": {"tiny__raw_items": {"config": {"everything": True}}}}
        job = place.definitions().resolve_job_def("refresh_tiny")
        with dg.DagsterInstance.ephemeral() as instance:
            result = job.execute_in_process(
                run_config=everything,
                instance=instance,
                asset_selection=[dg.AssetKey(["tiny", "raw_items"])],
            )
        assert figures(result, "tiny", "raw_items")["rows_read"] == 11

    def test_what_a_table_is_is_shown_after_a_materialisation_was_reported_by_hand(
        self, tiny, run_facts, tmp_path
    ):
        place, stages, _, figures = tiny(), ["raw_items", "items", "rejected_items"], *run_facts
        home = str(tmp_path)
        made = place.run("tiny", stages, dg.DagsterInstance.local_temp(home))
        with dg.DagsterInstance.local_temp(home) as instance:
            for stage in stages:
                by_hand = dg.AssetMaterialization(["tiny", stage], description="by hand")
                instance.report_runless_asset_event(by_hand)
        again = place.run("tiny", stages, dg.DagsterInstance.local_temp(home))
        for stage in stages:
            shown = figures(again, "tiny", stage)
            assert shown.keys() == figures(made, "tiny", stage).keys() | {"made_by_run"}
            assert shown["made_by_run"] == made.run_id

    def test_of_a_table_that_another_home_made_nothing_is_shown_that_was_so_before(
        self, tiny, run_facts, tmp_path
    ):
        place, stages, _, figures = tiny(), ["raw_items"], *run_facts
        home = str(tmp_path)
        made = place.run("tiny", stages, dg.DagsterInstance.local_temp(home))
        assert figures(made, "tiny", "raw_items")["dagster/row_count"] == 10
        with (place.data / "items.csv").open("a") as file:
            file.write("space6,Late Comet,space comet\n")
        assert place.run("tiny", stages, dg.DagsterInstance.ephemeral()).success
        again = place.run("tiny", stages, dg.DagsterInstance.local_temp(home))
        assert figures(again, "tiny", "raw_items") == {"unchanged": True}

    def test_a_file_that_was_only_touched_is_opened_once(self, published, run_facts, monkeypatch):
        place = published()
        os.utime(place.data / "items.csv", (0, 0))
        opened, sha256 = [], files.sha256
        monkeypatch.setattr(files, "sha256", lambda path: opened.append(path.name) or sha256(path))
        _, figures = run_facts
        before = content(place, "tiny", "raw_items")
        for _ in range(2):
            assert figures(place.run("tiny", ["raw_items"]), "tiny", "raw_items")["unchanged"]
        assert opened == ["items.csv"]
        assert content(place, "tiny", "raw_items") == before

    def test_a_stage_alone_touches_only_its_own_asset(self, finished_copy, run_facts):
        materialised, _ = run_facts
        before = current(finished_copy, "movies")
        result = finished_copy.run("movies", ["popular_items"])
        assert result.success
        assert materialised(result) == {"popular_items"}
        assert current(finished_copy, "movies") == before


@pytest.mark.usefixtures("no_pictures")
class TestAfterAnUpgrade:
    def test_a_snapshot_of_an_older_format_gives_way_to_a_new_one(self, published, run_facts):
        place = published()
        old = Snapshot.current(place.snapshots, "tiny")
        (old.path / MANIFEST).write_text(json.dumps({**old.manifest, "format": 3}))
        with pytest.raises(UserError, match=r"format 3, this version reads 4.*recsys run tiny"):
            Snapshot.current(place.snapshots, "tiny")
        result = place.run("tiny")
        assert result.success
        assert failed_checks(result) == set()
        _, figures = run_facts
        assert figures(result, "tiny", "recommendations")["unchanged"] is True
        assert figures(result, "tiny", "published")["unchanged"] is False
        new = Snapshot.current(place.snapshots, "tiny")
        assert new.path != old.path
        assert new.manifest["made_from"] == old.manifest["made_from"]
        assert remove_old(place.snapshots, "tiny", keep=1) == 1
        assert not old.path.exists()
        new.verify()


def cut_off(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def change_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)  # in place: links see it too


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("recommendations.parquet", cut_off),
        ("items.parquet", Path.unlink),
        ("items.parquet", change_a_byte),
        ("model/arrays.safetensors", cut_off),
        ("model/arrays.safetensors", change_a_byte),
        ("manifest.json", lambda path: path.write_text("[]")),
        (f"../{CURRENT}", lambda path: path.write_bytes(b"\xff\0")),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "__name__", None),
)
def test_a_damaged_snapshot_gives_way_to_a_whole_one(published, file, damage):
    place = published()
    old = Snapshot.current(place.snapshots, "tiny")
    damage(old.path / file)
    assert place.run("tiny").success
    new = Snapshot.current(place.snapshots, "tiny")
    assert new.path != old.path
    new.verify()
    assert place.run("tiny").success
    assert Snapshot.current(place.snapshots, "tiny").path == new.path


class TestGate:
    def test_a_failed_blocking_check_keeps_what_is_published(self, published, materialised):
        place = published()
        before = current(place, "tiny")
        lines = (place.data / "items.csv").read_text().splitlines()
        lost = [lines[0], *("," + line.partition(",")[2] for line in lines[1:8]), *lines[8:]]
        (place.data / "items.csv").write_text("\n".join(lost) + "\n")

        result = place.run("tiny")
        assert not result.success
        # The last one warns: interactions are with items that were lost.
        assert failed_checks(result) == {
            "items_accepted_share",
            "items_not_fallen",
            "interactions_know_items",
        }
        assert "published" not in materialised(result)
        assert "item_texts" not in materialised(result)
        assert current(place, "tiny") == before
        files = [path.name for path in (place.snapshots / "tiny").iterdir()]
        assert sorted(files) == sorted([CURRENT, EVALUATIONS, before.strip()])
        Snapshot.current(place.snapshots, "tiny").verify()

    def test_a_failed_stage_keeps_its_old_table_and_what_is_published(
        self, published, materialised
    ):
        place = published()
        before = current(place, "tiny")
        (place.data / "items.csv").write_text("name_of_nothing\nx\n")
        result = place.run("tiny")
        assert not result.success
        assert "items" not in materialised(result)
        assert count(place, "tiny", "items") == 10
        assert current(place, "tiny") == before


class TestSideBySide:
    def test_catalogs_share_nothing_but_the_location(self, tiny, materialised):
        place = tiny("films")
        tiny("books", strategy="popular")
        definitions = place.definitions()
        graph = definitions.resolve_asset_graph()
        for name in ("films", "books"):
            keys = {key for key in graph.materializable_asset_keys if key.path[0] == name}
            assert {key.path[-1] for key in keys} == REFRESHED
            assert {graph.get(key).group_name for key in keys} == {name, f"{name}_quality"}
            parents = {parent.path[0] for key in keys for parent in graph.get(key).parent_keys}
            assert parents == {name}
        assert place.run("films").success
        assert place.warehouse.path("films").exists()
        assert not place.warehouse.path("books").exists()
        result = place.run("books")
        assert result.success
        assert {event.asset_key.path[0] for event in result.get_asset_materialization_events()} == {
            "books"
        }
        strategies = "select distinct strategy from recommendations"
        assert place.warehouse.query("books", strategies) == [("popular",)]
        assert ("hybrid",) in place.warehouse.query("films", strategies)
        assert {path.name for path in place.snapshots.iterdir()} == {"films", "books"}


class TestPrivacy:
    def test_no_user_id_is_in_any_event_or_log_line_of_a_run(self, tiny, tmp_path):
        place = tiny(
            users={"source": "../data/users.csv", "text": "profile", "vectors": "blend"},
        )
        with (place.data / "interactions.csv").open("a") as file:
            file.write("user-zq-12,space1,bad,2024-01-01\nuser-zq-13,,5,2024-01-01\n")
        (tmp_path / "instance").mkdir()
        with dg.DagsterInstance.local_temp(str(tmp_path / "instance")) as instance:
            result = place.run("tiny", instance=instance)
            assert result.success
            assert count(place, "tiny", "rejected_interactions") == 2
            entries = [dg.serialize_value(entry) for entry in instance.all_logs(result.run_id)]
        assert any("rejected_rows" in entry for entry in entries)
        assert [entry for entry in entries if "user-zq" in entry] == []


class TestSettings:
    @pytest.mark.parametrize(
        ("strategy", "similarity"),
        [
            ("popular", "cosine"),
            ("content", "euclidean"),
            ("similar_items", "dot"),
            ("ease", "cosine"),
            ("hybrid", "euclidean"),
            ("neural", "cosine"),
            ("sequential", "cosine"),
            ("auto", "cosine"),
        ],
    )
    def test_every_strategy_and_similarity_publishes(self, tiny, strategy, similarity):
        place = tiny(
            strategy=strategy,
            similarity=similarity,
            models={
                "ease": {"regularisation": 1},
                "neural": {"epochs": 50, "width": 8},
                "sequential": {"epochs": 200, "width": 16, "learning_rate": 0.01},
                "auto": {"candidates": ["item_knn", "markov"]},
            },
        )
        if STRATEGIES[strategy].needs_order:  # each user's rows are of one day
            file = place.data / "interactions.csv"
            rows = pd.read_csv(file)
            times = pd.to_datetime(rows["timestamp"]) + pd.to_timedelta(range(len(rows)), "h")
            rows.assign(timestamp=times).to_csv(file, index=False)
        result = place.run("tiny")
        assert result.success
        assert failed_checks(result) == set()
        of_model = result.asset_materializations_for_node("tiny__model")[0].metadata
        assert ("learning_curve" in of_model) == (strategy in ("neural", "sequential"))
        assert ("candidates" in of_model) == (strategy == "auto")
        snapshot = Snapshot.current(place.snapshots, "tiny")
        rows = snapshot.recommend("user-zq-11", 5)
        assert [row.rank for row in rows] == [1, 2, 3, 4, 5]
        assert {row.strategy for row in rows} <= {strategy, "popular"}
        if strategy != "popular":
            assert rows[0].strategy == strategy
            assert rows[0].item_id.startswith("space")
            assert rows[0].because
        assert snapshot.manifest["settings"]["similarity"] == similarity
        assert snapshot.similar("space1", 1)[0].item_id.startswith("space")
        json.dumps(snapshot.manifest)

    @pytest.mark.parametrize("vectors", ["text", "blend"])
    def test_profile_texts_become_vectors(self, tiny, vectors):
        place = tiny(
            users={"source": "../data/users.csv", "text": "profile", "vectors": vectors},
            strategy="content",
        )
        result = place.run("tiny")
        assert result.success
        sources = dict(
            place.warehouse.query("tiny", "select user_id, vector_source from user_embeddings")
        )
        # Somebody with a profile and no interaction has a vector too.
        assert sources["user-zq-18"] == "text"
        assert sources["user-zq-11"] == vectors
        rows = Snapshot.current(place.snapshots, "tiny").recommend("user-zq-11", 1)
        assert rows[0].item_id.startswith("space")

    def test_who_has_a_profile_and_no_history_is_served_by_it(self, tiny):
        place = tiny(
            users={"source": "../data/users.csv", "text": "profile", "vectors": "blend"},
        )
        assert place.run("tiny").success
        snapshot = Snapshot.current(place.snapshots, "tiny")
        rows = snapshot.recommend("user-zq-18", 3)
        assert {row.strategy for row in rows} == {"content"}
        assert all(row.item_id.startswith("love") for row in rows)
        assert not any(row.because for row in rows)
        assert {row.strategy for row in snapshot.recommend("user-zq-11", 3)} == {"hybrid"}

    def test_an_unknown_catalog_lists_the_nearest(self, tiny):
        place = tiny()
        with pytest.raises(ValueError, match="Did you mean 'tiny'"):
            Catalogs.read(place.catalogs)["tinny"]


class TestBeforeTheFirstRun:
    def test_every_asset_says_its_columns_its_table_and_its_code(self, tiny):
        graph = tiny().definitions().resolve_asset_graph()
        for name, table in TABLES.items():
            known = graph.get(dg.AssetKey(["tiny", name])).metadata
            columns = [column.name for column in known["dagster/column_schema"].columns]
            assert columns == table.column_names
            assert known["dagster/table_name"] == f"tiny.main.{name}"
            (code,) = known["dagster/code_references"].code_references
            assert code.file_path.endswith(".py")

    def test_steps_of_several_catalogs_have_names_of_their_own(self, tiny):
        tiny("films")
        defs = tiny("books").definitions()
        job = defs.resolve_implicit_global_asset_job_def()
        names = [node.name for node in job.nodes]
        assert {name.split("__")[0] for name in names} == {"films", "books"}
        of_films = {name.removeprefix("films__") for name in names if name.startswith("films")}
        of_books = {name.removeprefix("books__") for name in names if name.startswith("books")}
        assert of_films == of_books
