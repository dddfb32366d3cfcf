"""What people see of a run: tables without user ids, where columns come from, what made a list."""

import json

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from recsys_dagster.assets import metadata
from recsys_dagster.assets.metadata import (
    COLUMN_LINEAGE,
    STAGE,
    column_lineage,
    counted,
    distribution,
    first_list,
    grouped_points,
    preview,
    preview_as_html,
    rejected_because,
    rests_on,
)
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.schemas import TABLES, TUNING
from recsys_dagster.snapshots.reader import Snapshot
from recsys_dagster.steps.models import STRATEGIES

WITH_LINEAGE = {
    "interactions",
    "items",
    "item_texts",
    "item_embeddings",
    "user_embeddings",
    "similarity_matrix",
    "item_neighbours",
    "item_map",
    "histories",
    "model",
    "popular_items",
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


def rows_of(table: dg.TableMetadataValue) -> list[dict[str, str]]:
    return [dict(record.data) for record in table.records]


class TestPreview:
    def test_is_a_table_without_users_which_the_ui_shows_without_a_click(self):
        table = pd.DataFrame({"user_id": ["somebody"], "a|b": ["<b>x</b>\n`y`"], "n": [1 / 3]})
        shown = preview(table)
        assert isinstance(shown, dg.TableMetadataValue)
        assert rows_of(shown) == [{"a|b": "<b>x</b> `y`", "n": "0.3333"}]
        assert [(column.name, column.type) for column in shown.schema.columns] == [
            ("a|b", "str"),
            ("n", "float64"),
        ]

    def test_long_cells_and_many_rows_are_cut(self):
        rows = rows_of(preview(pd.DataFrame({"text": ["x" * 500] * 20}), rows=3))
        assert rows == [{"text": "x" * 99 + "…"}] * 3

    def test_what_browsers_or_json_cannot_hold_is_text(self):
        table = pd.DataFrame({"n": [2**53 + 1], "x": [float("inf")], "none": [None]})
        assert rows_of(preview(table)) == [{"n": "9007199254740993", "x": "inf", "none": ""}]

    def test_a_table_without_rows_still_has_its_columns(self):
        shown = preview(pd.DataFrame({"a": pd.Series(dtype="str")}))
        assert rows_of(shown) == []
        assert [column.name for column in shown.schema.columns] == ["a"]

    def test_on_a_page_markup_of_data_is_harmless(self):
        shown = preview(pd.DataFrame({"a<": ["<script>"], "b": ["&"]}))
        assert preview_as_html(shown) == (
            "<table><tr><th>a&lt;</th><th>b</th></tr>"
            "<tr><td>&lt;script&gt;</td><td>&amp;</td></tr></table>"
        )


class TestFirstList:
    ITEMS = pd.DataFrame({"item_id": ["1", "2", "3"], "title": ["Heat", "Alien", "x" * 99]})

    def lists(self, *rows: tuple[str, str, int, list[tuple[str, float]]]) -> pa.Table:
        names = ("user_id", "item_id", "rank", "because")
        because = [[{"item_id": item, "share": share} for item, share in row[3]] for row in rows]
        return pa.table(
            {name: [row[place] for row in rows] for place, name in enumerate(names[:3])}
            | {"because": because}
        )

    def test_has_titles_and_reasons_of_one_user_and_says_not_whose(self):
        table = self.lists(
            ("ann", "1", 1, [("2", 0.5), ("3", 0.25), ("1", 0.1)]),
            ("ann", "3", 2, []),
            ("bob", "2", 1, []),
        )
        cut = "x" * 47 + "…"
        assert rows_of(first_list(table, self.ITEMS)) == [
            {"#": "1", "title": "Heat", "because of": f"Alien 50%, {cut} 25%"},
            {"#": "2", "title": cut, "because of": ""},
        ]

    def test_an_item_that_has_no_title_is_named_by_its_id(self):
        shown = first_list(self.lists(("ann", "9", 1, [("8", 1.0)])), self.ITEMS)
        assert rows_of(shown) == [{"#": "1", "title": "9", "because of": "8 100%"}]

    def test_nobody_has_no_list(self):
        table = self.lists(("ann", "1", 1, [("2", 0.5)])).slice(0, 0)
        assert rows_of(first_list(table, self.ITEMS)) == []


class TestInOneLine:
    def test_a_distribution_has_its_ends_its_shape_and_its_median(self):
        values = np.repeat([0.0, 6, 12], [7, 1, 4])
        assert distribution(values) == "0 █▁▁▁▁▁▂▁▁▁▁▅ 12, median 0"

    def test_a_value_that_occurs_once_among_thousands_is_seen(self):
        assert distribution(np.append(np.zeros(9_999), 1.0)) == "0 █▁▁▁▁▁▁▁▁▁▁▂ 1, median 0"

    def test_powers_of_ten_are_as_wide_as_each_other(self):
        shown = distribution(np.array([1, 10, 100, 1_000, 0, np.nan]), log=True)
        assert shown == "1 █▁▁▁█▁▁▁█▁▁█ 1,000 (log), median 55"

    @pytest.mark.parametrize("log", [False, True])
    def test_alike_values_and_none_at_all(self, log):
        assert distribution(np.array([0.123456] * 3), log=log).startswith("0.123 ")
        assert distribution(np.array([np.nan]), log=log) == "no values"

    def test_counts_are_named_the_largest_first(self):
        assert counted({"popular": 20, "hybrid": 13_400, "content": 0}) == (
            "13,400 hybrid, 20 popular"
        )
        assert counted({"popular": 0}) == "nothing"


class TestGroupedPoints:
    @pytest.fixture
    def drawn(self, monkeypatch):
        """`drawn(groups)`: the names in the legend, and how many points have each colour."""

        def draw(groups):
            figures = []
            monkeypatch.setattr(metadata, "_picture", lambda figure, _: figures.append(figure))
            grouped_points(np.zeros((len(groups), 2)), groups, "Items")
            (figure,) = figures
            names = [text.get_text() for text in figure.legends[0].get_texts()]
            points = [len(drawn.get_offsets()) for drawn in figure.axes[0].collections]
            return names, points

        return draw

    def test_the_eight_largest_groups_have_a_colour_and_the_rest_is_grey(self, drawn):
        groups = [name for size, name in enumerate("jihgfedcba", start=1) for _ in range(size)]
        names, (grey, *coloured) = drawn([*groups, None, None])
        assert names == list("abcdefgh")
        assert coloured == [10, 9, 8, 7, 6, 5, 4, 3]
        assert grey == 2 + 1 + 2

    def test_where_there_are_no_groups_all_is_grey(self, drawn):
        assert drawn([None] * 3) == ([], [3])

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize("name", ["under $5, over $9", "_hidden", "电影", "x" * 99])
    def test_a_name_is_drawn_whatever_is_in_it(self, name):
        assert "data:image/png" in grouped_points(np.zeros((2, 2)), [name, None], "Items").value


class TestRejectedBecause:
    def test_the_most_frequent_reasons_have_their_counts(self):
        reasons = [name for place, name in enumerate("abcdefg", start=1) for _ in range(place)]
        shown = rejected_because(pd.DataFrame({"reason": reasons}))["rejected_because"]
        assert rows_of(shown) == [
            {"rows": str(count), "reason": reason}
            for count, reason in ((7, "g"), (6, "f"), (5, "e"), (4, "d"), (3, "c"))
        ]

    def test_nothing_is_said_where_nothing_was_rejected(self):
        assert rejected_because(pd.DataFrame({"reason": pd.Series(dtype="str")})) == {}


class TestWhatShowsAtOnce:
    """The log of a run shows an asset's first entries; pictures need a click everywhere."""

    def test_what_people_look_for_comes_first(self, finished):
        shown = metadata_by_stage(finished.result)
        for stage, first in {
            "recommendations": "first_list",
            "published": "first_list",
            "evaluation": "strategies",
        }.items():
            assert next(iter(shown[stage])) == first
            assert isinstance(shown[stage][first], dg.TableMetadataValue)
        assert rows_of(shown["published"]["first_list"]) == rows_of(
            shown["recommendations"]["first_list"]
        )
        (best, *_) = rows_of(shown["evaluation"]["strategies"])
        assert list(best) == ["strategy", "ndcg@20", "recall@20", "coverage@20"]
        assert best["ndcg@20"].count("[") == 1
        assert shown["published"]["users"].value == 60

    def test_every_picture_of_a_distribution_has_its_line(self, finished):
        shown = metadata_by_stage(finished.result)
        for stage, line in {
            "interactions": "items_a_user",
            "users": "positives_a_user",
            "item_texts": "characters",
            "item_neighbours": "nearest",
        }.items():
            assert "█" in shown[stage][line].value
            assert ", median " in shown[stage][line].value
            entries = list(shown[stage])
            assert entries.index(line) < entries.index("plot")

    def test_reasons_of_rejection_stand_beside_the_counts(self, tiny):
        place = tiny()
        with (place.data / "interactions.csv").open("a") as file:
            file.write("user-zq-12,space1,bad,2024-01-01\nuser-zq-13,,5,2024-01-01\n")
        stages = ["raw_interactions", "interactions", "rejected_interactions"]
        shown = metadata_by_stage(place.run("tiny", stages))
        for stage in ("interactions", "rejected_interactions"):
            assert rows_of(shown[stage]["rejected_because"]) == [
                {"rows": "1", "reason": "weight is not a number"},
                {"rows": "1", "reason": "item_id is missing or blank"},
            ]

    def test_nothing_beside_a_list_is_wider_than_a_small_screen(self, finished):
        shown = metadata_by_stage(finished.result)["recommendations"]
        lines = [
            line
            for entry in shown.values()
            if isinstance(entry, dg.TextMetadataValue | dg.JsonMetadataValue)
            for line in (
                entry.text.split()
                if isinstance(entry, dg.TextMetadataValue)
                else json.dumps(entry.data, indent=2).splitlines()
            )
        ]
        assert max(map(len, lines)) <= 44


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
            "title": {"raw_items.title", "raw_items.genres", "raw_items.item_id"},
            "title_source": {"raw_items.title", "raw_items.genres", "raw_items.item_id"},
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
        for strategy in STRATEGIES.values():
            assert strategy.columns
            for table, _, column in (origin.partition(".") for origin in strategy.columns):
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
            assert seen["encoder_fingerprint"].value == fingerprint[:12]
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
            "max_exact_pairs",
            "strategy",
            "models",
            "list_length",
            "rules",
        }
        assert set(settings["encoder"]) == {
            "preset",
            "max_length",
            "dimension",
        }  # the model stands apart
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
        "popular_items": "`p_i = ",
    }.items():
        assert formula in stages[name].description
