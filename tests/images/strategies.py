"""Hostile files for property tests."""

from hypothesis import strategies as st

from tests import photos

_SMALL = photos.street(24, 32)

REAL_FILES = {
    "JPEG": photos.jpeg(_SMALL, exif=photos.exif_block(6)),
    "progressive JPEG": photos.jpeg(_SMALL, progressive=True),
    "CMYK JPEG": photos.cmyk_jpeg(_SMALL),
    "MPO": photos.multi_picture_jpeg(_SMALL),
    "PNG": photos.png(_SMALL, exif=photos.exif_block(6)),
    "palette PNG": photos.palette_png(_SMALL),
    "WebP": photos.oriented(_SMALL, 6, "WEBP"),
    "lossy WebP": photos.webp(_SMALL),
    "animated WebP": photos.animated_webp([_SMALL, _SMALL[::-1]]),
    "GIF": photos.animated_gif([_SMALL, _SMALL[::-1]]),
    "BMP": photos.bmp(_SMALL),
}


@st.composite
def mutated_files(draw: st.DrawFn) -> bytes:
    """A real file with a few bytes changed, most of them in its header, and perhaps its end cut off."""
    data = bytearray(draw(st.sampled_from(sorted(REAL_FILES.items())))[1])
    places = st.one_of(st.integers(0, min(200, len(data) - 1)), st.integers(0, len(data) - 1))
    for place, value in draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=6)):
        data[place] = value
    return bytes(data[: draw(st.one_of(st.just(len(data)), st.integers(0, len(data))))])
