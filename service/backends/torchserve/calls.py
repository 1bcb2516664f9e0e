"""Calls to one TorchServe: a batch there, labels back."""

import io
from collections.abc import Sequence

import aiohttp

import images
from models.torchserve.wire import (
    CANNOT_LABEL,
    EncodedPhoto,
    Labelled,
    Request,
    Response,
    Unreadable,
    WireError,
    pack_request,
    unpack_response,
)
from service.backends.base import BatchKey, DeviceLost
from service.backends.base import EncodedPhoto as Photo


class CannotLabel(Exception):
    """The worker is well and the engine failed on these photos."""


def pack(key: BatchKey, photos: Sequence[Photo], max_pixels: int) -> bytes:
    """The body of a call."""
    encoded = [EncodedPhoto(p.body, p.request_id, p.traceparent, p.tracestate) for p in photos]
    return pack_request(Request(encoded, key.long_side, key.confidence, max_pixels))


async def call(client: aiohttp.ClientSession, url: str, body: bytes) -> Response:
    """Raises DeviceLost, and CannotLabel where it is the photos that are at fault."""
    headers = {"Content-Type": "application/octet-stream"}
    try:
        async with client.post(url, data=io.BytesIO(body), headers=headers) as answer:
            status, content = answer.status, await answer.read()
    except (aiohttp.ClientError, OSError) as error:
        raise DeviceLost(f"{url}: {error!r}") from error
    if status == CANNOT_LABEL:
        raise CannotLabel(content.decode(errors="replace"))
    if status != 200:
        raise DeviceLost(f"{url} answers with {status}: {content[:200]!r}")
    try:
        return unpack_response(content)
    except WireError as error:
        raise DeviceLost(f"{url}: {error}") from error


def outcomes(response: Response) -> list[Labelled | Exception]:
    """What `images` raises for a photo, in place of its labels."""
    return [_exception(result) if isinstance(result, Unreadable) else result for result in response.results]


def _exception(unreadable: Unreadable) -> Exception:
    kind = getattr(images, unreadable.cause, images.ImageError)
    exception: Exception = kind(unreadable.detail)
    return exception
