"""Snapshots are written whole and made current by one rename.

A snapshot is written beside the others under a hidden name, renamed when it is whole, and made
current by replacing the one-line file `CURRENT`: both are atomic renames, so a reader sees the
old snapshot or the new one, never a half. On object storage it is sent under its own name, which
nobody reads before `CURRENT` names it; that is written last, and only if it is what it was.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from recsys_dagster.errors import UnknownNameError, UserError, did_you_mean
from recsys_dagster.objects import OverwrittenError
from recsys_dagster.snapshots.current import (
    CURRENT,
    FORMAT,
    MANIFEST,
    SNAPSHOT,
    current_manifest,
    current_name,
    last_passed,
    names,
    required_name,
    whole,
)
from recsys_dagster.snapshots.model_files import link_model, read_manifest
from recsys_dagster.snapshots.reader import MODEL, TABLES, Snapshot
from recsys_dagster.snapshots.remote import HALF_FOR_SECONDS, Folder, RemoteFolder, here
from recsys_dagster.writing import remove_older, unwritten

ROWS_OF_GROUP = {"histories": 4_096, "items": 4_096}
MANY_ROWS_OF_GROUP = 65_536
"""Tables are sorted and their row groups small, so that what is asked of one user or item reads one
of them; those whose rows are long have the smaller ones."""


class OvertakenError(UserError):
    """Somebody else made another snapshot current meanwhile."""


def publish(
    folder: Folder,
    catalog: str,
    run_id: str,
    made_at: pd.Timestamp,
    tables: Mapping[str, pa.Table],
    about: Mapping[str, Any],
    model: Path,
    settings: Mapping[str, Any],
    began: float | None = None,
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
        began: when the run began, in Unix seconds. What another machine published since, of tables
            that it may have read later, is not replaced; None does not ask.

    Returns:
        the snapshot's folder on this machine.

    Raises:
        UserError: it could not be written, or somebody else published meanwhile; what was current
            before, or what they published, is current.
    """
    home = here(folder) / catalog
    tag = _tag_of_current(folder, catalog)
    if began is not None:
        _require_not_overtaken(folder, catalog, run_id, began)
    name = _name(folder, catalog, made_at, run_id)
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
        if isinstance(folder, Path):
            make_current(home, name)
        else:
            _send(folder, catalog, name, tag)
    except OSError as error:
        raise unwritten(home, error) from None
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    return home / name


def _name(folder: Folder, catalog: str, made_at: pd.Timestamp, run_id: str) -> str:
    """The name of a new snapshot: after all others, also where the clock was put back.

    Which snapshot was before which is told by their names, for going back and for cleaning up.
    """
    stamp = f"{made_at:%Y%m%dT%H%M%S%f}"
    last = next(iter(names(folder, catalog)), "").partition("-")[0]
    if stamp <= last:
        day, clock = last.split("T")
        stamp = f"{day}T{int(clock) + 1:0{len(clock)}}"
    return f"{stamp}-{run_id[:8]}"


def _model(folder: Path, into: Path) -> dict[str, Any]:
    link_model(folder, into)
    return read_manifest(into)


def _tag_of_current(folder: Folder, catalog: str) -> str | None:
    """What a conditional write of `CURRENT` needs; None where there is none to be replaced."""
    found = None if isinstance(folder, Path) else folder.read(f"{catalog}/{CURRENT}")
    return None if found is None else found[1]


def _require_not_overtaken(folder: Folder, catalog: str, run_id: str, began: float) -> None:
    """See that no other machine published since a run began; runs of one wait for each other."""
    if isinstance(folder, Path):
        return
    try:
        current = current_manifest(folder, catalog)
        sent_at = folder.sent_at(f"{catalog}/{current['snapshot']}/{MANIFEST}")
    except UserError:
        return  # nothing is published, or nothing that anybody can read
    if current["run_id"] != run_id and sent_at is not None and sent_at > began:
        raise OvertakenError(
            f"{folder.address}/{catalog}: {current['snapshot']} was published by another machine "
            "after this run began, and stays current: what this run has read may be older. Let one "
            f"machine at a time run {catalog!r}; running again publishes in the place of theirs."
        )


def _send(folder: RemoteFolder, catalog: str, name: str, tag: str | None) -> None:
    """Send a snapshot that is whole here, and make it current.

    Raises:
        UserError: it could not be sent, or somebody else published meanwhile.
    """
    try:
        folder.send(f"{catalog}/{name}", last=MANIFEST)
        _point_to(folder, catalog, name, tag)
    except OvertakenError:
        _take_back(folder, catalog, name)
        raise
    except BaseException:
        # Not there: an answer that got lost may have been that it is current.
        shutil.rmtree(folder.here / catalog / name, ignore_errors=True)
        raise


