"""Where snapshots are published."""

import dagster as dg

from recsys_dagster.home import snapshots_folder
from recsys_dagster.snapshots.remote import Folder


class SnapshotStore(dg.ConfigurableResource):
    """A folder with one folder of snapshots a catalog.

    Attributes:
        folder: a path, or an address of object storage such as s3://bucket/snapshots.
    """

    folder: str

    @property
    def place(self) -> Folder:
        """The folder, to be read and written."""
        return snapshots_folder(self.folder)
