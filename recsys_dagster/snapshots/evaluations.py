"""What evaluations found, one after the other, beside the snapshots: a line of JSON each.

The table `evaluation` is of the last one, in the warehouse. No user is named here.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsys_dagster.errors import UserError
from recsys_dagster.objects import OverwrittenError
from recsys_dagster.snapshots.remote import Folder, RemoteFolder
from recsys_dagster.writing import unwritten, whole_file

if TYPE_CHECKING:
    import pandas as pd

EVALUATIONS = "evaluations.jsonl"
KEPT = 200
TRIES = 5
"""How often an entry is added to a file elsewhere that others add to at the same time."""
KEYS = {"made_at", "run_id", "split", "champion", "strategies"}


def append(
    folder: Folder,
    catalog: str,
    run_id: str,
    made_at: "pd.Timestamp",
    split: str,
    champion: str,
    evaluation: "pd.DataFrame",
) -> None:
    """Add what was measured of all users; only the newest 200 entries are kept.

    Args:
        folder: where all catalogs' snapshots lie.
        catalog: whose it is.
        run_id: the Dagster run that measured.
        made_at: naive UTC.
        split: what was held back by: time, last, random or column.
        champion: the strategy that makes the catalog's lists.
        evaluation: table `evaluation`.

    Raises:
        UserError: it could not be written; the entries before are as they were.
    """
    entry = {
        "made_at": made_at.isoformat() + "Z",
        "run_id": run_id,
        "split": split,
        "champion": champion,
        "strategies": _figures(evaluation),
    }
    if not isinstance(folder, Path):
        _append_there(folder, f"{catalog}/{EVALUATIONS}", entry)
        return
    home = folder / catalog
    content = _with(read(folder, catalog), entry)
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritten(home, error) from None
    with whole_file(home / EVALUATIONS) as hidden:
        hidden.write_bytes(content)


def _append_there(folder: RemoteFolder, name: str, entry: Mapping[str, Any]) -> None:
    for _ in range(TRIES):
        content, tag = folder.read(name) or (b"", None)
        try:
            folder.write(name, _with(_entries(content), entry), tag)
        except OverwrittenError:
            continue
        return
    raise UserError(f"{folder.address}/{name}: others write it all the time.")


def _with(entries: Sequence[Mapping[str, Any]], entry: Mapping[str, Any]) -> bytes:
    return "".join(json.dumps(each) + "\n" for each in [*entries, entry][-KEPT:]).encode()


def read(folder: Folder, catalog: str) -> list[dict[str, Any]]:
    """What evaluations of a catalog found, the oldest first; damaged lines are passed over.

    An entry has `made_at` (ISO 8601, UTC), `run_id`, `split`, `champion` and `strategies`: name →
    metric → `value`, `low`, `high` (null where there is none) and `users`.

    Args:
        folder: where all catalogs' snapshots lie.
        catalog: whose.

    Raises:
        UserError: the file is there and cannot be read.
    """
    if not isinstance(folder, Path):
        there = folder.read(f"{catalog}/{EVALUATIONS}")
        return [] if there is None else _entries(there[0])
    file = folder / catalog / EVALUATIONS
    try:
        return _entries(file.read_bytes())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"{file}: it could not be read: {error}.") from None


def _entries(content: bytes) -> list[dict[str, Any]]:
    entries = []
    for line in content.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.keys() >= KEYS:
            entries.append(entry)
    return entries


def _figures(evaluation: "pd.DataFrame") -> dict[str, dict[str, dict[str, float | None]]]:
    """Strategy → metric → figures, of all users."""
    figures: dict[str, dict[str, dict[str, float | None]]] = {}
    for row in evaluation[evaluation["slice"] == "all"].to_dict("records"):
        figures.setdefault(row["strategy"], {})[row["metric"]] = {
            **{name: _number(row[name]) for name in ("value", "low", "high")},
            "users": int(row["users"]),
        }
    return figures


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
