"""The same definitions as a Dagster component, for projects scaffolded with `dg`."""

from pathlib import Path

import dagster as dg

from recsys_dagster.build import build_defs
from recsys_dagster.catalogs import Catalogs


class Recommender(dg.Component, dg.Model, dg.Resolvable):
    """Recommenders described by a folder of catalog files.

    Attributes:
        catalogs: the folder of the catalog files, relative to the component's own.
    """

    catalogs: str = "catalogs"

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Assets, checks, jobs, schedules and sensors of every catalog."""
        return build_defs(Catalogs.read(Path(context.path) / self.catalogs))
