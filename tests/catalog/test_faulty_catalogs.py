"""One faulty catalog file: the code location loads the others, and a person sees the fault."""

import logging

import dagster as dg
import pytest
from dagster.components.core.component_tree import ComponentTreeException
from dagster.components.testing import create_defs_folder_sandbox

from recsys_dagster import Recommender, build_defs
from recsys_dagster.automation.faulty import faulty_sensor
from recsys_dagster.catalog.files import Catalogs
from recsys_dagster.cli.running import Request, run_job
from recsys_dagster.errors import UserError

FAULT = "colour: unknown key"
KEY = dg.AssetKey(["faulty_catalogs", "bad_yaml"])


@pytest.fixture
def place(published):
    place = published()
    (place.catalogs / "bad.yaml").write_text("name: bad\ncolour: red\n")
    return place


def test_the_others_load_and_run(place):
    dg.Definitions.validate_loadable(place.definitions())
    assert place.run("tiny").success


def test_it_is_an_asset_in_a_group_of_its_own_with_the_fault_in_its_description(place):
    graph = place.definitions().resolve_asset_graph()
    node = graph.get(KEY)
    assert node.group_name == "faulty_catalogs"
    assert not node.is_executable
    assert FAULT in node.description
    assert str(place.catalogs / "bad.yaml") == node.metadata["file"].value
    assert all(key.path[0] == "tiny" for key in graph.get_all_asset_keys() - {KEY})


def test_the_log_of_the_code_location_has_it(place, caplog):
    with caplog.at_level(logging.ERROR):
        place.definitions()
    assert FAULT in caplog.text
    assert "the others are loaded" in caplog.text


def test_a_sensor_fails_with_it_as_long_as_it_is_there(place):
    sensor = place.definitions().resolve_sensor_def("faulty_catalogs")
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    with (
        dg.DagsterInstance.ephemeral() as instance,
        dg.build_sensor_context(instance=instance) as context,
        pytest.raises(UserError, match=FAULT),
    ):
        sensor(context)


class TestRowsOfAnAssetThatNobodyHereMakes:
    """Dagster loads no asset at all where the value of an unknown one is asked for."""

    @pytest.fixture(params=["sales/orders", "tiny/orders"])
    def place(self, request, published, monkeypatch):
        place = published()
        source = {"asset": request.param}
        items = {"source": "../data/items.csv", "text": "title"}
        place.write_catalog("sold", {"interactions": {"source": source}, "items": items})
        place.environment(monkeypatch)
        return place

    def test_the_others_load_in_a_location_of_their_own(self, place):
        catalogs = Catalogs.read(place.catalogs, alone=True)
        assert list(catalogs) == ["tiny"]
        assert [each.name for each in catalogs.faulty] == ["sold"]
        dg.Definitions.validate_loadable(build_defs(catalogs))

    def test_a_project_that_makes_it_has_the_catalog(self, place):
        catalogs = Catalogs.read(place.catalogs)
        assert (set(catalogs), catalogs.faulty) == ({"sold", "tiny"}, ())

    def test_where_the_asset_gives_the_lineage_alone_the_rows_are_at_hand(self, place):
        source = {"asset": "sales/orders", "path": "../data/interactions.csv"}
        items = {"source": "../data/items.csv", "text": "title"}
        place.write_catalog("sold", {"interactions": {"source": source}, "items": items})
        assert set(Catalogs.read(place.catalogs, alone=True)) == {"sold", "tiny"}

    def test_the_command_line_says_where_to_run_it(self, place):
        with pytest.raises(UserError, match=r"value of the asset \w+/orders, which nothing here"):
            run_job("sold", Request("refresh_sold"))


def test_without_faults_nothing_of_this_is_there(published, caplog):
    defs = published().definitions()
    names = {sensor.name for sensor in defs.sensors}
    assert "faulty_catalogs" not in names
    assert not [k for k in defs.resolve_asset_graph().get_all_asset_keys() if k.path[0] != "tiny"]
    assert faulty_sensor((), []) is None
    assert "left out" not in caplog.text


def test_files_of_like_names_are_all_there(tiny):
    place = tiny()
    for name in ("bad shop.yaml", "bad_shop.yaml", "bad.shop.yaml"):
        (place.catalogs / name).write_text("name: bad\n")
    keys = place.definitions().resolve_asset_graph().get_all_asset_keys()
    assert len([key for key in keys if key.path[0] == "faulty_catalogs"]) == 3


def test_where_every_file_is_faulty_loading_fails_with_all_faults(place):
    (place.catalogs / "tiny.yaml").write_text("name: [\n")
    with pytest.raises(UserError, match=r"(?s)bad\.yaml:2: colour.*tiny\.yaml:2: this is not YAML"):
        build_defs(Catalogs.read(place.catalogs))


def test_a_component_is_the_same():
    with create_defs_folder_sandbox() as sandbox:
        folder = sandbox.scaffold_component(Recommender, "shop")
        (folder / "catalogs" / "bad.yaml").write_text("name: bad\ncolour: red\n")
        with sandbox.load_component_and_build_defs(folder) as (_, defs):
            graph = defs.resolve_asset_graph()
            assert FAULT in graph.get(KEY).description
            assert dg.AssetKey(["shop", "published"]) in graph.get_all_asset_keys()
        (folder / "catalogs" / "shop.yaml").unlink()
        with (
            pytest.raises(ComponentTreeException) as raised,
            sandbox.load_component_and_build_defs(folder),
        ):
            pass
        assert isinstance(raised.value.__cause__, UserError)
        assert FAULT in str(raised.value.__cause__)
