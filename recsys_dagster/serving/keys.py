"""Keys of programs and people: shown once, kept as hashes, each with a scope and a catalog."""

import base64
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path

from recsys_dagster.errors import UserError, did_you_mean
from recsys_dagster.writing import unwritten, whole_file

PREFIX = "rk"
ANY = "*"
SECRET_BYTES = 32
"""Of chance: so many that a plain SHA-256 cannot be turned back by guessing."""


class Scope(IntEnum):
    """What a key may do; each includes those before it."""

    READ = 1
    WRITE = 2
    ADMIN = 3

    @classmethod
    def named(cls, name: str) -> "Scope":
        """The scope of a name.

        Raises:
            UserError: there is no such scope.
        """
        names = [scope.name.lower() for scope in cls]
        if name not in names:
            raise UserError(f"--scope {name}: there is no such scope.{did_you_mean(name, names)}")
        return cls[name.upper()]


@dataclass(frozen=True)
class Key:
    """What is kept of a key.

    Attributes:
        id: by which it is known, no secret.
        sha256: of its secret, hexadecimal.
        scope: read, write or admin.
        catalog: that it is for; `*` for all.
        created_at: ISO 8601, UTC.
    """

    id: str
    sha256: str
    scope: str
    catalog: str
    created_at: str

    def allows(self, scope: Scope, catalog: str | None) -> bool:
        """Whether it may do this.

        Args:
            scope: that is needed.
            catalog: that is asked about; None where it is about all of them.
        """
        if Scope.named(self.scope) < scope:
            return False
        return self.catalog in (ANY, catalog) or (catalog is None and scope == Scope.READ)


class Keys:
    """The keys of a home, in a file that only its owner may read; read again when it changes."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read_at: tuple[int, int] | None = None
        self._keys: dict[str, Key] = {}

    def all(self) -> list[Key]:
        """Every key, the oldest first.

        Raises:
            UserError: the file is damaged.
        """
        try:
            found = self._file.stat()
        except FileNotFoundError:
            self._read_at, self._keys = None, {}
            return []
        seen = (found.st_mtime_ns, found.st_size)
        if seen != self._read_at:
            try:
                rows = json.loads(self._file.read_text(encoding="utf-8"))
                self._keys = {row["id"]: Key(**row) for row in rows}
            except (ValueError, TypeError, KeyError):
                raise UserError(
                    f"{self._file}: this is no file of keys: restore it, or delete it and make "
                    "new keys."
                ) from None
            self._read_at = seen
        return list(self._keys.values())

    def create(self, scope: Scope, catalog: str) -> tuple[Key, str]:
        """Make a key.

        Returns:
            what is kept of it, and the key itself, which nobody can read again.

        Raises:
            UserError: it could not be kept.
        """
        secret = base64.urlsafe_b64encode(secrets.token_bytes(SECRET_BYTES)).rstrip(b"=").decode()
        key = Key(
            secrets.token_hex(4),
            _hash(secret),
            scope.name.lower(),
            catalog,
            datetime.now(UTC).isoformat(timespec="seconds"),
        )
        with self._alone():
            self._write({each.id: each for each in self.all()} | {key.id: key})
        return key, f"{PREFIX}_{key.id}_{secret}"

    def revoke(self, key_id: str) -> None:
        """Forget a key.

        Raises:
            UserError: there is no such key.
        """
        with self._alone():
            keys = {each.id: each for each in self.all()}
            if key_id not in keys:
                raise UserError(f"There is no key {key_id!r}.{did_you_mean(key_id, list(keys))}")
            del keys[key_id]
            self._write(keys)

    def find(self, presented: str) -> Key | None:
        """The key that somebody presents; None where it is none of ours.

        It takes as long for a wrong key as for a right one.
        """
        self.all()
        prefix, _, rest = presented.partition("_")
        key_id, _, secret = rest.partition("_")
        key = self._keys.get(key_id)
        expected = key.sha256 if key is not None else "0" * 64
        is_right = hmac.compare_digest(_hash(secret), expected)
        return key if key is not None and is_right and prefix == PREFIX else None

    @contextmanager
    def _alone(self) -> Generator[None]:
        """Nobody else changes the keys in the block."""
        from filelock import FileLock

        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self._file.with_name(f".{self._file.name}.lock"))
        except OSError as error:
            raise unwritten(self._file, error) from None
        with lock:
            yield

    def _write(self, keys: Mapping[str, Key]) -> None:
        with whole_file(self._file) as hidden:
            hidden.unlink(missing_ok=True)  # left by a process that was killed
            descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(json.dumps([asdict(key) for key in keys.values()], indent=2) + "\n")
                file.flush()
                os.fsync(file.fileno())


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()
