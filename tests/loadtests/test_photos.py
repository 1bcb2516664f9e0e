import numpy as np
import pytest

from images import decode, probe
from loadtests.photos import lean_photo, padded, small_photo, street_photo

MAX_PIXELS = 10**7


def test_the_small_photo_weighs_100_kb() -> None:
    photo = small_photo()
    info = probe(photo.body, max_pixels=MAX_PIXELS)
    assert len(photo.body) == 100_000
    assert (info.height, info.width) == (photo.height, photo.width)
    assert photo.units == 1


def test_a_photo_of_twice_the_pixels_counts_two() -> None:
    assert street_photo(384, 256).units == 2


@pytest.mark.parametrize("extra", [0, 4, 65_537, 65_538, 65_540, 200_000])
def test_padding_changes_no_pixel(extra: int) -> None:
    jpeg = lean_photo().body
    larger = padded(jpeg, len(jpeg) + extra)
    assert len(larger) == len(jpeg) + extra
    assert np.array_equal(decode(larger, max_pixels=MAX_PIXELS), decode(jpeg, max_pixels=MAX_PIXELS))


def test_a_photo_cannot_be_padded_to_less() -> None:
    with pytest.raises(ValueError, match="cannot be padded"):
        padded(lean_photo().body, 100)
