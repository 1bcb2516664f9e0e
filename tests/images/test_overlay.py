import io
from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from images import OVERLAY_MEDIA_TYPES, TooManyPixels, blend, encode_overlay
from tests import photos

RNG = np.random.default_rng(0)
PALETTE = RNG.integers(0, 256, 768, dtype=np.uint8).tobytes()
COLOURS = np.frombuffer(PALETTE, np.uint8).reshape(256, 3)


def test_alpha_0_is_the_photo_and_1_the_colours() -> None:
    photo = RNG.integers(0, 256, (300, 500, 3), dtype=np.uint8)
    labels = RNG.integers(0, 256, (300, 500), dtype=np.uint8)
    assert np.array_equal(blend(photo, labels, PALETTE, 0), photo)
    assert np.array_equal(blend(photo, labels, PALETTE, 1), COLOURS[labels])


@given(
    st.floats(0, 1),
    st.tuples(st.integers(1, 300), st.sampled_from([1, 7, 400])),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0, 1, 255, None]),
)
def test_within_1_of_the_formula(alpha: float, size: tuple[int, int], seed: int, value: int | None) -> None:
    rng = np.random.default_rng(seed)
    photo = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    if value is not None:
        photo[:] = value
    labels = rng.integers(0, 256, size, dtype=np.uint8)
    palette = bytes(rng.choice(np.array([0, 1, 128, 254, 255], np.uint8), 768))
    expected = photo * (1 - alpha) + np.frombuffer(palette, np.uint8).reshape(256, 3)[labels] * alpha
    blended = blend(photo, labels, palette, alpha)
    assert blended.dtype == np.uint8
    assert blended.shape == photo.shape
    assert np.abs(blended - expected).max() <= 1


def test_the_photo_is_left_as_it_was() -> None:
    photo, labels = photos.street(40, 50), np.zeros((40, 50), np.uint8)
    before = photo.copy()
    blend(photo, labels, PALETTE, 0.5)
    assert np.array_equal(photo, before)


@pytest.mark.parametrize(
    ("media_type", "format", "tolerance"),
    [("image/jpeg", "JPEG", 8), ("image/webp", "WEBP", 8), ("image/png", "PNG", 0)],
)
def test_each_media_type(media_type: str, format: str, tolerance: float) -> None:
    photo, labels = photos.street(80, 120), np.repeat(np.arange(80, dtype=np.uint8) // 20, 120).reshape(80, 120)
    data = encode_overlay(photo, labels, PALETTE, alpha=0.5, media_type=media_type)
    image = Image.open(io.BytesIO(data))
    assert image.format == format
    expected = blend(photo, labels, PALETTE, 0.5)
    assert np.abs(np.asarray(image.convert("RGB")).astype(int) - expected).mean() <= tolerance
    assert media_type in OVERLAY_MEDIA_TYPES


def test_the_longest_side_of_a_jpeg_can_be_written() -> None:
    for width in (65_500, 65_501):
        photo, labels = np.zeros((1, width, 3), np.uint8), np.zeros((1, width), np.uint8)
        refusal = pytest.raises(TooManyPixels, match="65,500") if width > 65_500 else nullcontext()
        with refusal:
            data = encode_overlay(photo, labels, PALETTE, alpha=0.5, media_type="image/jpeg")
            assert Image.open(io.BytesIO(data)).size == (width, 1)


def test_a_side_too_long_for_the_format() -> None:
    photo, labels = np.zeros((1, 16_384, 3), np.uint8), np.zeros((1, 16_384), np.uint8)
    with pytest.raises(TooManyPixels, match="16,383 pixels a side: ask for image/png"):
        encode_overlay(photo, labels, PALETTE, alpha=0.5, media_type="image/webp")
    data = encode_overlay(photo, labels, PALETTE, alpha=0.5, media_type="image/png")
    assert Image.open(io.BytesIO(data)).size == (16_384, 1)
