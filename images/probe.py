"""Format and size of a photo from its signature and header, in microseconds: no pixel is decoded to refuse one."""

import struct
from collections.abc import Callable
from dataclasses import dataclass

from images import jpeg
from images.errors import DamagedImage, TooManyPixels
from images.formats import sniff


@dataclass(frozen=True)
class ImageInfo:
    """What the header of a photo says. `width` and `height` are in pixels, as stored: before the EXIF orientation."""

    format: str
    width: int
    height: int


def probe(data: bytes, *, max_pixels: int) -> ImageInfo:
    """Return format (one of ALLOWED_FORMATS) and size of the photo in `data`, reading its header alone.

    Raises NotAnImage, FormatNotAllowed, DamagedImage (the header is cut off or makes no sense) or TooManyPixels (more
    than `max_pixels`). A photo that passes may still turn out to be damaged when it is decoded.
    """
    format = sniff(data)
    try:
        width, height = _SIZE_READERS[format](data)
    except struct.error as error:
        raise DamagedImage(f"The {format} ends within its header: send the whole file.") from error
    if width < 1 or height < 1:
        raise DamagedImage(f"The header says {width} x {height} pixels: save the photo again and send that.")
    if width * height > max_pixels:
        raise TooManyPixels(
            f"The photo has {width} x {height} = {width * height:,} pixels, more than the limit of {max_pixels:,}: "
            "make it smaller and send that."
        )
    return ImageInfo(format, width, height)


def _png_size(data: bytes) -> tuple[int, int]:
    chunk, width, height = struct.unpack_from(">4sII", data, 12)
    if chunk != b"IHDR":
        raise DamagedImage("The PNG does not begin with its header: save the photo again and send that.")
    return width, height


def _gif_size(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _bmp_size(data: bytes) -> tuple[int, int]:
    (header_size,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if header_size == 12 else "<ii", data, 18)
    return width, abs(height)  # A negative height says that the rows run from top to bottom.


def _webp_size(data: bytes) -> tuple[int, int]:
    (chunk,) = struct.unpack_from("<4s", data, 12)
    if chunk == b"VP8 ":
        start_code, width, height = struct.unpack_from("<3sHH", data, 23)
        if start_code == b"\x9d\x01\x2a":
            return width & 0x3FFF, height & 0x3FFF  # The two upper bits ask for upscaling, which decoders ignore.
    elif chunk == b"VP8L":
        signature, bits = struct.unpack_from("<BI", data, 20)
        if signature == 0x2F:
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif chunk == b"VP8X":
        width, width_high, height, height_high = struct.unpack_from("<HBHB", data, 24)
        return (width_high << 16 | width) + 1, (height_high << 16 | height) + 1
    raise DamagedImage("The header of the WebP is damaged: save the photo again and send that.")


_SIZE_READERS: dict[str, Callable[[bytes], tuple[int, int]]] = {
    "JPEG": jpeg.frame_size,
    "PNG": _png_size,
    "GIF": _gif_size,
    "BMP": _bmp_size,
    "WEBP": _webp_size,
}
