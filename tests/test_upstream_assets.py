"""A catalog whose source is an asset of somebody else: by value, or by name for the lineage."""

import dagster as dg
import pandas as pd
import pyarrow as pa
import pytest

from recsys_dagster.build import build_defs
from recsys_dagster.catalog.files import Catalogs

ORDERS = dg.AssetKey(["sales", "orders"])
ROWS = [("ann", "space1", 5), ("ann", "space2", 4), ("bob", "love1", 5)]


class ShelfIOManager(dg.ConfigurableIOManager):
    """Keeps values as Parquet files in a folder, as somebody else's IO manager would."""

    folder: str

    def _file(self, context) -> str:
        return f"{self.folder}/{'-'.join(context.asset_key.path)}.parquet"

    def handle_output(self, context, obj):
        obj.to_parquet(self._file(context), index=False)

    def load_input(self, context):
        return pd.read_parquet(self._file(context))


@pytest.fixture
def shop(tiny, tmp_path, monkeypatch):
    """`shop(source)`: definitions of `tiny` and of the asset sales/orders."""

    def make(source):
        frame = pd.DataFrame(ROWS, columns=["user_id", "item_id", "rating"])
        place = tiny(interactions={"source": source, "positive": "rating >= 4"})
        place.environment(monkeypatch)

        @dg.asset(key=ORDERS, io_manager_key="my_io")
        def orders():
            return frame

        (tmp_path / "shelf").mkdir()
        theirs = dg.Definitions(
            assets=[orders], resources={"my_io": ShelfIOManager(folder=str(tmp_path / "shelf"))}
        )
        return place, dg.Definitions.merge(theirs, build_defs(Catalogs.read(place.catalogs)))

    return make


def parents(definitions, name="raw_interactions"):
    graph = definitions.resolve_asset_graph()
    return graph.get(dg.AssetKey(["tiny", name])).parent_keys


def run(definitions, *keys):
    job = definitions.resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        return job.execute_in_process(
            instance=instance, asset_selection=list(keys), raise_on_error=False
        )


RAW = dg.AssetKey(["tiny", "raw_interactions"])
BY_VALUE = {"asset": "sales/orders", "io_manager": "my_io"}


def raw_rows(place) -> list[tuple]:
    return place.warehouse.query(
        "tiny", "select user_id, item_id, rating from raw_interactions order by source_row"
    )


def test_the_value_of_an_asset_becomes_the_raw_table(shop):
    place, definitions = shop(BY_VALUE)
    assert run(definitions, ORDERS, RAW).success
    assert raw_rows(place) == ROWS
    sources = "select source_file, source_row, source_error from raw_interactions"
    assert place.warehouse.query("tiny", sources) == [(None, n, None) for n in (1, 2, 3)]


def test_a_value_of_an_earlier_run_is_loaded_again(shop):
    place, definitions = shop(BY_VALUE)
    assert run(definitions, ORDERS).success
    assert run(definitions, RAW).success
    assert raw_rows(place) == ROWS


def test_the_graph_knows_where_the_rows_come_from(shop):
    _, definitions = shop(BY_VALUE)
    assert parents(definitions) == {ORDERS}
    assert parents(definitions, "raw_items") == {dg.AssetKey(["tiny", "items_source"])}


def test_a_whole_catalog_runs_from_it(shop):
    place, definitions = shop(BY_VALUE)
    job = definitions.resolve_job_def("refresh_tiny")
    with dg.DagsterInstance.ephemeral() as instance:
        assert run(definitions, ORDERS).success
        assert job.execute_in_process(instance=instance).success
    assert place.warehouse.query("tiny", "select count(*) from users") == [(2,)]


def test_a_path_beside_the_asset_gives_the_rows_and_the_asset_the_lineage(shop):
    place, definitions = shop({"asset": "sales/orders", "path": "../data/interactions.csv"})
    assert parents(definitions) == {ORDERS}
    assert run(definitions, RAW).success
    assert len(raw_rows(place)) == 24
    file = "select distinct source_file from raw_interactions"
    assert place.warehouse.query("tiny", file) == [("interactions.csv",)]


def test_an_asset_that_nobody_makes_may_give_the_lineage(tiny):
    place = tiny(
        interactions={"source": {"asset": "sales/orders", "path": "../data/interactions.csv"}}
    )
    definitions = place.definitions()
    assert parents(definitions) == {ORDERS}
    assert run(definitions, RAW).success


def test_a_value_that_is_no_table_is_named(shop, monkeypatch):
    _, definitions = shop(BY_VALUE)
    monkeypatch.setattr(ShelfIOManager, "load_input", lambda *_: {"user_id": ["ann"]})
    result = run(definitions, ORDERS, RAW)
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    message = "asset sales/orders: expected a pandas frame, an Arrow table, "
    error = failure.step_failure_data.error.to_string()
    assert message in error
    assert "got dict" in error


def test_an_arrow_table_is_taken_as_it_is(shop, monkeypatch):
    place, definitions = shop(BY_VALUE)
    table = pa.table({"user_id": ["x"], "item_id": ["space1"], "rating": [1]})
    monkeypatch.setattr(ShelfIOManager, "load_input", lambda *_: table)
    assert run(definitions, ORDERS, RAW).success
    assert raw_rows(place) == [("x", "space1", 1)]


def test_equal_values_have_one_data_version(shop):
    _, definitions = shop(BY_VALUE)
    versions = []
    for _ in range(2):
        result = run(definitions, ORDERS, RAW)
        (event,) = result.asset_materializations_for_node("tiny__raw_interactions")
        versions.append(event.tags["dagster/data_version"])
    assert versions[0] == versions[1]
