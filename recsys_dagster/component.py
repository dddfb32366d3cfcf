"""The same definitions as a Dagster component, for projects scaffolded with `dg`."""

import re
from importlib.resources import files
from pathlib import Path

import dagster as dg
from pydantic import Field

from recsys_dagster.build import build_defs
from recsys_dagster.catalog.files import Catalogs
from recsys_dagster.catalog.names import TAKEN
from recsys_dagster.errors import UserError

CATALOGS = "catalogs"
MAX_NAME_LENGTH = 40


class RecommenderScaffolder(dg.Scaffolder):
    """Writes a component that loads and runs: a catalog to change, on two small tables."""

    def scaffold(self, request: dg.ScaffoldRequest) -> None:
        """Write defs.yaml or component.py, catalogs/<name>.yaml and the tables that it names."""
        folder = request.target_path.parent if request.append else request.target_path
        if request.scaffold_format == "python":
            _write(folder / "component.py", _in_python(request.type_name))
        else:
            dg.scaffold_component(request, {"catalogs": CATALOGS})
        example = files("recsys_dagster") / "scaffold"
        name = catalog_name(folder.name)
        catalog = (example / "catalog.yaml").read_text("utf-8")
        _write(
            folder / CATALOGS / f"{name}.yaml",
            catalog.replace("name: example", f"name: {name}", 1),
        )
        for table in ("interactions.csv", "items.csv"):
            _write(folder / "data" / table, (example / table).read_text("utf-8"))


@dg.scaffold_with(RecommenderScaffolder)
class Recommender(dg.Component, dg.Model, dg.Resolvable):
    """Recommendations from interactions and texts: a pipeline for every catalog of a folder.

    Each catalog, one YAML file, gives its own assets, checks, jobs, schedule and sensors, from the
    sources to a published recommendation table.
    """

    catalogs: str = Field(
        default=CATALOGS,
        description="The folder of the catalog files, relative to the component's own.",
    )
    in_process: bool = Field(
        default=True,
        description="Runs of catalogs take one process each; false in a project with an "
        "executor of its own.",
    )

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """What a component of this type brings, for lists of components."""
        return dg.ComponentTypeSpec(
            tags=["recommendations", "duckdb"],
            produces=["asset", "asset_check", "job", "schedule", "sensor", "resource"],
        )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Assets, checks, jobs, schedules and sensors of every catalog.

        Raises:
            UserError: there is no catalog file, every one is faulty, or the project has another
                recommender.
        """
        found = len(context.component_tree.get_all_components(of_type=Recommender))
        if found > 1:
            # Dagster would say that two definitions have different resources of one name.
            raise UserError(
                f"There are {found} components recsys_dagster.Recommender; expected one, which "
                "holds any number of catalogs. Move the catalog files into one component's folder "
                "and remove the others."
            )
        # The path of a component in Python is that of its file.
        folder = context.path if context.path.is_dir() else context.path.parent
        catalogs = Catalogs.read(folder / self.catalogs)
        return build_defs(catalogs, in_process=self.in_process)


def catalog_name(folder: str) -> str:
    """The name of a folder as a catalog may have it: a letter a-z, then a-z, 0-9 and _."""
    name = re.sub("[^a-z0-9_]+", "_", folder.lower()).strip("_")
    sound = name[:1].isalpha() and name not in TAKEN
    return (name if sound else f"catalog_{name}")[:MAX_NAME_LENGTH].rstrip("_")


def _in_python(type_name: str) -> str:
    module, _, name = type_name.rpartition(".")
    return f'''import dagster as dg
from {module} import {name}


@dg.component_instance
def load(context: dg.ComponentLoadContext) -> {name}:
    return {name}(catalogs="{CATALOGS}")
'''


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
