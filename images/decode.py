"""A photo's bytes to its pixels."""

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from images import jpeg
from images.errors import DamagedImage
from images.orientation import read_orientation, upright
from images.pillow import open_image
from images.probe import ImageInfo, probe

# What simplejpeg refuses for an oddity of the header that real encoders write and that puts no pixel in doubt. Pillow
# reads these, at the price of its silence about damage.
_NOT_DAMAGE = (
    "Could not determine subsampling",
    "unknown JFIF revision",
    "Invalid SOS parameters",
    "Unknown Adobe color",
)

_BAND_PIXELS = 1 << 18


def decode(data: bytes, *, max_pixels: int) -> NDArray[np.uint8]:
    """Return the photo in `data` as H x W x 3, uint8, RGB, C-contiguous, in display orientation.

    The EXIF orientation of JPEG, PNG and WebP is applied; a broken one counts as upright. Of an animation the first
    frame is taken. Alpha is dropped, not composited: a transparent pixel keeps the colour stored under it. Palettes,
    grey, 1-bit and CMYK become RGB, without colour management; of 16-bit samples the upper eight bits are kept.

    At its peak this takes about twice the memory of the result for a JPEG (up to 3 times for a progressive one), 2.5
    times for PNG, GIF and BMP, and 6 times for WebP, whose decoder keeps two canvases of its own.

    Raises what `probe` raises, and DamagedImage for pixels that are cut off or corrupt. All formats but PNG lack a
    checksum: a few changed bytes that still decode pass for a photo.
    """
    info = probe(data, max_pixels=max_pixels)
    if info.format == "JPEG":
        pixels, exif = _decode_jpeg(data, info), jpeg.exif(data)
    else:
        pixels, exif = _decode_with_pillow(data, info)
    return np.ascontiguousarray(upright(pixels, read_orientation(exif)))


def _decode_jpeg(data: bytes, info: ImageInfo) -> NDArray[np.uint8]:
    """Decode strictly: libjpeg mends damage and warns, Pillow keeps that to itself, simplejpeg raises."""
    # "Extraneous bytes before marker" stays an error: it is how libjpeg reports a scan that it lost its way in, and
    # nothing tells that from harmless padding. Bytes after the end of the image raise nothing.
    try:
        # Into a buffer of the size that was admitted: should libjpeg read another one from the header, it is refused.
        buffer = np.empty((info.height, info.width, 3), np.uint8)
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, colorspace="RGB", buffer=buffer)
    except ValueError as error:
        if any(reason in str(error) for reason in _NOT_DAMAGE):
            return _decode_with_pillow(data, info)[0]
        raise DamagedImage(f"The JPEG is damaged ({error}): save the photo again and send that.") from error
    return pixels


def _decode_with_pillow(data: bytes, info: ImageInfo) -> tuple[NDArray[np.uint8], bytes]:
    """Return the pixels as stored and the EXIF block."""
    with open_image(data, info.format) as image:
        if image.size != (info.width, info.height):
            raise DamagedImage(f"The {info.format} contradicts itself about its size: save it again and send that.")
        image.load()
        exif = image.info.get("exif", b"")
        pixels = np.empty((info.height, info.width, 3), np.uint8)
        rows = max(1, _BAND_PIXELS // info.width)
        # By bands: converted whole, there would be three copies of the photo at once.
        for top in range(0, info.height, rows):
            band = image.crop((0, top, info.width, min(top + rows, info.height)))
            pixels[top : top + rows] = _rgb(band)
    return pixels, exif


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I;16"):
        # Pillow's own conversion clips at 255: nearly every pixel of a 16-bit photo would be white.
        return (np.asarray(image) >> 8).astype(np.uint8)[..., np.newaxis]
    return np.asarray(image.convert("RGB"))
