"""Where a job's files lie: a folder of this machine, or a prefix in S3, GCS or Azure (through obstore)."""

import os
import secrets
import tempfile
import time
from collections.abc import Container, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import from_url

from labeling.errors import JobError
from labeling.locations import BUCKET_SCHEMES, local_path, scheme

_TEMPORARY = ".temporary-"
_AT_ONCE = 8


class Entry(NamedTuple):
    """A file of a store. `path` is relative to the store's URI; size in bytes."""

    path: str
    size: int


class Store(Protocol):
    """Files under one URI, by relative paths. Whatever fails raises OSError; what is not there, FileNotFoundError."""

    uri: str

    def read(self, path: str, start: int = 0, length: int | None = None) -> bytes:
        """The file, or `length` bytes of it from `start`."""
        ...

    def local_copy(self, path: str) -> AbstractContextManager[BinaryIO]:
        """The file as one of this machine, open to read while the `with` block runs."""
        ...

    def create(self, path: str, data: bytes) -> bool:
        """Write durably, whole or not at all, unless there is such a file: then False. Of two callers one wins."""
        ...

    def write(self, path: str, data: bytes) -> None:
        """Write or overwrite, whole or not at all; durably once `flush` has returned."""
        ...

    def flush(self) -> None:
        """Make durable what was written: a power cut could still empty it, and leave what vouches for it."""
        ...

    def new_file(self, path: str) -> AbstractContextManager[BinaryIO]:
        """A file of this machine to write to; when the `with` block ends well, it lies durably at `path`."""
        ...

    def delete(self, path: str) -> None:
        """Delete; a file that is not there is fine."""
        ...

    def list(self, folder: str) -> Iterator[Entry]:
        """All files below a folder, in the order of their paths."""
        ...

    def leftovers(self) -> Iterator[tuple[str, str, float]]:
        """Half-written files, whose writer lives or was killed: (path, path it was to have, seconds since it grew)."""
        ...

    def remove_empty_folders(self, folder: str, names: Container[str]) -> None:
        """Remove those below `folder` of these names that hold nothing."""
        ...


def open_store(uri: str) -> Store:
    """Raises JobError for a URI that no store understands."""
    kind = scheme(uri)
    if not kind:
        return DiskStore(local_path(uri))
    if kind not in BUCKET_SCHEMES:
        raise JobError(f"{uri}: results go to a folder of this machine or to {', '.join(BUCKET_SCHEMES)} URIs")
    return BucketStore(uri)


