import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from images import DamagedImage, ImageError, ImageInfo, TooManyPixels, probe
from tests import photos
from tests.images.memory import peak_growth
from tests.images.strategies import REAL_FILES, mutated_files

MEGABYTE = 1 << 20


@pytest.mark.parametrize("name", REAL_FILES)
def test_size_is_the_stored_one(name: str) -> None:
    info = probe(REAL_FILES[name], max_pixels=24 * 32)
    # The WebP is stored turned, and its EXIF says so.
    assert (info.height, info.width) == ((32, 24) if name == "WebP" else (24, 32))


@pytest.mark.parametrize("name", REAL_FILES)
def test_one_pixel_too_many(name: str) -> None:
    with pytest.raises(TooManyPixels, match="make it smaller"):
        probe(REAL_FILES[name], max_pixels=24 * 32 - 1)


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1)])
def test_extreme_shapes(size: tuple[int, int]) -> None:
    height, width = size
    photo = photos.street(height, width)
    assert probe(photos.jpeg(photo), max_pixels=5000) == ImageInfo("JPEG", width, height)
    assert probe(photos.png(photo), max_pixels=5000) == ImageInfo("PNG", width, height)
    assert probe(photos.webp(photo), max_pixels=5000) == ImageInfo("WEBP", width, height)


def test_bmp_of_each_kind() -> None:
    data = photos.bmp(photos.street(24, 32))
    from_top_to_bottom = data[:22] + struct.pack("<i", -24) + data[26:]
    assert probe(from_top_to_bottom, max_pixels=10_000) == ImageInfo("BMP", 32, 24)
    os2 = data[:14] + struct.pack("<IHHHH", 12, 32, 24, 1, 24)
    assert probe(os2, max_pixels=10_000) == ImageInfo("BMP", 32, 24)


@pytest.mark.parametrize("name", REAL_FILES)
def test_cut_off_within_the_header(name: str) -> None:
    with pytest.raises(DamagedImage, match="send"):
        probe(REAL_FILES[name][: 9 if name == "GIF" else 20], max_pixels=10_000)


@pytest.mark.parametrize(
    "data",
    [
        photos.png_claiming(0, 10),
        b"GIF89a" + struct.pack("<HH", 10, 0),
        photos.png_claiming(10, 10).replace(b"IHDR", b"IDAT"),
        b"RIFF\0\0\0\0WEBPVP8 " + bytes(20),
        b"RIFF\0\0\0\0WEBPVP8L" + bytes(20),
        b"RIFF\0\0\0\0WEBPABCD" + bytes(20),
    ],
)
def test_headers_that_make_no_sense(data: bytes) -> None:
    with pytest.raises(DamagedImage, match="save the photo again"):
        probe(data, max_pixels=10_000)


@pytest.mark.parametrize(
    "bomb",
    [
        photos.png_claiming(40_000, 40_000),
        photos.png_of_400_megapixels(),
        b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0" + b"\xff\xff\xff" * 2,
        b"GIF89a" + struct.pack("<HH", 65_535, 65_535),
    ],
    ids=["PNG that claims 40000 x 40000", "PNG of 400 megapixels", "WebP of 2 ** 48 pixels", "GIF of 4 gigapixels"],
)
def test_bombs_are_refused_for_nothing(bomb: bytes, tmp_path: Path) -> None:
    assert len(bomb) < 400_000
    with pytest.raises(TooManyPixels, match="more than the limit of 50,000,000"):
        probe(bomb, max_pixels=50_000_000)
    small = photos.png(photos.street(10, 10))
    assert peak_growth("probe(data, max_pixels=50_000_000)", bomb, small, tmp_path) < 20 * MEGABYTE


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_else(data: bytes) -> None:
    with pytest.raises(ImageError):
        probe(data, max_pixels=10_000)


@settings(max_examples=500)
@given(mutated_files())
def test_mutated_files_raise_nothing_else(data: bytes) -> None:
    try:
        info = probe(data, max_pixels=10_000)
    except ImageError:
        return
    assert 1 <= info.width * info.height <= 10_000
