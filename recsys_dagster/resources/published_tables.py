"""What is published, for assets of other pipelines: the tables of the current snapshot."""

from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from recsys_dagster.errors import UserError, did_you_mean
from recsys_dagster.home import snapshots_folder
from recsys_dagster.resources.warehouse import to_pandas
from recsys_dagster.snapshots.reader import TABLES, Snapshot


class PublishedTables(dg.ConfigurableIOManager):
    """Loads a table of a catalog's current snapshot as an input; it writes nothing.

    The input's asset key is [catalog, table], such as `["movies", "recommendations"]`; its type
    says as what it comes: `pandas.DataFrame`, `pyarrow.Table` or `polars.DataFrame`.

    Attributes:
        folder: where all catalogs' snapshots lie, a path or an address of object storage;
            `$RECSYS_SNAPSHOTS`, or else that of `$RECSYS_HOME`, where left out.
    """

    folder: str | None = None

    def load_input(self, context: dg.InputContext) -> Any:
        """The table, whole.

        Raises:
            UserError: there is no such table, or nothing is published.
        """
        catalog, table = context.asset_key.path[-2:]
        found = self.read(catalog, table)
        wanted = context.dagster_type.typing_type
        if wanted is pa.Table:
            return found
        if wanted.__module__.startswith("polars"):
            import polars  # ty: ignore[import-not-found]

            return polars.from_arrow(found)
        if wanted in (pd.DataFrame, Any):
            return to_pandas(found)
        raise UserError(
            f"{catalog}/{table}: expected an input of type pandas.DataFrame, pyarrow.Table or "
            f"polars.DataFrame; found {wanted}."
        )

    def read(self, catalog: str, table: str) -> pa.Table:
        """A table of the current snapshot of a catalog.

        Args:
            catalog: its name.
            table: one of `snapshots.reader.TABLES`.

        Raises:
            UserError: there is no such table, or nothing is published.
        """
        if table not in TABLES:
            raise UserError(
                f"{catalog}/{table}: snapshots have no such table.{did_you_mean(table, TABLES)}"
            )
        folder = snapshots_folder(self.folder)
        return pq.read_table(Snapshot.current(folder, catalog).path / f"{table}.parquet")

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Nothing is published this way.

        Raises:
            UserError: always.
        """
        raise UserError(
            f"{context.asset_key.to_user_string()}: snapshots are published by recsys_dagster "
            "alone; use another IO manager for what your asset returns."
        )
