"""Where snapshots are published."""

import dagster as dg


class SnapshotStore(dg.ConfigurableResource):
    """A folder with one folder of snapshots a catalog."""

    folder: str
