"""The photo blended with the colours of its labels."""

import io
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from images.errors import TooManyPixels

_BAND_PIXELS = 1 << 16


class _Encoder(NamedTuple):
    format: str
    longest_side: int
    options: dict[str, Any]


# The format could hold 35 pixels more a side than the library that writes JPEG files.
_ENCODERS = {
    "image/jpeg": _Encoder("JPEG", 65_500, {"quality": 85}),
    "image/webp": _Encoder("WEBP", 16_383, {"method": 0}),
    "image/png": _Encoder("PNG", 2**31 - 1, {"compress_level": 1}),
}

OVERLAY_MEDIA_TYPES = tuple(_ENCODERS)


def blend(photo: NDArray[np.uint8], labels: NDArray[np.uint8], palette: bytes, alpha: float) -> NDArray[np.uint8]:
    """Return `photo` (H x W x 3, uint8) mixed with the colours of `labels` (H x W, uint8), of the photo's shape.

    `palette` is 768 bytes, R G B for each class id. `alpha` is the share of the colours: 0 is the photo, 1 the colours.
    """
    weight = round(alpha * 256)
    # In 1/256ths, rounding included: the largest sum, 255 * 256 + 128, just fits 16 bits.
    colours = np.frombuffer(palette, np.uint8).reshape(256, 3) * np.uint16(weight) + np.uint16(128)
    blended = np.empty_like(photo)
    # By bands: the 16-bit sums stay in the cache and never exist at full size.
    rows = max(1, _BAND_PIXELS // photo.shape[1])
    for top in range(0, photo.shape[0], rows):
        band = slice(top, top + rows)
        total = np.multiply(photo[band], 256 - weight, dtype=np.uint16)
        total += np.take(colours, labels[band], axis=0)
        blended[band] = total >> 8
    return blended


def check_overlay_size(height: int, width: int, media_type: str) -> None:
    """Raises TooManyPixels where an overlay of a height x width photo would not fit into a file of `media_type`."""
    limit = _ENCODERS[media_type].longest_side
    if max(height, width) > limit:
        raise TooManyPixels(f"An overlay as {media_type} has at most {limit:,} pixels a side: ask for image/png.")


def encode_overlay(
    photo: NDArray[np.uint8], labels: NDArray[np.uint8], palette: bytes, *, alpha: float, media_type: str
) -> bytes:
    """Return the blend of `photo` and `labels` (see `blend`) as a file of `media_type`, one of OVERLAY_MEDIA_TYPES.

    JPEG is the quick one: WebP and PNG take ten to twenty times as long. Raises TooManyPixels where the photo's long
    side is more than the format can hold: 65,500 pixels for JPEG, 16,383 for WebP.
    """
    check_overlay_size(photo.shape[0], photo.shape[1], media_type)
    encoder = _ENCODERS[media_type]
    file = io.BytesIO()
    Image.fromarray(blend(photo, labels, palette, alpha)).save(file, encoder.format, **encoder.options)
    return file.getvalue()
