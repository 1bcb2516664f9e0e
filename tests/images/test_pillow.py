import io
import warnings

import numpy as np
import pytest
from PIL import Image

from images import decode
from tests import photos

PHOTO = photos.street(24, 32)


def test_an_invalid_animation_is_a_picture_and_warns_nobody() -> None:
    data = photos.png(PHOTO)
    no_frames = data[:33] + photos.png_chunk(b"acTL", bytes(8)) + data[33:]
    with pytest.warns(UserWarning, match="Invalid APNG"):
        Image.open(io.BytesIO(no_frames))
    assert np.array_equal(decode(no_frames, max_pixels=10_000), PHOTO)


def test_the_warnings_of_others_are_left_alone() -> None:
    decode(photos.png(PHOTO), max_pixels=10_000)
    with pytest.raises(UserWarning, match="still heard"):
        warnings.warn("still heard", stacklevel=1)
