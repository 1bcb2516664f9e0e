"""Maps of one byte a pixel, class ids or confidences, to PNG and back, exactly."""

import io
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from images.errors import FormatNotAllowed
from images.formats import sniff
from images.pillow import open_image


def encode_label_map(labels: NDArray[np.uint8], palette: bytes) -> bytes:
    """Return `labels` (H x W, uint8 class ids) as an indexed PNG: data and picture in one file.

    A pixel's value is its class id; `palette` is the 256 colours of the ids, 768 bytes R G B R G B ...
    """
    if len(palette) != 768:
        raise ValueError(f"a palette is 768 bytes, not {len(palette)}")
    image = Image.fromarray(labels)
    image.putpalette(palette)
    return _png(image)


def encode_grey(values: NDArray[np.uint8]) -> bytes:
    """Return `values` (H x W, uint8) as a grey PNG."""
    return _png(Image.fromarray(values))


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


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    # Run lengths alone suit flat regions: level 1 with them is three times as fast as level 6, and smaller.
    image.save(file, "PNG", compress_level=1, compress_type=zlib.Z_RLE)
    return file.getvalue()
