"""Where fitted models are kept."""

from pathlib import Path

import dagster as dg


class ModelStore(dg.ConfigurableResource):
    """A folder with one folder of models a catalog."""

    folder: str

    def home(self, catalog: str) -> Path:
        """The folder of a catalog's models."""
        return Path(self.folder) / catalog
