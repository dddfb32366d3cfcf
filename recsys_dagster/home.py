"""Where data lives: `$RECSYS_HOME` for tables and snapshots, `$DAGSTER_HOME` for run history.

Snapshots alone may lie elsewhere, where other machines read them: `$RECSYS_SNAPSHOTS`.
`python -m recsys_dagster.home` makes Dagster's home ready, as the command line does.
"""

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from recsys_dagster.errors import UserError
from recsys_dagster.writing import unwritten, whole_file

if TYPE_CHECKING:
    from recsys_dagster.snapshots.remote import Folder

EARLIER_SETTINGS = frozenset(
    {
        "d6d4f809fd8853a9bcac64812f14af166e0a3b20488c6a28743a546cc84ff51c",
        "55415d68da8a23300716bde70827ab834b651067a4e76fb43e156602c25c871a",
        "6d14cdcd4c75a3d21bd35f3ef32295c3914be4035771f95b5f029b98f18861ff",
    }
)
"""SHA-256 of every `dagster.yaml` that was shipped before: a file that is one of them holds nothing
of the user's own, and is replaced by the one of today."""
MISREAD = re.compile(r"\[.+\]|\?|%[0-9a-fA-F]{2}")
"""In a path what Dagster takes for a pattern of file names, or for a part of an address: it would
go by none of its settings, telemetry and the queue of runs among them, and say nothing."""


def recsys_home() -> Path:
    """`$RECSYS_HOME`, or `.recsys` below the current folder."""
    return Path(os.environ.get("RECSYS_HOME") or ".recsys").resolve()


def warehouse_folder() -> Path:
    """One DuckDB file a catalog."""
    return recsys_home() / "warehouse"


def snapshots_address() -> str:
    """Where snapshots are published, as it is written: a path, or an address of object storage."""
    return os.environ.get("RECSYS_SNAPSHOTS") or str(recsys_home() / "snapshots")


def snapshots_folder(written: str | None = None) -> "Folder":
    """One folder of published snapshots a catalog.

    Args:
        written: a path or an address of object storage; `$RECSYS_SNAPSHOTS` where left out.
    """
    from recsys_dagster.snapshots.remote import folder_of  # late: help needs none of it

    return folder_of(written or snapshots_address(), recsys_home() / "copies")


def models_folder() -> Path:
    """One folder of fitted models a catalog."""
    return recsys_home() / "models"


def downloads_folder() -> Path:
    """Copies of objects from elsewhere, each there only while it is read."""
    return recsys_home() / "downloads"


def encoders_folder() -> Path:
    """What is kept of encoders: how near half precision is to float32, static models."""
    return recsys_home() / "encoders"


def locks_folder() -> Path:
    """Which run is at which catalog, and who encodes."""
    return recsys_home() / "locks"


def keys_file() -> Path:
    """The keys that `recsys serve` knows."""
    return recsys_home() / "keys.json"


def prepare_dagster_home() -> Path:
    """Make Dagster's home and its settings where they are missing, and name it in the environment.

    With one home for the command line and the UI, a run started in one is seen in the other. A
    `dagster.yaml` that somebody changed is left alone; what it lacks is said at the start of
    runs and of the sensors (`automation/settings.py`).

    Raises:
        UserError: the settings could not be written, or would not be read there.
    """
    from importlib.resources import files

    home = Path(os.environ.get("DAGSTER_HOME") or recsys_home() / "dagster").resolve()
    if MISREAD.search(str(home)):
        raise UserError(
            f"{home}: Dagster finds neither its settings nor its databases in a folder whose path "
            "has [ ], ? or % with two digits in it: name another folder in DAGSTER_HOME."
        )
    home.mkdir(parents=True, exist_ok=True)
    settings = home / "dagster.yaml"
    shipped = files("recsys_dagster").joinpath("dagster.yaml").read_bytes()
    if not settings.exists() or _was_shipped(settings.read_bytes()):
        with whole_file(settings) as hidden:  # several may begin in a new home at once
            hidden.write_bytes(shipped)
    os.environ["DAGSTER_HOME"] = str(home)
    return home


def _was_shipped(content: bytes) -> bool:
    import hashlib

    return hashlib.sha256(content).hexdigest() in EARLIER_SETTINGS


if __name__ == "__main__":
    try:
        prepare_dagster_home()
    except UserError as error:
        sys.exit(f"Error {error}")
    except OSError as error:
        sys.exit(f"Error {unwritten(error.filename or recsys_home(), error)}")
