"""Fitted models on disk: a folder each, whole or not at all, arrays mapped where they are read.

`manifest.json` beside `arrays.safetensors`, a format without code in it, whatever is in the file.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from recsys_dagster.errors import UserError
from recsys_dagster.snapshots.current import MANIFEST
from recsys_dagster.snapshots.reader import ARRAYS
from recsys_dagster.writing import remove_older, unwritten

FORMAT = 1
DTYPES = {
    "F16": np.float16,
    "F32": np.float32,
    "F64": np.float64,
    "I32": np.int32,
    "I64": np.int64,
    "U16": np.uint16,
    "U8": np.uint8,
}
"""Names of number formats in a file of safetensors."""


def write_model(
    home: Path, fingerprint: str, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]
) -> Path:
    """Keep a model: written under a hidden name, renamed when it is whole and on the disk.

    Args:
        home: the folder of a catalog's models.
        fingerprint: of all that it was made from; what is there under it is replaced.
        arrays: what was learned.
        about: what the manifest says beside format, bytes and checksum.

    Returns:
        the model's folder.

    Raises:
        UserError: it could not be written; nothing half-written is left.
    """
    from safetensors.numpy import save_file

    hidden = home / f".{fingerprint}-{os.getpid()}"
    shutil.rmtree(hidden, ignore_errors=True)
    try:
        hidden.mkdir(parents=True)
        file = hidden / ARRAYS
        save_file({name: np.asarray(array, order="C") for name, array in arrays.items()}, file)
        with file.open("rb") as written:
            os.fsync(written.fileno())
            digest = hashlib.file_digest(written, "sha256").hexdigest()
        manifest = {"format": FORMAT, **about, "bytes": file.stat().st_size, "sha256": digest}
        with (hidden / MANIFEST).open("w", encoding="utf-8") as written:
            written.write(json.dumps(manifest, indent=2) + "\n")
            written.flush()
            os.fsync(written.fileno())
        _put_in_place(hidden, home / fingerprint)
    except OSError as error:
        raise unwritten(home, error) from None
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    return home / fingerprint


def _put_in_place(hidden: Path, folder: Path) -> None:
    """Rename a whole folder to its own name; what was there before goes when that is done."""
    before = hidden.with_name(hidden.name + "-before")
    shutil.rmtree(before, ignore_errors=True)
    if folder.exists():
        folder.rename(before)
    try:
        hidden.rename(folder)
    except BaseException:
        if before.exists():
            before.rename(folder)
        raise
    shutil.rmtree(before, ignore_errors=True)


def read_manifest(folder: Path) -> dict[str, Any]:
    """What the manifest of a model says.

    Raises:
        UserError: there is no model there, or it is damaged or of another format.
    """
    again = "recsys run fits it again"
    try:
        manifest = _mapping((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{folder}: there is no model here: {again}.") from None
    except ValueError:
        raise UserError(
            f"{folder / MANIFEST}: this is no manifest, it is damaged: {again}."
        ) from None
    if manifest.get("format") != FORMAT:
        raise UserError(
            f"{folder}: a model of format {manifest.get('format')}, this version reads {FORMAT}: "
            f"{again}."
        )
    return manifest


def _mapping(text: str | bytes) -> dict[str, Any]:
    """JSON that is an object; a ValueError where it is something else."""
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError(f"expected a mapping; found {type(found).__name__}")
    return found


def read_arrays(folder: Path) -> dict[str, np.ndarray]:
    """The arrays of a model, mapped from the file: read-only, and read when they are used.

    Raises:
        UserError: there is no model there, or the file is cut off or none of safetensors.
    """
    file = folder / ARRAYS
    try:
        mapped = np.memmap(file, mode="r", dtype=np.uint8)
        start = 8 + int.from_bytes(mapped[:8].tobytes(), "little")
        described = _mapping(mapped[8:start].tobytes())
        described.pop("__metadata__", None)
        return {
            name: mapped[start + first : start + end].view(DTYPES[dtype]).reshape(shape)
            for name, (dtype, shape, (first, end)) in (
                (name, (each["dtype"], each["shape"], each["data_offsets"]))
                for name, each in described.items()
            )
        }
    except FileNotFoundError:
        raise UserError(f"{file}: the file is missing: recsys run fits the model again.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{file}: this is no whole file of arrays ({error}): recsys run fits the model again."
        ) from None


def is_as_written(folder: Path, manifest: Mapping[str, Any]) -> bool:
    """Whether the arrays of a model have the checksum that its manifest says."""
    with (folder / ARRAYS).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == manifest.get("sha256")


def link_model(folder: Path, into: Path) -> None:
    """Put a model's files into a folder: as links where the disk is the same, else as copies."""
    into.mkdir()
    for name in (ARRAYS, MANIFEST):
        try:
            os.link(folder / name, into / name)
        except OSError:
            shutil.copyfile(folder / name, into / name)


def remove_models(home: Path, kept: Iterable[str], before: datetime) -> int:
    """Delete a catalog's models but for those named by fingerprint; how many they were.

    Args:
        home: the folder of a catalog's models.
        kept: fingerprints.
        before: what was written later stays: a run may be about to name it.
    """
    names = set(kept)
    others = (path for path in (home.iterdir() if home.is_dir() else ()) if path.name not in names)
    return remove_older(others, before.timestamp())
