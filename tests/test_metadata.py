"""What people see of a run: tables without user ids, where columns come from, what made a list."""

from typing import get_args

import dagster as dg
import pandas as pd

from recsys_dagster.assets.recommendations import LEARNED_FROM
from recsys_dagster.catalog import Catalog
from recsys_dagster.metadata import COLUMN_LINEAGE, STAGE, column_lineage, preview, rests_on
from recsys_dagster.schemas import TABLES, TUNING
from recsys_dagster.snapshots import Snapshot

WITH_LINEAGE = {
    "interactions",
    "items",
    "item_texts",
    "item_embeddings",
    "user_embeddings",
    "similarity_matrix",
    "item_neighbours",
    "recommendations",
}


def metadata_by_stage(result) -> dict[str, dict[str, dg.MetadataValue]]:
    return {
        event.asset_key.path[-1]: dict(event.materialization.metadata)
        for event in result.get_asset_materialization_events()
    }


def origins(metadata: dict[str, dg.MetadataValue]) -> dict[str, set[str]]:
    return {
        column: {f"{origin.asset_key.path[-1]}.{origin.column_name}" for origin in made_of}
        for column, made_of in metadata[COLUMN_LINEAGE].value.deps_by_column.items()
    }


class TestPreview:
    def test_users_are_not_shown_and_markdown_is_harmless(self):
        table = pd.DataFrame({"user_id": ["somebody"], "a|b": ["<b>x</b>\n`y`"], "n": [1 / 3]})
        assert preview(table).md_str.splitlines() == [
            "| a\\|b | n |",
            "| --- | --- |",
            "| &lt;b>x&lt;/b> 'y' | 0.3333 |",
        ]

    def test_long_cells_and_many_rows_are_cut(self):
        lines = preview(pd.DataFrame({"text": ["x" * 500] * 20}), rows=3).md_str.splitlines()
        assert len(lines) == 5
        assert len(lines[-1]) < 170


class TestColumnLineage:
    def test_names_the_columns_of_the_catalogs_own_tables(self):
        (value,) = column_lineage("shop", {"weight": ["raw_interactions.rating v1.5"]}).values()
        assert value.value.deps_by_column == {
            "weight": [
                dg.TableColumnDep(dg.AssetKey(["shop", "raw_interactions"]), "rating v1.5"),
            ]
        }

    def test_every_column_that_is_named_exists(self, tiny):
        place = tiny(
            strategy="content",
            users={"source": "../data/users.csv", "text": "profile", "vectors": "blend"},
        )
        result = place.run("tiny")
        assert result.success
        shown = metadata_by_stage(result)
        assert {stage for stage in shown if COLUMN_LINEAGE in shown[stage]} == WITH_LINEAGE
        columns = {
            name: set(place.warehouse.read("tiny", name).column_names)
            for name in TABLES.keys() - {TUNING.name}
        }
        for stage in WITH_LINEAGE:
            for column, made_of in origins(shown[stage]).items():
                assert column in columns[stage]
                for table, _, name in (origin.partition(".") for origin in made_of):
                    assert name in columns[table], (stage, column, table, name)

        assert origins(shown["interactions"]) == {
            "user_id": {"raw_interactions.user_id"},
            "item_id": {"raw_interactions.item_id"},
            "weight": {"raw_interactions.rating"},
            "positive": {"raw_interactions.rating"},
            "first_timestamp": {"raw_interactions.timestamp"},
            "last_timestamp": {"raw_interactions.timestamp"},
            "last_position": set(),
        }
        assert origins(shown["items"]) == {
            "item_id": {"raw_items.item_id"},
            "title": {"raw_items.title", "raw_items.item_id"},
            "genres": {"raw_items.genres"},
        }
        assert origins(shown["item_texts"])["text"] == {
            "items.title",
            "items.genres",
            "items.item_id",
        }
        assert "user_texts.text" in origins(shown["user_embeddings"])["embedding"]
        assert "similarity_matrix.similarity" in origins(shown["recommendations"])["score"]

    def test_every_strategy_says_which_columns_it_learns_from(self):
        assert set(LEARNED_FROM) == set(get_args(Catalog.model_fields["strategy"].annotation))
        for made_of in LEARNED_FROM.values():
            for table, _, column in (origin.partition(".") for origin in made_of):
                assert column in TABLES[table].column_names

    def test_columns_of_other_names_are_found(self, tiny):
        place = tiny(
            interactions={
                "source": "../data/log.csv",
                "columns": {"user_id": "who", "weight": "times"},
                "events": {"view": 1, "buy": 5},
                "positive": "weight >= 2",
            }
        )
        lines = ["who,item,times,event", "user-zq-1,space1,2,view", "user-zq-2,love1,1,buy"]
        (place.data / "log.csv").write_text("\n".join(lines) + "\n")
        result = place.run("tiny", ["raw_interactions", "interactions", "rejected_interactions"])
        seen = origins(metadata_by_stage(result)["interactions"])
        assert seen["user_id"] == {"raw_interactions.who"}
        assert seen["item_id"] == {"raw_interactions.item"}
        assert seen["weight"] == {"raw_interactions.times", "raw_interactions.event"}
        assert seen["positive"] == seen["weight"]


