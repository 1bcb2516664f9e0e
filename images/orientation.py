"""The EXIF orientation: read from an EXIF block, applied to pixels."""

import struct

import numpy as np
from numpy.typing import NDArray

_ORIENTATION_TAG = 0x0112


def read_orientation(exif: bytes) -> int:
    """Return the orientation, 1 to 8, that the EXIF block names; 1 (upright) where it names none or is broken."""
    # Read here and not through Pillow, which parses every tag and warns about, or stumbles over, those it cannot read.
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, directory)
        for at in range(directory + 2, directory + 2 + 12 * entries, 12):
            tag, _kind, _count, value = struct.unpack_from(f"{order}HHIH", tiff, at)
            if tag == _ORIENTATION_TAG:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass  # It points past its own end.
    return 1


def upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Return a view of `pixels` (H x W x 3) as a viewer shows a photo stored with `orientation` (1 to 8)."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
