import pytest

from images import ALLOWED_FORMATS, FormatNotAllowed, NotAnImage, probe
from tests import photos

LIMIT = 1_000_000


@pytest.mark.parametrize(
    ("data", "format"),
    [
        (photos.jpeg(photos.street(30, 40)), "JPEG"),
        (photos.multi_picture_jpeg(photos.street(30, 40)), "JPEG"),
        (photos.png(photos.street(30, 40)), "PNG"),
        (photos.webp(photos.street(30, 40)), "WEBP"),
        (photos.animated_gif([photos.street(30, 40)]), "GIF"),
        (photos.bmp(photos.street(30, 40)), "BMP"),
    ],
)
def test_allowed_formats_are_known_by_their_signature(data: bytes, format: str) -> None:
    assert probe(data, max_pixels=LIMIT).format == format
    assert format in ALLOWED_FORMATS


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"hello",
        b"{}",
        b"BMW is a maker of cars, and this is a text.",
        b"RIFF\0\0\0\0WAVEfmt ",
        b"<html><body>not found</body></html>",
        b"\0\0\0\x20ftypisom a film",
        bytes(1000),
    ],
)
def test_anything_else_is_not_an_image(data: bytes) -> None:
    with pytest.raises(NotAnImage, match=r"send .*photo"):
        probe(data, max_pixels=LIMIT)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"II*\0\x08\0\0\0", "TIFF"),
        (b"MM\0*\0\0\0\x08", "TIFF"),
        (b"MM\0+\0\x08\0\0", "TIFF"),
        (b"\0\0\0\x20ftypavif\0\0\0\0", "AVIF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0", "HEIC"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\xff\x4f\xff\x51\0\x29", "JPEG 2000"),
        (b"\xff\x0a\xfa\x7f", "JPEG XL"),
        (b"8BPS\0\x01", "PSD"),
        (b"%PDF-1.7\n", "PDF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"<?xml version='1.0'?>\n<!-- drawn -->\n<svg/>", "SVG"),
        (b"\0\0\x01\0\x01\0\x20\x20", "ICO"),
    ],
)
def test_other_formats_are_refused_by_name(data: bytes, name: str) -> None:
    with pytest.raises(FormatNotAllowed, match=f"{name} is not taken: send the photo as JPEG, PNG, WEBP, GIF or BMP"):
        probe(data, max_pixels=LIMIT)
