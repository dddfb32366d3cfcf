"""Files of object storage: which ones a path means, and a copy here while one is read."""

import glob
import shutil
import tempfile
from collections.abc import Collection, Generator
from contextlib import contextmanager
from pathlib import Path

from recsys_dagster import objects
from recsys_dagster.errors import UserError, did_you_mean
from recsys_dagster.home import downloads_folder
from recsys_dagster.objects import StoredObject
from recsys_dagster.resources.sources.sniffing import suffix_of
from recsys_dagster.writing import unwritten

LONGEST_NAME = 200
"""Bytes of a copy's name, which ends as the object's does: that may be longer than a file's."""


def find_stored(address: str, in_folders: Collection[str]) -> dict[str, StoredObject]:
    """The objects that an address means, by their names in the source, sorted.

    As of files: one object, a pattern, or a folder with all that is in it and below.

    Args:
        address: with the scheme in front.
        in_folders: suffixes of what is read of a folder.

    Raises:
        UserError: there is no such object, or the storage cannot be asked.
    """
    found = _named(address)
    if found is None:
        return _in_folder(address, in_folders)
    names = [each.name for each in found]
    unique = len(set(names)) == len(names)
    return {each.name if unique else each.address: each for each in found}


def _named(address: str) -> list[StoredObject] | None:
    """What an address names by itself or by a pattern; None where it can only be a folder."""
    if glob.has_magic(address):
        found = objects.matching(address)
        is_hidden_meant = address.rpartition("/")[2].startswith(".")
        found = [each for each in found if is_hidden_meant or not each.name.startswith(".")]
        if found:
            return found
    stored = None if address.endswith("/") else objects.at(address)
    if stored is None and glob.has_magic(address):
        raise UserError(f"{address}: no object is called like this.")
    return None if stored is None else [stored]


def _in_folder(address: str, in_folders: Collection[str]) -> dict[str, StoredObject]:
    folder = address.rstrip("/") + "/"
    inside = objects.below(folder)
    if not inside:
        parent, _, last = address.rstrip("/").rpartition("/")
        siblings = objects.names_in(parent) if not parent.endswith("/") else []
        others = [name for name in siblings if name != last]  # it may be there, with nothing in it
        raise UserError(
            f"{address}: there is no such object, and no folder with objects in it."
            f"{did_you_mean(last, others)}"
        )
    found = {
        name: each
        for each in inside
        if suffix_of(Path(name := each.address.removeprefix(folder))) in in_folders
        and not any(part.startswith((".", "_")) for part in name.split("/"))
    }
    if not found:
        raise UserError(
            f"{address}: the folder has no {', '.join(in_folders)} file. Others are named by "
            f"themselves or by a pattern, such as {folder}*.txt."
        )
    return dict(sorted(found.items()))


@contextmanager
def copied(stored: StoredObject) -> Generator[Path]:
    """A copy of an object in a file of the same name, for as long as the block lasts.

    Raises:
        UserError: the object vanished or changed, or there is no room for it. What is said in the
            block of the copy is said of the object.
    """
    home = downloads_folder()
    try:
        home.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=home))
    except OSError as error:
        raise unwritten(home, error) from None
    copy = folder / stored.name.encode()[-LONGEST_NAME:].decode(errors="ignore")
    try:
        objects.download(stored, copy)
        yield copy
    except UserError as error:
        raise UserError(str(error).replace(str(copy), stored.address)) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
