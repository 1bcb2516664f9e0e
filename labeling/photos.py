"""A photo's bytes from where its URI says: this machine, a bucket (through obstore) or a web server."""

import asyncio
import errno
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import obstore
from obstore.exceptions import BaseError, InvalidPathError, PermissionDeniedError, UnauthenticatedError
from obstore.store import ObjectStore, from_url

from labeling.errors import PhotoError, TransientError
from labeling.labeler import MAX_BYTES
from labeling.locations import BUCKET_SCHEMES, HTTP_SCHEMES, bucket_location, local_path, scheme
from labeling.store import first_line

if TYPE_CHECKING:
    from obstore.store import RetryConfig

# Repeating is `retrying`'s business, which counts the attempts.
_ONCE: "RetryConfig" = {"max_retries": 0}
_HTTP_TIMEOUT_S = 30.0
"""Without a byte."""
_URL_SECONDS = 600.0
"""For a whole photo: a server that drips would hold its shard for days."""
_PASSING = {408, 425, 429}
"""Besides all from 500 on."""


class PhotoReader:
    """Reads photos, and keeps the connections for the next ones. Belongs to one event loop."""

    def __init__(self) -> None:
        self._buckets: dict[str, ObjectStore] = {}
        self._http = httpx.AsyncClient(follow_redirects=True, timeout=_HTTP_TIMEOUT_S)

    async def read(self, uri: str) -> bytes:
        """All bytes. Raises PhotoError, or TransientError where another attempt may help."""
        kind = scheme(uri)
        if not kind:
            return await asyncio.to_thread(_read_file, local_path(uri))
        if kind in BUCKET_SCHEMES:
            return await self._read_object(uri)
        if kind in HTTP_SCHEMES:
            return await self._read_url(uri)
        raise PhotoError("not-found", f"{uri}: there is no reader for {kind}://")

    async def close(self) -> None:
        await self._http.aclose()

    async def _read_object(self, uri: str) -> bytes:
        root, key = bucket_location(uri)
        try:
            if root not in self._buckets:
                self._buckets[root] = from_url(root, retry_config=_ONCE)
            result = await obstore.get_async(self._buckets[root], key)
            size = result.meta["size"]
            if size > MAX_BYTES:
                raise _too_large(uri, size)
            data = bytes(await result.bytes_async())
        except FileNotFoundError as error:
            raise PhotoError("not-found", f"{uri}: there is no such object") from error
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise PhotoError("forbidden", f"{uri}: {first_line(error)}") from error
        except (ValueError, InvalidPathError) as error:
            raise PhotoError("not-found", f"{uri} is no name that a bucket can hold: {first_line(error)}") from error
        except BaseError as error:
            raise TransientError("unreachable", f"{uri}: {first_line(error)}") from error
        if len(data) != size:
            raise TransientError("unreachable", f"{uri}: {len(data)} of {size} bytes arrived")
        return data

    async def _read_url(self, uri: str) -> bytes:
        data = bytearray()
        try:
            async with asyncio.timeout(_URL_SECONDS), self._http.stream("GET", uri) as answer:
                if answer.status_code >= 500 or answer.status_code in _PASSING:
                    raise TransientError("unreachable", f"{uri}: the server answered {answer.status_code}")
                if answer.status_code in (401, 403):
                    raise PhotoError("forbidden", f"{uri}: the server answered {answer.status_code}")
                if not answer.is_success:
                    raise PhotoError("not-found", f"{uri}: the server answered {answer.status_code}")
                async for chunk in answer.aiter_bytes():
                    data += chunk
                    if len(data) > MAX_BYTES:
                        raise _too_large(uri, len(data))
        except httpx.InvalidURL as error:
            raise PhotoError("not-found", f"{uri}: {error}") from error
        except TimeoutError as error:
            raise TransientError("unreachable", f"{uri}: not whole after {_URL_SECONDS:g} s") from error
        except httpx.HTTPError as error:
            raise TransientError("unreachable", f"{uri}: {error or type(error).__name__}") from error
        return bytes(data)


def _read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except PermissionError as error:
        raise PhotoError("forbidden", f"{path}: {error.strerror}") from error
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise PhotoError("not-found", f"{path}: {error.strerror}") from error
    except (OSError, ValueError) as error:
        if isinstance(error, ValueError) or error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            raise PhotoError("not-found", f"{path}: {error}") from error
        raise TransientError("unreachable", f"{path}: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise _too_large(str(path), path.stat().st_size)
    return data


def _too_large(uri: str, size: int) -> PhotoError:
    return PhotoError("body-too-large", f"{uri} has at least {size:,} bytes, more than the limit of {MAX_BYTES:,}")