class TestRestsOn:
    def test_lists_and_what_is_published_name_their_encoder_and_settings(self, finished):
        shown = metadata_by_stage(finished.result)
        fingerprint = shown["item_embeddings"]["encoder_fingerprint"].value
        assert len(fingerprint) == 64
        for stage in ("recommendations", "published"):
            seen = shown[stage]
            assert seen["encoder"].value == "sentence-transformers/all-MiniLM-L6-v2"
            assert seen["encoder_fingerprint"].value == fingerprint
            assert seen["item_embeddings"].value == dg.AssetKey(["movies", "item_embeddings"])
            assert seen["settings"].value["strategy"] == "hybrid"
        snapshot = Snapshot.current(finished.place.snapshots, "movies")
        assert shown["published"]["lists"].value == dg.AssetKey(["movies", "recommendations"])
        assert shown["published"]["snapshot"].value == str(snapshot.path)
        assert snapshot.manifest["encoder"]["fingerprint"] == fingerprint
        assert snapshot.manifest["counts"]["users"] == 60

    def test_only_settings_that_decide_lists_are_shown(self):
        catalog = Catalog.model_validate(
            {
                "name": "shop",
                "interactions": {"source": "secret.csv"},
                "items": {"source": "items.csv", "text": "title"},
                "users": {"source": "people.csv", "text": "profile"},
            }
        )
        settings = rests_on(catalog, {})["settings"].value
        assert set(settings) == {
            "encoder",
            "users",
            "similarity",
            "centre",
            "matrix_width",
            "neighbours",
            "strategy",
            "models",
            "recommendations",
            "rules",
        }
        assert {"allow", "deny"}.isdisjoint(settings["rules"])
        assert set(settings["users"]) == {
            "vectors",
            "text_share",
            "half_life_days",
            "half_life_positions",
        }


def test_stages_are_tagged_and_described_in_markdown(published):
    graph = published().definitions().resolve_asset_graph()
    stages = {key.path[-1]: graph.get(key) for key in graph.materializable_asset_keys}
    tagged = {name: node.tags.get(STAGE) for name, node in stages.items()}
    assert {name for name, tag in tagged.items() if tag is None} <= {
        "raw_interactions",
        "raw_items",
        "raw_users",
    }
    assert tagged["rejected_items"] == "items"
    assert tagged["item_neighbours"] == tagged["similarity_matrix"] == "similarity"
    assert tagged["popular_items"] == tagged["recommendations"] == "recommendations"
    for name, formula in {
        "interactions": "`rows of raw_interactions = ",
        "user_embeddings": "- history: `v_u = ",
        "similarity_matrix": "- cosine: `S_ui = ",
        "recommendations": "`B_ij = −P_ij / P_jj`",
    }.items():
        assert formula in stages[name].description
