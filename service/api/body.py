"""A request's photo: the raw body, or the multipart part `image`, within limits of size, time and memory."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from service.errors import BadParameter, BodyTooLarge, BodyTooSlow, MalformedBody, Overloaded
from service.pipeline import Pipeline
from service.settings import Settings

# A client that is still sending would lose an early answer to a connection reset: its body is read on for a while.
_DISCARD_SECONDS = 2.0
_DISCARD_FACTOR = 2


@asynccontextmanager
async def received_photo(request: Request, pipeline: Pipeline) -> AsyncIterator[tuple[bytes, int]]:
    """The photo, and how many bytes (its form included) it holds of the pipeline's memory while the context lasts.

    Raises BodyTooLarge, BodyTooSlow, MalformedBody, BadParameter, Overloaded, and ClientDisconnect (it hung up).
    """
    body = await _receive(request, pipeline)
    size = len(body)
    try:
        photo = await _photo_in(request, body)
        # The rest of a form is not held while the photo is labelled.
        del body
        yield photo, size
    finally:
        pipeline.memory.release(size)


async def _receive(request: Request, pipeline: Pipeline) -> bytes:
    """The whole body; its length stays reserved in the pipeline's memory unless this raises."""
    settings = pipeline.settings
    body = bytearray()
    stream = request.stream()
    try:
        if int(request.headers.get("content-length", 0)) > settings.max_body_bytes:
            raise BodyTooLarge(_too_large(settings), close=True)
        async with asyncio.timeout(settings.body_timeout_ms / 1000):
            async for chunk in stream:
                if len(body) + len(chunk) > settings.max_body_bytes:
                    raise BodyTooLarge(_too_large(settings), close=True)
                pipeline.reserve(len(chunk), own=len(body))
                body += chunk
    except BaseException as error:
        pipeline.memory.release(len(body))
        body.clear()
        if isinstance(error, TimeoutError):
            raise BodyTooSlow(
                f"The body took over {settings.body_timeout_ms} ms: send a smaller photo, or use a faster line.",
                close=True,
            ) from None
        # A client that waits for our consent before it sends its body has sent nothing.
        if isinstance(error, BodyTooLarge | Overloaded) and "expect" not in request.headers:
            await _discard_rest(stream, settings)
        if isinstance(error, Overloaded):
            error.close = True
        raise
    return bytes(body)


def _too_large(settings: Settings) -> str:
    return f"The body may have {settings.max_body_bytes} bytes: send a smaller photo, or a JPEG of it."


async def _discard_rest(stream: AsyncGenerator[bytes, None], settings: Settings) -> None:
    """Read on a little."""
    left = settings.max_body_bytes * _DISCARD_FACTOR
    try:
        async with asyncio.timeout(_DISCARD_SECONDS):
            async for chunk in stream:
                left -= len(chunk)
                if left < 0:
                    return
    except (TimeoutError, ClientDisconnect):
        return


async def _photo_in(request: Request, body: bytes) -> bytes:
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        return body

    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(request.headers, stream(), max_files=1, max_fields=16)
    # The body is in memory already; there may be no disk to write to.
    parser.spool_max_size = len(body) + 1
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError) as error:
        raise MalformedBody(f"The form cannot be parsed ({error}): or send the photo as the raw body.") from error
    try:
        image = form.get("image")
        if not isinstance(image, UploadFile):
            raise BadParameter("The form has no file 'image': send the photo in a part of that name, with a file name.")
        return await image.read()
    finally:
        await form.close()
