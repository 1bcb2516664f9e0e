"""What load is made of: requests in wire format, and mixes of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from loadtests.loopback import HOST
from loadtests.photos import Photo, small_photo, street_photo

Priority = Literal["interactive", "normal", "batch"]


@dataclass(frozen=True, slots=True)
class Request:
    """wire: head and body. units: what it costs the device, in small photos' worth. weight: its share of a mix."""

    wire: bytes = field(repr=False)
    priority: Priority = "normal"
    units: float = 1.0
    weight: float = 1.0


Mix = Sequence[Request]


def post(path: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """A POST in wire format."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {HOST}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def segment(
    photo: Photo,
    *,
    timeout_ms: int | None = None,
    long_side: int | None = None,
    priority: Priority = "normal",
    weight: float = 1.0,
) -> Request:
    """What segserve is asked: the label map as a PNG, which is the smallest answer."""
    asked = {"timeout_ms": timeout_ms, "long_side": long_side}
    path = "/segment?output=labels" + "".join(f"&{name}={value}" for name, value in asked.items() if value)
    return Request(post(path, photo.body, {"X-Priority": priority}), priority, photo.units, weight)


def small_mix(timeout_ms: int | None = None) -> Mix:
    """Small photos alone."""
    return [segment(small_photo(), timeout_ms=timeout_ms)]


def mixed(sizes: Mapping[tuple[int, int], float], timeout_ms: int | None = None) -> Mix:
    """Sizes (height, width) with their shares, in each of the three priorities: 20, 50 and 30 % of the requests."""
    priorities: dict[Priority, float] = {"interactive": 0.2, "normal": 0.5, "batch": 0.3}
    return [
        segment(street_photo(*size), timeout_ms=timeout_ms, priority=priority, weight=share * size_share)
        for size, size_share in sizes.items()
        for priority, share in priorities.items()
    ]
