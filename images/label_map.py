"""Maps of one byte a pixel, class ids or confidences, to PNG and back, exactly."""

import struct

import numpy as np
from numpy.typing import NDArray
from zlib_ng import zlib_ng

from images.errors import FormatNotAllowed
from images.formats import sniff
from images.pillow import open_image

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _INDEXED = 0, 3
_UP = 2


def encode_label_map(labels: NDArray[np.uint8], palette: bytes) -> bytes:
    """Return `labels` (H x W, uint8 class ids) as an indexed PNG: data and picture in one file.

    A pixel's value is its class id; `palette` is the 256 colours of the ids, 768 bytes R G B R G B ...
    """
    if len(palette) != 768:
        raise ValueError(f"a palette is 768 bytes, not {len(palette)}")
    return _png(labels, _INDEXED, _chunk(b"PLTE", palette))


def encode_grey(values: NDArray[np.uint8]) -> bytes:
    """Return `values` (H x W, uint8) as a grey PNG."""
    return _png(values, _GREY)


def decode_label_map(data: bytes) -> NDArray[np.uint8]:
    """Return the class ids (H x W, uint8) of an indexed or 8-bit grey PNG.

    Made for files that one trusts: there is no limit on their size. Raises NotAnImage, DamagedImage, or
    FormatNotAllowed for another format and for a PNG whose pixels are colours.
    """
    format = sniff(data)
    if format != "PNG":
        raise FormatNotAllowed(f"A label map is a PNG, not a {format}: other formats do not keep class ids exactly.")
    with open_image(data, format) as image:
        if image.mode not in ("P", "L"):
            raise FormatNotAllowed(f"A label map is an indexed or 8-bit grey PNG, not one of mode {image.mode}.")
        return np.array(image)


def _png(values: NDArray[np.uint8], colour_type: int, palette: bytes = b"") -> bytes:
    """The file. Pillow would take five times as long, as it hands zlib one row after another."""
    height, width = values.shape
    rows = np.empty((height, width + 1), np.uint8)
    # Up: each row less the one above it. In maps of one byte a pixel next to nothing is left.
    rows[:, 0] = _UP
    rows[0, 1:] = values[0]
    np.subtract(values[1:], values[:-1], out=rows[1:, 1:])
    # Run lengths alone suit flat regions: level 1 with them is three times as fast as level 6, and smaller.
    compressor = zlib_ng.compressobj(1, zlib_ng.DEFLATED, zlib_ng.MAX_WBITS, 9, zlib_ng.Z_RLE)
    data = compressor.compress(rows) + compressor.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    return b"".join((_SIGNATURE, _chunk(b"IHDR", header), palette, _chunk(b"IDAT", data), _chunk(b"IEND", b"")))


def _chunk(kind: bytes, data: bytes) -> bytes:
    """Length, kind, data and checksum (PNG 1.2, section 3.2)."""
    return b"".join(
        (struct.pack(">I", len(data)), kind, data, struct.pack(">I", zlib_ng.crc32(data, zlib_ng.crc32(kind))))
    )