class DiskStore:
    """A folder; made when the first file is written."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.uri = str(root)
        self._unflushed: set[Path] = set()

    def read(self, path: str, start: int = 0, length: int | None = None) -> bytes:
        with (self._root / path).open("rb") as file:
            file.seek(start)
            return file.read(-1 if length is None else length)

    def local_copy(self, path: str) -> AbstractContextManager[BinaryIO]:
        return (self._root / path).open("rb")

    def create(self, path: str, data: bytes) -> bool:
        target = self._root / path
        temporary = self._temporary(target)
        try:
            _write(temporary, data, durably=True)
            try:
                # Unlike a rename, a link never replaces what another process has put there.
                os.link(temporary, target)
            except FileExistsError:
                return False
        finally:
            temporary.unlink(missing_ok=True)
        _sync(target.parent)
        return True

    def write(self, path: str, data: bytes) -> None:
        target = self._root / path
        temporary = self._temporary(target)
        try:
            _write(temporary, data)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        self._unflushed.add(target)

    def flush(self) -> None:
        files, self._unflushed = self._unflushed, set()
        folders = {path.parent for path in files}
        # At once, which the disk writes down together: one by one, and as each is written, takes milliseconds a file.
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            for paths in (files, folders):
                list(threads.map(_sync_what_is_left, paths))

    @contextmanager
    def new_file(self, path: str) -> Iterator[BinaryIO]:
        target = self._root / path
        temporary = self._temporary(target)
        try:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        _sync(target.parent)

    def delete(self, path: str) -> None:
        (self._root / path).unlink(missing_ok=True)
        self._unflushed.discard(self._root / path)

    def list(self, folder: str) -> Iterator[Entry]:
        for parent, folders, names in os.walk(self._root / folder):
            folders.sort()
            for name in sorted(names):
                if not name.startswith(_TEMPORARY):
                    path = Path(parent, name)
                    # Another process may delete what this one lists.
                    with suppress(FileNotFoundError):
                        yield Entry(path.relative_to(self._root).as_posix(), path.stat().st_size)

    def leftovers(self) -> Iterator[tuple[str, str, float]]:
        # Not rglob, which fails where another process removes a folder that it has just seen.
        for parent, _, names in os.walk(self._root):
            for path in (Path(parent, name) for name in names if name.startswith(_TEMPORARY)):
                _, _, name = path.name.removeprefix(_TEMPORARY).partition("-")
                with suppress(FileNotFoundError):
                    age = time.time() - path.stat().st_mtime
                    relative = path.relative_to(self._root)
                    yield relative.as_posix(), relative.with_name(name).as_posix(), age

    def remove_empty_folders(self, folder: str, names: Container[str]) -> None:
        for path in (self._root / folder).glob("*/"):
            if path.name in names:
                # Another attempt may have begun in it.
                with suppress(OSError):
                    path.rmdir()

    def _temporary(self, target: Path) -> Path:
        target.parent.mkdir(parents=True, exist_ok=True)
        return target.with_name(f"{_TEMPORARY}{secrets.token_hex(4)}-{target.name}")


class BucketStore:
    """A prefix of a bucket. Credentials, region and endpoint come from the environment, as its provider names them.

    Requests that fail for a while (throttling, resets) are repeated by obstore with backoff, for up to three minutes.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        try:
            self._store = from_url(self.uri)
        except (BaseError, ValueError) as error:
            raise JobError(f"{uri} cannot be opened: {first_line(error)}") from error

    def read(self, path: str, start: int = 0, length: int | None = None) -> bytes:
        with _as_os_errors():
            if length is None:
                return bytes(obstore.get(self._store, path).bytes())[start:]
            return bytes(obstore.get_range(self._store, path, start=start, length=length))

    @contextmanager
    def local_copy(self, path: str) -> Iterator[BinaryIO]:
        with _nameless() as file:
            with _as_os_errors():
                for chunk in obstore.get(self._store, path).stream():
                    file.write(chunk)
            file.seek(0)
            yield file

    def create(self, path: str, data: bytes) -> bool:
        try:
            with _as_os_errors():
                obstore.put(self._store, path, data, mode="create")
        except FileExistsError:
            # A request that was repeated because its answer was lost meets its own file.
            return self.read(path) == data
        return True

    def write(self, path: str, data: bytes) -> None:
        with _as_os_errors():
            obstore.put(self._store, path, data)

    def flush(self) -> None:
        """What a bucket has taken it keeps."""

    @contextmanager
    def new_file(self, path: str) -> Iterator[BinaryIO]:
        with _nameless() as file:
            yield file
            file.seek(0)
            with _as_os_errors():
                obstore.put(self._store, path, file)

    def delete(self, path: str) -> None:
        with suppress(FileNotFoundError), _as_os_errors():
            obstore.delete(self._store, path)

    def list(self, folder: str) -> Iterator[Entry]:
        with _as_os_errors():
            for chunk in obstore.list(self._store, folder):
                for found in chunk:
                    yield Entry(found["path"], found["size"])

    def leftovers(self) -> Iterator[tuple[str, str, float]]:
        """None that a listing shows: parts of an upload that a death cut short are the bucket's lifecycle rule's."""
        yield from ()

    def remove_empty_folders(self, folder: str, names: Container[str]) -> None:
        """There are no folders."""


def first_line(error: Exception) -> str:
    """What a person needs of obstore's errors, which go on with pages of internals."""
    return (str(error).splitlines() or [type(error).__name__])[0]


@contextmanager
def _as_os_errors() -> Iterator[None]:
    try:
        yield
    except (AlreadyExistsError, PreconditionError) as error:
        raise FileExistsError(first_line(error)) from error
    except BaseError as error:
        raise OSError(first_line(error)) from error


def _nameless() -> AbstractContextManager[BinaryIO]:
    """A file that ends with its process, however that dies: with a name it would stay, and in time fill the disk."""
    return tempfile.TemporaryFile()


def _write(path: Path, data: bytes, *, durably: bool = False) -> None:
    with path.open("xb") as file:
        file.write(data)
        if durably:
            file.flush()
            os.fsync(file.fileno())


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_what_is_left(path: Path) -> None:
    # Another process may have deleted it.
    with suppress(FileNotFoundError):
        _sync(path)
