"""Photos for tests, drawn in code: a street scene, and the awkward files that callers send."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Pixels = NDArray[np.uint8]

_ORIENTATION_TAG = 0x0112


def street(height: int, width: int, seed: int = 0) -> Pixels:
    """Return a drawn street scene, height x width x 3, uint8, RGB: the same one for the same seed."""
    rng = np.random.default_rng(seed)
    horizon = height * 0.45
    sky = np.linspace((120, 170, 230), (215, 228, 240), height)
    image = Image.fromarray(np.broadcast_to(sky[:, np.newaxis].astype(np.uint8), (height, width, 3)).copy())
    draw = ImageDraw.Draw(image)
    _draw_buildings(draw, rng, width, height, horizon)
    _draw_ground(draw, width, height, horizon)
    for x in rng.uniform(0.02, 0.98, 4) * width:
        _draw_tree(draw, rng, x, horizon, height)
    _draw_car(draw, rng.uniform(0.35, 0.6) * width, height * 0.68, height * 0.16)
    pole = rng.uniform(0.8, 0.95) * width
    draw.rectangle((pole, height * 0.15, pole + max(1, width * 0.006), height * 0.75), fill=(70, 72, 75))
    noise = rng.normal(0, 4, (height, width, 1)) + rng.normal(0, 2, (height, width, 3))
    return np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8)


def _draw_buildings(
    draw: ImageDraw.ImageDraw, rng: np.random.Generator, width: int, height: int, horizon: float
) -> None:
    left = 0.0
    while left < width:
        right = left + max(2, rng.uniform(0.08, 0.2) * width)
        top = rng.uniform(0.05, 0.3) * height
        wall = tuple(int(v) for v in rng.uniform((110, 80, 70), (190, 160, 140)))
        draw.rectangle((left, top, right, horizon * 1.1), fill=wall)
        pane = max(2, height * 0.04)
        for y in np.arange(top + pane, horizon - pane, 2 * pane):
            for x in np.arange(left + pane, right - pane, 2 * pane):
                draw.rectangle((x, y, x + pane * 0.8, y + pane), fill=(50, 60, 80))
        left = right


def _draw_ground(draw: ImageDraw.ImageDraw, width: int, height: int, horizon: float) -> None:
    draw.rectangle((0, horizon, width, height), fill=(165, 160, 155))
    road = [(width * 0.45, horizon), (width * 0.55, horizon), (width * 1.05, height), (width * -0.05, height)]
    draw.polygon(road, fill=(82, 82, 86))
    for near in np.linspace(0.1, 1, 6):
        y, half = horizon + near * (height - horizon) * 0.9, max(1, near * width * 0.012)
        dash = near * height * 0.05
        draw.rectangle((width / 2 - half, y, width / 2 + half, y + dash), fill=(235, 235, 225))


def _draw_tree(draw: ImageDraw.ImageDraw, rng: np.random.Generator, x: float, horizon: float, height: int) -> None:
    crown, foot = height * rng.uniform(0.06, 0.12), horizon * 1.2
    draw.rectangle((x - crown * 0.1, foot - 2.5 * crown, x + crown * 0.1, foot), fill=(90, 65, 45))
    draw.ellipse((x - crown, foot - 4 * crown, x + crown, foot - 1.5 * crown), fill=(60, int(rng.uniform(90, 130)), 50))


def _draw_car(draw: ImageDraw.ImageDraw, x: float, y: float, size: float) -> None:
    draw.rectangle((x - size, y - size * 0.5, x + size, y), fill=(170, 30, 35))
    draw.rectangle((x - size * 0.6, y - size * 0.95, x + size * 0.6, y - size * 0.5), fill=(55, 65, 80))
    for wheel in (x - size * 0.6, x + size * 0.6):
        draw.ellipse((wheel - size * 0.2, y - size * 0.2, wheel + size * 0.2, y + size * 0.2), fill=(25, 25, 25))


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
