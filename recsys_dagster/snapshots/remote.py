"""A folder of object storage and copies of what is in it here, where everything is read.

What it holds is written once and never changes, but for small files that say which of it counts.
Object storage renames nothing: a folder is whole when its last object is there, and counts when a
small file names it, which is written only if nobody else wrote it meanwhile.
"""

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from recsys_dagster import objects
from recsys_dagster.errors import UserError
from recsys_dagster.writing import modified, remove_older, unwritten, whole_file

COPIES = 3
"""Of the folders beside each other so many are kept here; somebody may still read the last one."""
HALF_FOR_SECONDS = 86_400.0
"""What is being fetched for longer than this is what a process left that was killed."""


@dataclass(frozen=True)
class RemoteFolder:
    """Names are paths in it, parts joined by `/`, the same there and here.

    Attributes:
        address: of the folder, such as s3://bucket/snapshots.
        here: the copies.
    """

    address: str
    here: Path

    def read(self, name: str) -> tuple[bytes, str] | None:
        """A small file and the tag to write it with; None where there is none.

        Raises:
            UserError: the storage cannot be asked.
        """
        return objects.read(f"{self.address}/{name}")

    def sent_at(self, name: str) -> float | None:
        """When a file was written there, in Unix seconds; None where there is none.

        By the storage's clock: that of the machine that wrote it may be wrong.

        Raises:
            UserError: the storage cannot be asked.
        """
        found = objects.at(f"{self.address}/{name}")
        return None if found is None else found.modified / 1e9

    def write(self, name: str, content: bytes, tag: str | None) -> None:
        """Write a small file there if it is still what was read, and then here.

        Args:
            name: of the file.
            content: the whole of it.
            tag: as it was read with; None where there was none.

        Raises:
            OverwrittenError: somebody else wrote it meanwhile.
            UserError: it could not be written.
        """
        objects.write(f"{self.address}/{name}", content, tag)
        self.keep(name, content)

    def keep(self, name: str, content: bytes) -> None:
        """Have a small file here as it is there."""
        copy = self.here / name
        try:
            if copy.is_file() and copy.read_bytes() == content:
                return
            copy.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritten(copy, error) from None
        with whole_file(copy) as hidden:
            hidden.write_bytes(content)

    def names_in(self, name: str = "") -> list[str]:
        """The files and folders in a folder, by their last part, sorted.

        Raises:
            UserError: the storage cannot be asked.
        """
        return objects.names_in(f"{self.address}/{name}")

    def bring(self, name: str, verify: Callable[[Path], None]) -> Path:
        """The copy of a folder here; fetched where it is not there yet, whole or not at all.

        Args:
            name: of the folder.
            verify: fails where what was fetched is not what it should be.

        Raises:
            UserError: the folder is not there, cannot be fetched, or is damaged.
        """
        copy = self.here / name
        if copy.is_dir():
            return copy
        try:
            copy.parent.mkdir(parents=True, exist_ok=True)
            hidden = Path(tempfile.mkdtemp(prefix=f".{copy.name}-", dir=copy.parent))
        except OSError as error:
            raise unwritten(copy.parent, error) from None
        try:
            for stored in objects.below(f"{self.address}/{name}"):
                inside = stored.address.removeprefix(f"{self.address}/{name}/")
                if not objects.NO_NAMES.isdisjoint(inside.split("/")):
                    # Whoever may write there must not write anywhere here.
                    raise UserError(f"{stored.address}: this is no file of a snapshot: delete it.")
                file = hidden / inside
                file.parent.mkdir(parents=True, exist_ok=True)
                objects.download(stored, file)
            verify(hidden)
            hidden.chmod(0o755)
            try:
                hidden.rename(copy)
            except OSError:
                if not copy.is_dir():  # another process was faster
                    raise
        except OSError as error:
            raise unwritten(copy.parent, error) from None
        finally:
            shutil.rmtree(hidden, ignore_errors=True)
        self._forget_old(copy)
        return copy

    def _forget_old(self, newest: Path) -> None:
        """Delete copies beside one that was just fetched: those of long ago, and halves."""
        beside = sorted(
            (path for path in newest.parent.iterdir() if path.is_dir() and path != newest),
            key=modified,
            reverse=True,
        )
        whole = [path for path in beside if not path.name.startswith(".")]
        for path in whole[COPIES - 1 :]:
            shutil.rmtree(path, ignore_errors=True)
        halves = (path for path in beside if path.name.startswith("."))
        remove_older(halves, time.time() - HALF_FOR_SECONDS)

    def send(self, name: str, last: str) -> None:
        """Put a folder there as it is here.

        Args:
            name: of the folder.
            last: the file in it that is sent after all others.

        Raises:
            UserError: the storage did not take it; what it took is still there.
        """
        folder = self.here / name
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        for path in sorted(files, key=lambda path: path == folder / last):
            inside = path.relative_to(folder).as_posix()
            objects.upload(path, f"{self.address}/{name}/{inside}")

    def remove(self, name: str, first: str) -> None:
        """Delete a folder there.

        Args:
            name: of the folder.
            first: the file in it that goes before all others.

        Raises:
            UserError: the storage cannot be asked.
        """
        found = [each.address for each in objects.below(f"{self.address}/{name}")]
        whole = f"{self.address}/{name}/{first}"
        objects.remove(sorted(found, key=lambda address: address != whole))


Folder = Path | RemoteFolder
"""Where snapshots lie: a folder of this machine, or one of object storage."""


def folder_of(written: str, copies: Path) -> Folder:
    """The folder that a path or an address means.

    Args:
        written: a path of this machine, or an address of object storage.
        copies: where copies of remote folders go.
    """
    if not objects.is_address(written):
        return Path(written).expanduser().resolve()
    address = written.rstrip("/")
    return RemoteFolder(address, copies / sha256(address.encode()).hexdigest()[:12])


def here(folder: Folder) -> Path:
    """Where a folder is read on this machine."""
    return folder if isinstance(folder, Path) else folder.here
