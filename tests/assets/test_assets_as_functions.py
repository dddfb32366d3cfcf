"""Assets called as the functions they are: their meaning needs no instance and no warehouse."""

import dagster as dg
import pandas as pd
import pyarrow as pa
import pytest

from recsys_dagster.assets import embeddings, interactions, items, raw, recommendations, texts
from recsys_dagster.catalog import Catalog, Catalogs
from recsys_dagster.resources.encoder import TextEncoder
from recsys_dagster.resources.warehouse import Warehouse

ITEMS = pd.DataFrame({"item_id": ["1", "2"], "title": ["Heat", "Alien"], "genres": ["Crime", None]})


@pytest.fixture
def catalogs(tmp_path):
    settings = {
        "name": "films",
        "interactions": {"source": "i.csv", "positive": "rating >= 4"},
        "items": {"source": "m.csv", "text": "{title}. {genres}"},
        "encoder": {"model": "tfidf", "dimension": 4},
        "folder": tmp_path,
    }
    films = Catalog.model_validate(settings)
    books = films.model_copy(update={"name": "books"})
    return Catalogs({"books": books, "films": films})


def asset(module, name: str) -> dg.AssetsDefinition:
    (found,) = [
        asset
        for asset in dg.load_assets_from_modules([module], key_prefix="films")
        if dg.AssetKey(["films", name]) in asset.keys
    ]
    return found


def test_raw_items_numbers_rows(catalogs, tmp_path):
    (tmp_path / "m.csv").write_text("item_id,title\n7,Heat\n")
    output = asset(raw, "raw_items")(dg.build_asset_context(), catalogs)
    assert output.value.to_pylist() == [{"source_row": 1, "item_id": "7", "title": "Heat"}]
    assert "Heat" in output.metadata["preview"].md_str


def test_raw_interactions_shows_no_user(catalogs, tmp_path):
    (tmp_path / "i.csv").write_text("user_id,email,item_id\nann,ann@x.org,7\n")
    output = asset(raw, "raw_interactions")(dg.build_asset_context(), catalogs)
    assert output.value.num_rows == 1
    assert "ann" not in output.metadata["preview"].md_str
    assert "7" in output.metadata["preview"].md_str


def test_raw_users_without_a_source_is_empty(catalogs):
    output = asset(raw, "raw_users")(dg.build_asset_context(), catalogs)
    assert output.value.num_rows == 0


def test_items_are_parsed_into_two_tables(catalogs):
    source = ITEMS.assign(source_row=[1, 2])
    source.loc[1, "item_id"] = None
    accepted, rejected = asset(items, "items")(dg.build_asset_context(), catalogs, source)
    assert accepted.value["title"].tolist() == ["Heat"]
    assert rejected.value["reason"].tolist() == ["item_id is missing or blank"]
    assert accepted.metadata["raw_rows"].value == 2
    assert accepted.metadata["rejected_rows"].value == 1


def test_interactions_are_parsed_by_the_catalogs_own_condition(catalogs):
    source = pd.DataFrame(
        {"source_row": [1, 2], "user_id": ["a", "a"], "item_id": ["1", "2"], "rating": ["5", "3"]}
    )
    accepted, rejected = asset(interactions, "interactions")(
        dg.build_asset_context(), catalogs, source
    )
    assert accepted.value["positive"].tolist() == [True, False]
    assert rejected.value.empty


def test_item_texts_are_composed(catalogs):
    output = asset(texts, "item_texts")(dg.build_asset_context(), catalogs, ITEMS)
    assert output.value["text"].tolist() == ["Heat. Crime", "Alien"]
    assert output.metadata["distinct_texts"].value == 2


def test_item_embeddings_of_tfidf_need_no_warehouse(catalogs, tmp_path):
    item_texts = asset(texts, "item_texts")(dg.build_asset_context(), catalogs, ITEMS).value
    output = asset(embeddings, "item_embeddings")(
        dg.build_asset_context(),
        catalogs=catalogs,
        encoder=TextEncoder(),
        warehouse=Warehouse(folder=str(tmp_path / "warehouse")),
        item_texts=item_texts,
    )
    assert output.value["item_id"].to_pylist() == ["1", "2"]
    assert output.value.schema.field("embedding").type == pa.list_(pa.float32(), 4)
    assert output.metadata["texts_encoded"].value == 2
    assert not (tmp_path / "warehouse").exists()


def test_popular_items_counts_likes(catalogs):
    liked = pd.DataFrame(
        {
            "user_id": ["a", "b"],
            "item_id": ["2", "2"],
            "weight": [5.0, 4.0],
            "positive": [True, True],
            "first_timestamp": pd.NaT,
            "last_timestamp": pd.to_datetime(["2024-01-01", "2024-01-02"]),
            "interaction_count": [1, 1],
        }
    )
    output = asset(recommendations, "popular_items")(
        dg.build_asset_context(), catalogs, liked, ITEMS, pd.DataFrame({"user_id": ["a", "b"]})
    )
    assert output.value["item_id"].tolist() == ["2", "1"]
    assert output.value["score"].tolist() == [1.0, 0.0]
    assert "Alien" in output.metadata["preview"].md_str
