"""Assets called as the functions they are: their meaning needs no instance and no warehouse."""

from dataclasses import dataclass
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pytest

from recsys_dagster.assets import raw
from recsys_dagster.assets.embeddings import item_embeddings
from recsys_dagster.assets.interactions import parse_raw_interactions
from recsys_dagster.assets.items import parse_raw_items
from recsys_dagster.assets.recommendations import popular_items
from recsys_dagster.assets.similarity import item_map, item_neighbours
from recsys_dagster.assets.texts import item_texts
from recsys_dagster.assets.users import histories
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.resources.compute import ComputeResource
from recsys_dagster.resources.encoder import TextEncoder
from recsys_dagster.resources.warehouse import StoredTable, Warehouse, to_arrow
from recsys_dagster.schemas import SOURCE_NAMES
from recsys_dagster.steps.similarity import tables

ITEMS = pd.DataFrame(
    {
        "item_id": ["1", "2"],
        "title": ["Heat", "Alien"],
        "title_source": ["title", "title"],
        "category": ["Film", "Film"],
        "available": [True, True],
        "created_at": pd.to_datetime([None, None]),
        "genres": ["Crime", None],
    }
)


@pytest.fixture
def films(tmp_path):
    settings = {
        "name": "films",
        "interactions": {"source": "i.csv", "positive": "rating >= 4"},
        "items": {"source": "m.csv", "text": "{title}. {genres}"},
        "encoder": {"model": "tfidf", "dimension": 4},
        "folder": tmp_path,
    }
    return Catalog.model_validate(settings)


@pytest.fixture
def context():
    return dg.build_asset_context()


@dataclass(frozen=True)
class Read:
    """What a raw asset made."""

    value: pa.Table
    metadata: dict[str, Any]
    data_version: str


def read(films, tmp_path, name: str) -> Read:
    """A raw asset materialised: it sets its data version, which takes more than a call."""
    key = dg.AssetKey(["films", name])
    (found,) = [asset for asset in raw.raw_assets(films) if asset.key == key]
    result = dg.materialize(
        [found],
        resources={
            "recsys_warehouse": Warehouse(folder=str(tmp_path / "warehouse")),
            "recsys_io_manager": dg.InMemoryIOManager(),
        },
    )
    (event,) = result.get_asset_materialization_events()
    metadata = {name: entry.value for name, entry in event.materialization.metadata.items()}
    version = event.materialization.tags["dagster/data_version"]
    return Read(result.asset_value(key), metadata, version)


def with_source(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(
        source_file="x.csv", source_row=range(1, len(table) + 1), source_error=pd.NA
    )


def test_raw_items_numbers_rows(films, tmp_path):
    (tmp_path / "m.csv").write_text("item_id,title\n7,Heat\n8\n")
    output = read(films, tmp_path, "raw_items")
    assert output.value.to_pylist() == [
        {
            "source_file": "m.csv",
            "source_row": 1,
            "source_error": None,
            "item_id": "7",
            "title": "Heat",
        },
        {
            "source_file": "m.csv",
            "source_row": 2,
            "source_error": "the line has fewer columns than the header",
            "item_id": None,
            "title": None,
        },
    ]
    assert "Heat" in str(output.metadata["preview"])
    assert output.metadata["rows_read"] == 2
    assert output.metadata["unreadable_rows"] == 1


def test_the_same_rows_have_the_same_data_version(films, tmp_path):
    (tmp_path / "m.csv").write_text("item_id,title\n7,Heat\n")
    first = read(films, tmp_path, "raw_items").data_version
    assert read(films, tmp_path, "raw_items").data_version == first
    (tmp_path / "m.csv").write_text("item_id,title\n7,Alien\n")
    assert read(films, tmp_path, "raw_items").data_version != first


def test_raw_interactions_shows_no_user(films, tmp_path):
    (tmp_path / "i.csv").write_text("user_id,email,item_id\nann,ann@x.org,7\n")
    output = read(films, tmp_path, "raw_interactions")
    assert output.value.num_rows == 1
    assert [dict(record.data) for record in output.metadata["preview"].records] == [
        {"item_id": "7"}
    ]


def test_raw_users_without_a_source_is_empty(films, tmp_path):
    output = read(films, tmp_path, "raw_users")
    assert output.value.num_rows == 0
    assert output.value.column_names == list(SOURCE_NAMES)


def test_items_are_parsed_into_two_tables(context, films):
    source = with_source(ITEMS[["item_id", "title", "genres"]])
    source.loc[1, "item_id"] = None
    accepted, rejected = parse_raw_items(context, films, source)
    assert accepted.value["title"].tolist() == ["Heat"]
    assert rejected.value["reason"].tolist() == ["item_id is missing or blank"]
    assert accepted.metadata["raw_rows"].value == 2
    assert accepted.metadata["rejected_rows"].value == 1


def test_interactions_are_parsed_by_the_catalogs_own_condition(context, films, stored, monkeypatch):
    source = with_source(
        pd.DataFrame(
            {
                "user_id": ["a", "a"],
                "item_id": ["1", "2"],
                "review": ["a long text", "another one"],
                "rating": ["5", "3"],
            }
        )
    )
    given, read, frame = stored(to_arrow(source)), [], StoredTable.frame
    monkeypatch.setattr(
        StoredTable, "frame", lambda own, columns: read.extend(columns) or frame(own, columns)
    )
    accepted, rejected = parse_raw_interactions(context, films, given)
    assert accepted.value["positive"].tolist() == [True, False]
    assert rejected.value.empty
    assert read == [*SOURCE_NAMES, "user_id", "item_id", "rating"]


def test_item_texts_are_composed(context, films):
    output = item_texts(context, films, ITEMS)
    assert output.value["text"].tolist() == ["Heat. Crime", "Alien"]
    assert output.metadata["distinct_texts"].value == 2


def test_item_embeddings_of_tfidf_need_no_warehouse(context, films, tmp_path):
    texts = item_texts(context, films, ITEMS).value
    warehouse = Warehouse(folder=str(tmp_path / "warehouse"))
    output = item_embeddings(context, films, ComputeResource(), TextEncoder(), warehouse, texts)
    assert output.value["item_id"].to_pylist() == ["1", "2"]
    assert output.value.schema.field("embedding").type == pa.list_(pa.float32(), 4)
    assert output.metadata["texts_encoded"].value == 2
    assert not (tmp_path / "warehouse").exists()


def interactions() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "user_id": ["a", "b"],
            "item_id": ["2", "2"],
            "weight": [5.0, 4.0],
            "positive": [True, True],
            "first_timestamp": pd.to_datetime(["2024-01-01", "2024-01-02"]),
            "last_timestamp": pd.to_datetime(["2024-01-01", "2024-01-02"]),
            "last_position": [float("nan")] * 2,
            "interaction_count": [1, 1],
            "left_out": [False, False],
        }
    )


