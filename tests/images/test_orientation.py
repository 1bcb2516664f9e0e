import struct

import numpy as np
import pytest

from images import decode, probe
from images.orientation import read_orientation
from tests import photos

PHOTO = photos.street(24, 40)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_come_out_upright(orientation: int, format: str) -> None:
    data = photos.oriented(PHOTO, orientation, format)
    decoded = decode(data, max_pixels=10_000)
    assert decoded.shape == PHOTO.shape
    assert decoded.flags.c_contiguous
    assert np.abs(decoded.astype(int) - PHOTO).max() <= (6 if format == "JPEG" else 0)
    info = probe(data, max_pixels=10_000)
    assert (info.height, info.width) == ((40, 24) if orientation >= 5 else (24, 40))


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders(order: str) -> None:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entries = struct.pack(f"{order}HHIIHHIHH", 0x010F, 2, 4, 0, 0x0112, 3, 1, 7, 0)
    block = mark + struct.pack(f"{order}IH", 8, 2) + entries
    assert read_orientation(block) == 7
    assert read_orientation(b"Exif\0\0" + block) == 7


GOOD = photos.exif_block(6)


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"Exif\0\0",
        b"nothing of the kind",
        GOOD[:12],
        GOOD[:-8],
        GOOD[:6] + b"XX" + GOOD[8:],
        photos.exif_block(0),
        b"II*\0" + struct.pack("<IH", 8, 0),
        photos.exif_block(9),
        b"II*\0" + struct.pack("<I", 0xFFFF_FFFF),
        b"II*\0" + struct.pack("<IH", 8, 0xFFFF) + bytes(24),
    ],
)
def test_a_broken_block_counts_as_upright(block: bytes) -> None:
    assert read_orientation(GOOD) == 6
    assert read_orientation(block) == 1
    assert decode(photos.png(PHOTO, exif=block), max_pixels=10_000).shape == PHOTO.shape
    assert decode(photos.jpeg(PHOTO, exif=block), max_pixels=10_000).shape == PHOTO.shape
