"""Object storage: what lies at addresses such as s3://bucket/folder/file, through fsspec.

Credentials and endpoints come from the environment, where the libraries look for them; none is
part of an address, a log or a message. An object is there whole or not at all, and its tag is
another one once it was written again.
"""

import glob
import os
import re
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from recsys_dagster.errors import UserError, install
from recsys_dagster.writing import reason_of, unwritten


class _Kind(NamedTuple):
    """A kind of storage: its library, the extra that installs it, and what says who asks."""

    library: str
    extra: str
    credentials: str


KINDS = {
    "s3": _Kind("s3fs", "s3", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"),
    "gs": _Kind("gcsfs", "gcs", "GOOGLE_APPLICATION_CREDENTIALS"),
    "az": _Kind("adlfs", "azure", "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY"),
}
"""By what an address begins with."""
ADDRESS = re.compile(rf"({'|'.join(KINDS)})://(?P<bucket>[^/]+)(/|$)")
WITH_PASSWORD = re.compile(r"://[^/]*:[^/]*@")
TAGS = ("ETag", "generation", "etag")
"""What tells two contents of an object apart: S3's name of it, Google's and Azure's."""
TIMES = ("LastModified", "updated", "last_modified")
OVERWRITTEN = {
    "PreconditionFailed",
    "ConditionalRequestConflict",
    "ConditionNotMet",
    "BlobAlreadyExists",
    "NoSuchKey",
    "BlobNotFound",
    "412",
}
"""What storages call it that an object is not what a write expects it to be."""
NO_NAMES = {"", ".", ".."}
"""Parts of an address that would leave the folder where they are joined to a path here."""
NO_BUCKET = {"NoSuchBucket", "ContainerNotFound"}
REFUSED_UNSAID = "400"
"""What S3 says of a session that has ended where an answer has no body."""
UNREACHABLE = re.compile(r"Connect|Timeout|DNS|HTTPClientError|ServiceRequestError|Payload")
NO_CREDENTIALS = re.compile(r"Credential|ClientAuthentication|RefreshError")


class OverwrittenError(Exception):
    """An object was not written, because somebody else wrote it before."""


@dataclass(frozen=True)
class StoredObject:
    """An object as a listing shows it.

    Attributes:
        address: with the scheme in front.
        size: in bytes.
        modified: Unix time in nanoseconds, by the storage's clock.
        tag: another one for every content.
    """

    address: str
    size: int
    modified: int
    tag: str

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.address.rpartition("/")[2]


def is_address(text: str) -> bool:
    """Whether a text is an address of object storage, and no path of this machine."""
    return text.startswith(tuple(f"{scheme}://" for scheme in KINDS))


def at(address: str) -> StoredObject | None:
    """The object at an address; None where there is none, or a folder.

    Raises:
        UserError: the storage cannot be asked, or there is no such bucket.
    """
    with _told(address) as storage:
        try:
            found = storage.info(address)
        except FileNotFoundError as error:
            if _code(error) in NO_BUCKET:
                raise
            return None
    return next(_objects(address, [found]), None)


def below(address: str) -> list[StoredObject]:
    """All objects in a folder and below, sorted by address; none where there is no such folder.

    Raises:
        UserError: the storage cannot be asked, or there is no such bucket.
    """
    with _told(address) as storage:
        found = storage.find(address.rstrip("/") + "/", detail=True)
    return sorted(_objects(address, found.values()), key=lambda each: each.address)


def matching(pattern: str) -> list[StoredObject]:
    """The objects whose address is of a pattern, where `**` means any depth; sorted by address.

    Raises:
        UserError: the storage cannot be asked, or there is no such bucket.
    """
    with _told(pattern) as storage:
        found = storage.glob(pattern, detail=True)
        if not found:  # of no bucket as of no object
            _require_bucket(storage, pattern)
    return sorted(_objects(pattern, found.values()), key=lambda each: each.address)


def names_in(address: str) -> list[str]:
    """What lies in a folder, objects and folders by their last part, sorted.

    Raises:
        UserError: the storage cannot be asked, or there is no such bucket.
    """
    with _told(address) as storage:
        try:
            found = storage.ls(address.rstrip("/") + "/", detail=False)
        except FileNotFoundError as error:
            if _code(error) in NO_BUCKET:
                raise
            return []
    return sorted({name.rstrip("/").rpartition("/")[2] for name in found} - NO_NAMES)


def read(address: str) -> tuple[bytes, str] | None:
    """The content of a small object and the tag that goes with it; None where there is none.

    Raises:
        UserError: the storage cannot be asked.
    """
    while (before := at(address)) is not None:
        with _told(address) as storage:
            try:
                content = storage.cat_file(address)
            except FileNotFoundError:
                continue
        after = at(address)
        if after is not None and after.tag == before.tag:
            return content, after.tag
    return None


def download(stored: StoredObject, path: Path) -> None:
    """Write an object's content to a file.

    Raises:
        UserError: the object vanished, or is another one than that of the listing; or the file
            could not be written.
    """
    try:
        with _told(stored.address) as storage:
            try:
                storage.get_file(stored.address, str(path))
            except FileNotFoundError:
                raise _vanished(stored) from None
    except OSError as error:
        raise unwritten(path.parent, error) from None
    now = at(stored.address)
    if now is None:
        raise _vanished(stored)
    if now.tag != stored.tag or path.stat().st_size != stored.size:
        raise UserError(
            f"{stored.address}: the object changed while it was read, and nothing of it was "
            "taken: run again when it is complete."
        )


def _vanished(stored: StoredObject) -> UserError:
    return UserError(f"{stored.address}: the object vanished while it was read.")


def upload(path: Path, address: str) -> None:
    """Write a file's content to an object, in the place of what is there.

    Raises:
        UserError: the storage did not take it.
    """
    with _told(address) as storage:
        storage.put_file(str(path), address)


def write(address: str, content: bytes, tag: str | None) -> None:
    """Write a small object, if it is still what it was.

    Args:
        address: where.
        content: the whole of it.
        tag: of the object that is replaced; None where there must be none.

    Raises:
        OverwrittenError: it is another one by now.
        UserError: the storage did not take it.
    """
    with _told(address) as storage:
        try:
            if tag is None:
                storage.pipe_file(address, content, mode="create")
            else:
                _replace(storage, address, content, tag)
        except Exception as error:
            if isinstance(error, FileExistsError) or _code(error) in OVERWRITTEN:
                raise OverwrittenError(address) from None
            raise


def _replace(storage: Any, address: str, content: bytes, tag: str) -> None:
    scheme = address.partition("://")[0]
    if scheme == "s3":
        storage.pipe_file(address, content, IfMatch=tag)
    elif scheme == "az":
        from azure.core import MatchConditions  # ty: ignore[import-not-found]

        condition = MatchConditions.IfNotModified
        storage.pipe_file(address, content, etag=tag, match_condition=condition)
    else:  # gcsfs has no word for it
        bucket, name, _ = storage.split_path(address)
        storage.call(
            "POST",
            f"{storage._location}/upload/storage/v1/b/{bucket}/o",
            uploadType="media",
            name=name,
            ifGenerationMatch=tag,
            data=content,
        )


def remove(addresses: Iterable[str]) -> None:
    """Delete objects, one after the other; those that are not there are passed over.

    Raises:
        UserError: the storage cannot be asked.
    """
    for address in addresses:
        with _told(address) as storage:
            try:
                storage.rm_file(address)
            except FileNotFoundError as error:
                if _code(error) in NO_BUCKET:
                    raise


def _objects(address: str, found: Iterable[Mapping[str, Any]]) -> Iterator[StoredObject]:
    scheme = address.partition("://")[0]
    for each in found:
        if each["type"] != "file" or each["name"].endswith("/"):
            continue
        try:
            modified = next(each[name] for name in TIMES if each.get(name))
            if isinstance(modified, str):
                modified = datetime.fromisoformat(modified)
            tag = next(str(each[name]) for name in TAGS if each.get(name))
            seconds = modified.timestamp()
        except (StopIteration, ValueError, AttributeError):
            raise UserError(
                f"{address}: what answers there is no object storage{_endpoint(scheme)}."
            ) from None
        yield StoredObject(f"{scheme}://{each['name']}", each["size"], int(seconds * 1e9), tag)


@cache
def _storage(scheme: str, process: int) -> Any:
    """A file system of fsspec that remembers no listing. It must not be taken into a fork."""
    import fsspec

    return fsspec.filesystem(scheme, use_listings_cache=False, skip_instance_cache=True)


def _require_bucket(storage: Any, pattern: str) -> None:
    fixed = re.split(r"[*?\[]", pattern, maxsplit=1)[0].rpartition("/")[0]
    try:
        storage.ls(fixed, detail=False)
    except FileNotFoundError as error:
        if _code(error) in NO_BUCKET:
            raise


@contextmanager
def _told(address: str) -> Generator[Any]:
    """The storage of an address; what its library says against it becomes an error for people.

    Raises:
        UserError: whatever the reason.
        OSError: of this machine's disk.
    """
    if WITH_PASSWORD.search(address):
        raise UserError(
            "An address of object storage has a password in it: credentials are taken from the "
            "environment, and belong into no file. Write it as s3://bucket/folder."
        )
    match = ADDRESS.match(address)
    if match is None:
        raise UserError(f"{address}: there is no bucket in it: expected s3://bucket/folder/….")
    scheme, bucket = match[1], match["bucket"]
    if glob.has_magic(bucket):
        raise UserError(
            f"{address}: a pattern is of objects in one bucket, which has its full name."
        )
    try:
        yield _storage(scheme, os.getpid())
    except (UserError, OverwrittenError):
        raise
    except ImportError:
        library, extra, _ = KINDS[scheme]
        raise UserError(
            f"{address}: this needs {library}, which is not installed: {install(extra)}"
        ) from None
    except Exception as error:
        if isinstance(error, OSError) and error.__cause__ is None and _is_of_this_disk(error):
            raise
        raise _fault(address, scheme, bucket, error) from None


def _is_of_this_disk(error: OSError) -> bool:
    """Whether a file of this machine could not be opened or written: others name no path of it."""
    return Path(str(error.filename)).is_absolute() or reason_of(error) is not None


def _fault(address: str, scheme: str, bucket: str, error: Exception) -> UserError:
    """What a library says, for people; its own words may name an endpoint with a password."""
    kind, code = type(error).__name__, _code(error)
    library, _, credentials = KINDS[scheme]
    if code in NO_BUCKET:
        said = f"there is no bucket {bucket!r}"
    elif NO_CREDENTIALS.search(kind) or (isinstance(error, ValueError) and scheme == "az"):
        said = (
            f"no credentials were found that work: set {credentials}, or another way that "
            f"{library} knows"
        )
    elif isinstance(error, PermissionError):
        said = (
            f"access is refused ({code or kind}): look whether the credentials are right, still "
            f"valid, and have a right to the bucket {bucket!r}"
        )
    elif UNREACHABLE.search(kind) or isinstance(error, TimeoutError | ConnectionError):
        said = (
            f"the object storage could not be reached, or the connection was lost ({kind}): look "
            f"at the network{_endpoint(scheme, ', and at ')}"
        )
    elif code == REFUSED_UNSAID or "Expired" in code:
        said = (
            f"the object storage refuses what is asked ({code}): look whether the credentials are "
            "still valid, as those of a session end, and whether the region is that of the bucket "
            f"{bucket!r}"
        )
    elif isinstance(error, FileNotFoundError):
        said = "there is no such object or bucket"
    else:
        said = f"the object storage answered with an error: {code or kind}"
    return UserError(f"{address}: {said}.")


def _endpoint(scheme: str, before: str = ": look at ") -> str:
    is_set = scheme == "s3" and "AWS_ENDPOINT_URL" in os.environ
    return f"{before}AWS_ENDPOINT_URL" if is_set else ""


def _code(error: BaseException | None) -> str:
    """What a storage calls an error, from the library's error or those that it came of."""
    while error is not None:
        response = getattr(error, "response", None)
        code = getattr(error, "error_code", None) or getattr(error, "code", None)
        if isinstance(response, Mapping):
            code = response.get("Error", {}).get("Code")
        if code:
            return str(getattr(code, "value", code))  # Azure has an enumeration
        error = error.__cause__
    return ""
