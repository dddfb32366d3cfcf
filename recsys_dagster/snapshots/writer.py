"""Snapshots are written whole and made current by one rename.

A snapshot is written beside the others under a hidden name, renamed when it is whole, and made
current by replacing the one-line file `CURRENT`: both are atomic renames, so a reader sees the
old snapshot or the new one, never a half.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from recsys_dagster.snapshots.model_files import link_model, read_manifest
from recsys_dagster.snapshots.reader import (
    CURRENT,
    FORMAT,
    MANIFEST,
    MODEL,
    TABLES,
    last_passed,
)
from recsys_dagster.writing import unwritten

ROWS_OF_GROUP = {"histories": 4_096, "items": 4_096}
MANY_ROWS_OF_GROUP = 65_536
"""Tables are sorted and their row groups small, so that what is asked of one user or item reads one
of them; those whose rows are long have the smaller ones."""


def publish(
    folder: Path,
    catalog: str,
    run_id: str,
    made_at: pd.Timestamp,
    tables: Mapping[str, pa.Table],
    about: Mapping[str, Any],
    model: Path,
    settings: Mapping[str, Any],
) -> Path:
    """Write a snapshot and make it current.

    Args:
        folder: where all catalogs' snapshots lie.
        catalog: whose it is.
        run_id: the Dagster run that publishes.
        made_at: naive UTC.
        tables: the tables of `TABLES` by name.
        about: what else the manifest says: settings, and what the tables were made from.
        model: the folder of the model that made the lists; the snapshot holds it too.
        settings: of its strategy.

    Returns:
        the snapshot's folder.

    Raises:
        UserError: it could not be written; what was current before is current.
    """
    home = folder / catalog
    name = f"{made_at:%Y%m%dT%H%M%S%f}-{run_id[:8]}"
    hidden = home / f".{name}"
    shutil.rmtree(hidden, ignore_errors=True)
    try:
        hidden.mkdir(parents=True)
        files = {table: _write(hidden, table, tables[table]) for table in TABLES}
        manifest = {
            "format": FORMAT,
            "catalog": catalog,
            "snapshot": name,
            "run_id": run_id,
            "made_at": made_at.isoformat() + "Z",
            **about,
            "model": _model(model, hidden / MODEL) | {"settings": settings},
            "files": files,
        }
        _write_text(hidden / MANIFEST, json.dumps(manifest, indent=2) + "\n")
        hidden.rename(home / name)
        make_current(home, name)
    except OSError as error:
        raise unwritten(home, error) from None
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    return home / name


def _model(folder: Path, into: Path) -> dict[str, Any]:
    link_model(folder, into)
    return read_manifest(into)


def remove_old(folder: Path, catalog: str, keep: int) -> int:
    """Delete old snapshots of a catalog; how many they were.

    The current one stays, and the last one that passed the gate: checks compare with it.

    Args:
        folder: where all catalogs' snapshots lie.
        catalog: whose.
        keep: how many to keep.
    """
    home = folder / catalog
    if not home.is_dir():
        return 0
    current = (home / CURRENT).read_text("utf-8").strip() if (home / CURRENT).exists() else ""
    # Names begin with the time: their order is that of the snapshots.
    names = sorted((path.name for path in home.iterdir() if path.is_dir()), reverse=True)
    whole = [name for name in names if not name.startswith(".")]
    passed = last_passed(folder, catalog)
    kept = {current, passed.path.name if passed is not None else ""}
    old = [name for name in whole[keep:] if name not in kept]
    for name in old:
        shutil.rmtree(home / name)
    return len(old)


def models_of(folder: Path, catalog: str) -> set[str]:
    """The fingerprints of the models that the kept snapshots of a catalog hold."""
    manifests = (folder / catalog).glob(f"*/{MODEL}/{MANIFEST}")
    return {read_manifest(path.parent)["fingerprint"] for path in manifests}


def make_current(home: Path, name: str) -> None:
    """Let readers of a catalog's folder see the snapshot `name` from now on."""
    beside = home / f".{CURRENT}-{name}"
    try:
        _write_text(beside, name + "\n")
        beside.replace(home / CURRENT)
    finally:
        beside.unlink(missing_ok=True)


def _write(folder: Path, name: str, table: pa.Table) -> dict[str, Any]:
    path = folder / f"{name}.parquet"
    rows = ROWS_OF_GROUP.get(name, MANY_ROWS_OF_GROUP)
    pq.write_table(table, path, compression="zstd", row_group_size=rows)
    with path.open("rb") as file:
        os.fsync(file.fileno())
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"rows": table.num_rows, "bytes": path.stat().st_size, "sha256": digest}


def _write_text(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
