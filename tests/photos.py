"""Photos for tests: the drawn street scene, and the awkward files that callers send."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from loadtests.street import street as street

Pixels = NDArray[np.uint8]

_ORIENTATION_TAG = 0x0112


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    """Return `image` as a file, with Pillow's options for the format."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def jpeg(pixels: Pixels, **options: Any) -> bytes:
    """Return H x W (grey) or H x W x 3 (RGB) as a JPEG."""
    return encoded(Image.fromarray(pixels), "JPEG", **options)


def png(pixels: NDArray[np.uint8] | NDArray[np.uint16], **options: Any) -> bytes:
    """Return H x W (grey, 8 or 16 bits), H x W x 2 (grey and alpha), x 3 (RGB) or x 4 (RGBA) as a PNG."""
    return encoded(Image.fromarray(pixels), "PNG", **options)


def webp(pixels: Pixels, **options: Any) -> bytes:
    """Return H x W x 3 (RGB) or H x W x 4 (RGBA) as a WebP."""
    return encoded(Image.fromarray(pixels), "WEBP", **options)


def bmp(pixels: Pixels) -> bytes:
    """Return H x W x 3 as a BMP."""
    return encoded(Image.fromarray(pixels), "BMP")


def one_bit_png(pixels: NDArray[np.bool_]) -> bytes:
    """Return H x W as a black and white PNG of one bit a pixel."""
    return encoded(Image.fromarray(pixels), "PNG")


def deep_png(pixels: NDArray[np.uint16]) -> bytes:
    """Return H x W x 2 (grey and alpha), x 3 (RGB) or x 4 (RGBA) as a PNG of 16 bits: Pillow writes none."""
    height, width, channels = pixels.shape
    rows = pixels.astype(">u2").reshape(height, -1).view(np.uint8)
    unfiltered = np.pad(rows, ((0, 0), (1, 0))).tobytes()
    return _raw_png(width, height, zlib.compress(unfiltered), bits=16, colour_type={2: 4, 3: 2, 4: 6}[channels])


def truncated_jpeg() -> bytes:
    """Return a JPEG whose second half never arrived."""
    data = jpeg(street(120, 160))
    return data[: len(data) // 2]


def corrupt_middle_jpeg() -> bytes:
    """Return a JPEG of the right length with noise in the middle of its scan."""
    data = bytearray(jpeg(street(120, 160)))
    middle = len(data) // 2
    data[middle : middle + 40] = np.random.default_rng(1).integers(0, 250, 40, dtype=np.uint8).tobytes()
    return bytes(data)


def cmyk_jpeg(pixels: Pixels) -> bytes:
    """Return H x W x 3 as a JPEG in CMYK, without black."""
    return encoded(Image.fromarray(pixels).convert("CMYK"), "JPEG", quality=95)


def palette_png(pixels: Pixels) -> bytes:
    """Return H x W x 3 as an indexed PNG of at most 256 colours, some of them transparent."""
    image = Image.fromarray(pixels).quantize(256)
    return encoded(image, "PNG", transparency=bytes(range(0, 256, 8)))


def animated_gif(frames: list[Pixels]) -> bytes:
    """Return the frames, each H x W x 3, as an animated GIF."""
    return _animation(frames, "GIF", loop=0)


def animated_webp(frames: list[Pixels]) -> bytes:
    """Return the frames, each H x W x 3, as a lossless animated WebP."""
    return _animation(frames, "WEBP", lossless=True)


def _animation(frames: list[Pixels], format: str, **options: Any) -> bytes:
    first, *others = (Image.fromarray(frame) for frame in frames)
    return encoded(first, format, save_all=True, append_images=others, duration=100, **options)


def multi_picture_jpeg(pixels: Pixels) -> bytes:
    """Return a JPEG with a second, small picture behind it (MPO), as many phones write."""
    preview = Image.fromarray(pixels[::4, ::4])
    return encoded(Image.fromarray(pixels), "MPO", save_all=True, append_images=[preview], quality=95)


def exif_block(orientation: int) -> bytes:
    """Return an EXIF block with this orientation."""
    exif = Image.Exif()
    exif[_ORIENTATION_TAG] = orientation
    return exif.tobytes()


def with_exif(jpeg_data: bytes, orientation: int) -> bytes:
    """Return the JPEG with an EXIF block put in, pixels untouched."""
    payload = exif_block(orientation)
    return jpeg_data[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + jpeg_data[2:]


def oriented(pixels: Pixels, orientation: int, format: str) -> bytes:
    """Return a nearly lossless photo that a viewer shows as `pixels`, stored turned, with EXIF to say so."""
    stored = {
        1: pixels,
        2: np.fliplr(pixels),
        3: np.rot90(pixels, 2),
        4: np.flipud(pixels),
        5: pixels.transpose(1, 0, 2),
        6: np.rot90(pixels, 1),  # shown by turning it clockwise
        7: np.rot90(pixels, 2).transpose(1, 0, 2),
        8: np.rot90(pixels, -1),
    }[orientation]
    options: dict[str, dict[str, Any]] = {
        "JPEG": {"quality": 100, "subsampling": 0},
        "PNG": {},
        "WEBP": {"lossless": True},
    }
    image = Image.fromarray(np.ascontiguousarray(stored))
    return encoded(image, format, exif=exif_block(orientation), **options[format])


def png_claiming(width: int, height: int) -> bytes:
    """Return a PNG of one pixel's data whose header claims width x height."""
    return _raw_png(width, height, zlib.compress(b"\0\0\0\0"))


def png_of_400_megapixels() -> bytes:
    """Return a real PNG of 20 000 x 20 000 black pixels, about 400 KB."""
    row, deflate = bytes(1 + 20_000), zlib.compressobj(9)
    rows = b"".join(deflate.compress(row) for _ in range(20_000)) + deflate.flush()
    return _raw_png(20_000, 20_000, rows, colour_type=0)


def _raw_png(width: int, height: int, compressed: bytes, *, bits: int = 8, colour_type: int = 2) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", compressed), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(name, content) for name, content in chunks)


def png_chunk(name: bytes, content: bytes) -> bytes:
    """Return one PNG chunk with its length and checksum."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
