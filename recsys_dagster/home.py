"""Where data lives: `$RECSYS_HOME` for tables and snapshots, `$DAGSTER_HOME` for run history."""

import os
from importlib.resources import files
from pathlib import Path


def recsys_home() -> Path:
    """`$RECSYS_HOME`, or `.recsys` below the current folder."""
    return Path(os.environ.get("RECSYS_HOME", ".recsys")).resolve()


def warehouse_folder() -> Path:
    """One DuckDB file a catalog."""
    return recsys_home() / "warehouse"


def snapshots_folder() -> Path:
    """One folder of published snapshots a catalog."""
    return recsys_home() / "snapshots"


def prepare_dagster_home() -> Path:
    """Make Dagster's home and its settings where they are missing, and name it in the environment.

    With one home for the command line and the UI, a run started in one is seen in the other. A
    `dagster.yaml` that is already there is left alone.
    """
    home = Path(os.environ.get("DAGSTER_HOME", recsys_home() / "dagster")).resolve()
    home.mkdir(parents=True, exist_ok=True)
    settings = home / "dagster.yaml"
    if not settings.exists():
        settings.write_text(files("recsys_dagster").joinpath("dagster.yaml").read_text("utf-8"))
    os.environ["DAGSTER_HOME"] = str(home)
    return home
