"""Reading a source as a catalog names it, and a warehouse to write to."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import settings
from pydantic import TypeAdapter

from recsys_dagster.catalog.source import Source
from recsys_dagster.resources.sources import SourceRead, read_source
from recsys_dagster.resources.warehouse import StoredTable, Warehouse

# The cores are shared: how long an example takes says nothing.
settings.register_profile("resources", deadline=None)
settings.load_profile("resources")


@pytest.fixture(scope="session")
def read(stored):
    """`read(source, folder)`, the source written as in YAML; `previous` is what a read left, or its
    rows.
    """
    written = TypeAdapter(Source)

    def read(
        source: str | dict[str, Any],
        folder: Path,
        previous: pa.Table | StoredTable | None = None,
        asset_value: Any = None,
    ) -> SourceRead:
        left = stored(previous) if isinstance(previous, pa.Table) else previous
        return read_source(written.validate_python(source), folder, left, asset_value)

    return read


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """A warehouse without any table."""
    return Warehouse(folder=str(tmp_path / "warehouse"))
