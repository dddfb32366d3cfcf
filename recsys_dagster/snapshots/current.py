"""Which snapshots of a catalog there are, and which one is current."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from recsys_dagster.errors import UserError
from recsys_dagster.snapshots.remote import Folder, here

CURRENT = "CURRENT"
MANIFEST = "manifest.json"
SNAPSHOT = re.compile(r"\d+T\d+-[^/\\\s]{1,100}")
"""Names of snapshots: when they were made, and the beginning of the run's id."""
FORMAT = 4


def published(folder: Folder) -> dict[str, str]:
    """The names of the current snapshots, by catalog.

    Args:
        folder: where all catalogs' snapshots lie.

    Raises:
        UserError: they lie elsewhere, and cannot be asked for.
    """
    if isinstance(folder, Path):
        catalogs = sorted(path.parent.name for path in folder.glob(f"*/{CURRENT}"))
    else:
        catalogs = folder.names_in()
    found = {catalog: current_name(folder, catalog) for catalog in catalogs}
    return {catalog: name for catalog, name in found.items() if name is not None}


def current_name(folder: Folder, catalog: str) -> str | None:
    """What `CURRENT` of a catalog says; None where nothing is published.

    Args:
        folder: where all catalogs' snapshots lie.
        catalog: whose.

    Raises:
        UserError: they lie elsewhere, and cannot be asked for.
    """
    if not isinstance(folder, Path):
        found = folder.read(f"{catalog}/{CURRENT}")
        if found is None:
            return None
        folder.keep(f"{catalog}/{CURRENT}", found[0])
        return found[0].decode(errors="replace").strip()
    try:
        written = (folder / catalog / CURRENT).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    return written.strip()


def required_name(folder: Folder, catalog: str) -> str:
    """The name of the current snapshot of a catalog.

    Args:
        folder: where all catalogs' snapshots lie.
        catalog: whose.

    Raises:
        UserError: nothing is published, what says so is damaged, or they lie elsewhere and cannot
            be asked for.
    """
    name = current_name(folder, catalog)
    if name is None:
        raise UserError(
            f"The catalog {catalog!r} has published nothing yet: run it first, with: "
            f"recsys run {catalog}"
        )
    if SNAPSHOT.fullmatch(name) is None:
        where = folder if isinstance(folder, Path) else folder.address
        raise UserError(
            f"{where}/{catalog}/{CURRENT}: this names no snapshot, the file is damaged: publish "
            f"again, with: recsys run {catalog}"
        )
    return name


def current_manifest(folder: Folder, catalog: str) -> Mapping[str, Any]:
    """What the manifest of the current snapshot says; nothing else is fetched.

    Args:
        folder: where all catalogs' snapshots lie.
        catalog: whose.

    Raises:
        UserError: as `Snapshot.current` does.
    """
    return manifest_of(folder, catalog, required_name(folder, catalog))


def manifest_of(folder: Folder, catalog: str, name: str) -> dict[str, Any]:
    """What the manifest of a snapshot says; nothing else is fetched.

    Args:
        folder: where all catalogs' snapshots lie.
        catalog: whose.
        name: the snapshot's own.

    Raises:
        UserError: the snapshot is not there, damaged or of another format.
    """
    again = f"publish again, with: recsys run {catalog}"
    path = here(folder) / catalog / name
    shown = str(path) if isinstance(folder, Path) else f"{folder.address}/{catalog}/{name}"
    try:
        text = (path / MANIFEST).read_bytes()
    except FileNotFoundError:
        there = None
        if not isinstance(folder, Path):
            there = folder.read(f"{catalog}/{name}/{MANIFEST}")
        if there is None:
            raise UserError(f"{shown}: this snapshot is not there any more: {again}") from None
        text, _ = there
    try:
        manifest = json.loads(text)
        written_in = manifest["format"]
    except (ValueError, TypeError, KeyError):
        raise UserError(
            f"{shown}/{MANIFEST}: this is no manifest, the snapshot is damaged: {again}"
        ) from None
    if written_in != FORMAT:
        raise UserError(
            f"{shown}: written in format {written_in}, this version reads {FORMAT}: {again}"
        )
    return manifest


def whole(folder: Folder, catalog: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The snapshots of a catalog that this version reads, name and manifest, the newest first.

    Args:
        folder: where all catalogs' snapshots lie.
        catalog: whose.

    Raises:
        UserError: they lie elsewhere, and cannot be asked for.
    """
    for name in names(folder, catalog):
        try:
            yield name, manifest_of(folder, catalog, name)
        except (UserError, OSError, KeyError):
            continue  # damaged: an older one says more


def names(folder: Folder, catalog: str) -> list[str]:
    """The names of a catalog's snapshots, the newest first, those that are not whole too.

    Args:
        folder: where all catalogs' snapshots lie.
        catalog: whose.

    Raises:
        UserError: they lie elsewhere, and cannot be asked for.
    """
    if isinstance(folder, Path):
        home = folder / catalog
        found = [path.name for path in home.iterdir() if path.is_dir()] if home.is_dir() else []
    else:
        found = folder.names_in(catalog)
    # They begin with the time: their order is that of the snapshots.
    return sorted((name for name in found if SNAPSHOT.fullmatch(name)), reverse=True)


def last_passed(folder: Folder, catalog: str) -> dict[str, Any] | None:
    """The manifest of the newest snapshot that no run was forced to publish; None where none is.

    What is newer than the current one was taken back, or never seen: its publisher was killed.

    Args:
        folder: where all catalogs' snapshots lie.
        catalog: whose.

    Raises:
        UserError: they lie elsewhere, and cannot be asked for.
    """
    current = current_name(folder, catalog) or ""
    manifests = (manifest for name, manifest in whole(folder, catalog) if name <= current)
    return next((each for each in manifests if each.get("gate", {}).get("passed", True)), None)


def served(folder: Folder, catalog: str, run_id: str) -> str:
    """What readers get after a run that failed, in words.

    Args:
        folder: where all catalogs' snapshots lie.
        catalog: whose run it was.
        run_id: the run.
    """
    try:
        manifest = current_manifest(folder, catalog)
    except UserError:
        if not isinstance(folder, Path) and (folder.here / catalog / CURRENT).exists():
            # They lie elsewhere, and cannot be asked for now.
            return "what was published before is still served"
        return "nothing is published yet"
    if manifest.get("run_id") == run_id:
        return "what it published before that is served"
    return "what was published before is still served"