def test_histories_have_a_row_for_everybody(context, films):
    output = histories(context, films, interactions(), pd.DataFrame({"user_id": ["a", "b", "c"]}))
    assert output.value["item_ids"].to_pylist() == [["2"], ["2"], []]
    assert output.metadata["users_without_interactions"].value == 1


def test_popular_items_counts_likes(context, films):
    given = histories(context, films, interactions(), pd.DataFrame({"user_id": ["a", "b"]})).value
    output = popular_items(context, films, given, ITEMS)
    assert output.value["item_id"].tolist() == ["2", "1"]
    assert output.value["score"].tolist() == [1.0, 0.0]
    assert output.metadata["preview"].records[0].data["title"] == "Alien"


def test_what_is_not_available_has_no_rank(context, films):
    given = histories(context, films, interactions(), pd.DataFrame({"user_id": ["a", "b"]})).value
    output = popular_items(context, films, given, ITEMS.assign(available=[True, False]))
    assert output.value["item_id"].tolist() == ["1", "2"]
    assert output.value["rank"].isna().tolist() == [False, True]


def test_the_map_has_a_place_for_every_item(context, films, tmp_path):
    warehouse = Warehouse(folder=str(tmp_path / "warehouse"))
    texts = item_texts(context, films, ITEMS).value
    vectors = item_embeddings(
        context, films, ComputeResource(), TextEncoder(), warehouse, texts
    ).value
    output = item_map(context, films, warehouse, vectors)
    assert output.value["item_id"].to_pylist() == ["1", "2"]
    assert sorted(output.value["x"].to_pylist()) == pytest.approx([-1, 1])
    assert output.metadata["share_of_variance"].value == pytest.approx(1)


@pytest.mark.parametrize("encodes_on", ["cpu", "cuda"])
def test_neighbours_are_searched_where_texts_are_encoded(
    context, films, tmp_path, monkeypatch, encodes_on
):
    searched_on = []
    search = tables.top_k

    def spy(*arguments, device, **named):
        searched_on.append(device)
        return search(*arguments, device="cpu", **named)

    monkeypatch.setattr(tables, "top_k", spy)
    monkeypatch.setattr(TextEncoder, "search_device", encodes_on)
    warehouse = Warehouse(folder=str(tmp_path / "warehouse"))
    texts = item_texts(context, films, ITEMS).value
    vectors = item_embeddings(
        context, films, ComputeResource(), TextEncoder(), warehouse, texts
    ).value
    output = item_neighbours(context, films, ComputeResource(), TextEncoder(), warehouse, vectors)
    assert output.value.num_rows == 2
    assert searched_on == [encodes_on]