def _point_to(folder: RemoteFolder, catalog: str, name: str, tag: str | None) -> None:
    try:
        folder.write(f"{catalog}/{CURRENT}", f"{name}\n".encode(), tag)
    except OverwrittenError:
        now = current_name(folder, catalog)
        if now != name:  # else it was our own write, repeated because its answer got lost
            raise OvertakenError(
                f"{folder.address}/{catalog}: {now or 'nothing'} was made current by somebody else "
                "meanwhile, and stays so: nothing was published now. Let one machine at a time run "
                f"{catalog!r}; running again publishes in the place of theirs."
            ) from None


def _take_back(folder: RemoteFolder, catalog: str, name: str) -> None:
    shutil.rmtree(folder.here / catalog / name, ignore_errors=True)
    with suppress(UserError):  # cleaning up takes what is left
        folder.remove(f"{catalog}/{name}", first=MANIFEST)


def roll_back(folder: Folder, catalog: str, to: str | None = None) -> tuple[str, str]:
    """Make an older snapshot current again.

    Args:
        folder: where all catalogs' snapshots lie.
        catalog: whose.
        to: the snapshot's name; the one before the current one where left out.

    Returns:
        the name of the one that was current, and of the one that is.

    Raises:
        UserError: there is no such snapshot, it is damaged, or somebody else published meanwhile.
    """
    tag = _tag_of_current(folder, catalog)
    before = required_name(folder, catalog)
    if to is None:
        to = next((name for name, _ in whole(folder, catalog) if name < before), None)
        if to is None:
            raise UserError(
                f"The catalog {catalog!r} has no older snapshot than the current one, {before}."
            )
    known = names(folder, catalog)
    if to not in known:
        raise UnknownNameError(
            f"The catalog {catalog!r} has no snapshot {to!r}.{did_you_mean(to, known)}"
        )
    # Here it may be whole, and there a half that its publisher was killed with.
    if not isinstance(folder, Path) and folder.read(f"{catalog}/{to}/{MANIFEST}") is None:
        raise UserError(f"{folder.address}/{catalog}/{to}: this snapshot is not whole there.")
    Snapshot.named(folder, catalog, to).verify()
    if isinstance(folder, Path):
        make_current(folder / catalog, to)
    else:
        _point_to(folder, catalog, to, tag)
    return before, to


def remove_old(folder: Folder, catalog: str, keep: int) -> int:
    """Delete old snapshots of a catalog; how many they were.

    The current one stays, and the last one that passed the gate: checks compare with it.

    Args:
        folder: where all catalogs' snapshots lie.
        catalog: whose.
        keep: how many to keep.

    Raises:
        UserError: they lie elsewhere, and cannot be asked for.
    """
    passed = last_passed(folder, catalog)
    kept = {current_name(folder, catalog), passed["snapshot"] if passed is not None else None}
    old = [name for name in names(folder, catalog)[keep:] if name not in kept]
    home = here(folder) / catalog
    for name in old:
        if not isinstance(folder, Path):
            folder.remove(f"{catalog}/{name}", first=MANIFEST)
        _remove(home / name, ignore_errors=not isinstance(folder, Path))
    _remove_halves(home)
    return len(old)


def _remove(snapshot: Path, *, ignore_errors: bool) -> None:
    """Delete a snapshot; killed anywhere, what is left of it is hidden.

    Nobody goes back to a half, and it is taken like the halves of publishers.
    """
    hidden = snapshot.with_name(f".{snapshot.name}")
    with suppress(OSError) if ignore_errors else nullcontext():
        snapshot.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=ignore_errors)


def _remove_halves(home: Path) -> None:
    """Delete what a publisher left that was killed long ago."""
    halves = (
        path
        for path in (home.iterdir() if home.is_dir() else ())
        if path.name.startswith(".") and SNAPSHOT.fullmatch(path.name[1:])
    )
    remove_older(halves, time.time() - HALF_FOR_SECONDS)


def models_of(folder: Folder, catalog: str) -> set[str]:
    """The fingerprints of the models that the snapshots of a catalog hold which are here."""
    manifests = (here(folder) / catalog).glob(f"*/{MODEL}/{MANIFEST}")
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
