"""Photos to post: the drawn street scene as JPEG files of chosen size, in pixels and in bytes."""

import io
import struct
from dataclasses import dataclass
from functools import cache

from PIL import Image

from loadtests.street import street

SMALL_HEIGHT, SMALL_WIDTH = 192, 256
SMALL_BYTES = 100_000
# A JPEG segment counts its length, these two bytes included, in 16 bits.
_LARGEST_SEGMENT = 0xFFFF


@dataclass(frozen=True, slots=True)
class Photo:
    """A JPEG file. height and width in pixels; units: its pixels in small photos' worth."""

    body: bytes
    height: int
    width: int

    @property
    def units(self) -> float:
        return self.height * self.width / (SMALL_HEIGHT * SMALL_WIDTH)


@cache
def small_photo() -> Photo:
    """100 KB to receive, well under a millisecond to decode."""
    return Photo(padded(_jpeg(SMALL_HEIGHT, SMALL_WIDTH, 100), SMALL_BYTES), SMALL_HEIGHT, SMALL_WIDTH)


@cache
def lean_photo() -> Photo:
    """The pixels of the small photo in a few KB: a burst of them arrives at once."""
    return Photo(_jpeg(SMALL_HEIGHT, SMALL_WIDTH, 20), SMALL_HEIGHT, SMALL_WIDTH)


@cache
def street_photo(height: int, width: int) -> Photo:
    """As a camera would save it."""
    return Photo(_jpeg(height, width, 90), height, width)


def padded(jpeg: bytes, size: int) -> bytes:
    """The same picture as a file of `size` bytes: comments fill it up. Raises ValueError where it is larger already."""
    missing = size - len(jpeg)
    if missing and missing < 4:
        raise ValueError(f"a JPEG of {len(jpeg)} bytes cannot be padded to {size}")
    comments = b""
    while missing:
        length = min(missing - 2, _LARGEST_SEGMENT)
        if 0 < missing - 2 - length < 4:
            length -= 4  # leaves room for a last segment with its own header
        comments += b"\xff\xfe" + struct.pack(">H", length) + bytes(length - 2)
        missing -= length + 2
    return jpeg[:2] + comments + jpeg[2:]


def _jpeg(height: int, width: int, quality: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(street(height, width)).save(file, "JPEG", quality=quality)
    return file.getvalue()
