"""What travels between a gateway and a worker: photos as their own bytes there, labels in runs back.

A message is a length (4 bytes, big-endian), a header in JSON and binary parts whose lengths the header lists.
Imports no torch.
"""

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")

CANNOT_LABEL = 422
"""Status of an answer that finds fault with the photos, not with the worker. TorchServe itself never uses it."""
_LENGTH = struct.Struct(">I")
# Above this many runs a pixel the labels are shorter as they are: a run takes 5 bytes.
_RUNS_A_PIXEL = 1 / 5


class WireError(ValueError):
    """A message that cannot be read: gateway and worker are of different versions, or it was cut."""


@dataclass(frozen=True, slots=True)
class EncodedPhoto:
    """A photo's own bytes. request_id: of its request. traceparent and tracestate: W3C trace context of this call."""

    body: bytes | memoryview
    request_id: str = ""
    traceparent: str = ""
    tracestate: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """A batch, as the gateway formed it. long_side and max_pixels in pixels."""

    photos: Sequence[EncodedPhoto]
    long_side: int
    confidence: bool
    max_pixels: int


@dataclass(frozen=True, slots=True)
class Labelled:
    """labels: uint8, H x W. pixels: int64, one count a class. confidence: uint8, H x W (255 is certain), or None."""

    labels: NDArray[np.uint8]
    pixels: NDArray[np.int64]
    confidence: NDArray[np.uint8] | None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A photo that is no photo. cause: the name of the exception of `images` that says so."""

    cause: str
    detail: str


@dataclass(frozen=True, slots=True)
class Response:
    """One result a photo, in their order. run_seconds: from the request's arrival at the handler to here.

    engine: what the network ran in.
    """

    results: Sequence[Labelled | Unreadable]
    run_seconds: float
    engine: Literal["eager", "compiled"]


def pack_request(request: Request) -> bytes:
    """The body of a call."""
    header = {
        "photos": [
            {"request_id": photo.request_id, "traceparent": photo.traceparent, "tracestate": photo.tracestate}
            for photo in request.photos
        ],
        "long_side": request.long_side,
        "confidence": request.confidence,
        "max_pixels": request.max_pixels,
    }
    return _pack(header, [photo.body for photo in request.photos])


def unpack_request(body: bytes | bytearray) -> Request:
    """Raises WireError."""
    return _read(body, _request)


def pack_response(response: Response) -> bytes:
    """The answer to a call."""
    results: list[dict[str, Any]] = []
    parts: list[Any] = []
    for result in response.results:
        if isinstance(result, Unreadable):
            results.append(asdict(result))
            continue
        labels = _pack_labels(result.labels)
        planes = [] if result.confidence is None else [np.ascontiguousarray(result.confidence).data.cast("B")]
        results.append({"size": result.labels.shape, "runs": len(labels) == 2, "confidence": bool(planes)})
        parts += [result.pixels.astype("<i8").tobytes(), *labels, *planes]
    header = {"results": results, "run_us": round(response.run_seconds * 1e6), "engine": response.engine}
    return _pack(header, parts)


def unpack_response(body: bytes) -> Response:
    """Raises WireError."""
    return _read(body, _response)


def _request(header: Mapping[str, Any], parts: list[memoryview]) -> Request:
    photos = [EncodedPhoto(part, **photo) for part, photo in zip(parts, header["photos"], strict=True)]
    return Request(photos, header["long_side"], header["confidence"], header["max_pixels"])


def _response(header: Mapping[str, Any], parts: list[memoryview]) -> Response:
    left = iter(parts)
    results: list[Labelled | Unreadable] = []
    for result in header["results"]:
        if "cause" in result:
            results.append(Unreadable(**result))
            continue
        height, width = result["size"]
        pixels = np.frombuffer(next(left), "<i8").astype(np.int64)
        values = np.frombuffer(next(left), np.uint8)
        flat = np.repeat(values, np.frombuffer(next(left), "<u4")) if result["runs"] else values
        confidence = np.frombuffer(next(left), np.uint8).reshape(height, width) if result["confidence"] else None
        results.append(Labelled(flat.reshape(height, width), pixels, confidence))
    return Response(results, header["run_us"] / 1e6, header["engine"])


def _pack_labels(labels: NDArray[np.uint8]) -> list[bytes]:
    """Values and lengths of the runs of equal labels; or, where those are longer, all labels alone.

    zlib makes them smaller still, but takes many times as long, on both sides.
    """
    flat = labels.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    if len(changes) >= flat.size * _RUNS_A_PIXEL:
        return [flat.tobytes()]
    edges = np.concatenate(([0], changes, [flat.size]))
    return [flat[edges[:-1]].tobytes(), np.diff(edges).astype("<u4").tobytes()]


def _pack(header: Mapping[str, Any], parts: Sequence[bytes | memoryview]) -> bytes:
    text = json.dumps({**header, "parts": [len(part) for part in parts]}, separators=(",", ":")).encode()
    return b"".join([_LENGTH.pack(len(text)), text, *parts])


def _read(body: bytes | bytearray, build: Callable[[Mapping[str, Any], list[memoryview]], T]) -> T:
    try:
        (length,) = _LENGTH.unpack_from(body)
        view, at = memoryview(body), _LENGTH.size + length
        header = json.loads(bytes(view[_LENGTH.size : at]))
        parts = []
        for size in header["parts"]:
            parts.append(view[at : at + size])
            at += size
        if at != len(body):
            raise WireError(f"the message has {len(body)} bytes and its header speaks of {at}")
        return build(header, parts)
    except (struct.error, ValueError, KeyError, TypeError, StopIteration) as error:
        raise WireError(f"gateway and worker do not understand one another ({error!r}): run one version") from error
