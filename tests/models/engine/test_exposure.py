import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.engine.engine import Engine
from models.engine.exposure import brighten
from models.engine.network import EagerNetwork
from models.weights.card import Preprocessing
from tests.models.colour_network import ColourNetwork
from tests.photos import street


@pytest.mark.parametrize("level", [5, 20, 60, 80])
def test_a_dark_photo_becomes_about_as_bright_as_asked(level: int) -> None:
    grey = np.full((30, 40, 3), level, dtype=np.uint8)
    brightened = brighten(grey, 0.33)
    assert brightened.shape == grey.shape
    assert brightened.dtype == np.uint8
    assert brightened.mean() / 255 == pytest.approx(0.33, abs=0.002)

    dusk = (street(96, 128) * 0.4).astype(np.uint8)
    assert dusk.mean() / 255 < 0.25
    assert brighten(dusk, 0.33).mean() / 255 == pytest.approx(0.33, abs=0.05)


@pytest.mark.parametrize("level", [0, 1, 85, 255])
def test_photos_that_are_black_or_bright_stay_as_they_are(level: int) -> None:
    grey = np.full((30, 40, 3), level, dtype=np.uint8)
    assert brighten(grey, 0.33) is grey


@given(seed=st.integers(0, 2**32 - 1), darkness=st.floats(0.01, 1), mean=st.floats(0.05, 0.95))
def test_no_pixel_gets_darker_and_none_overtakes_another(seed: int, darkness: float, mean: float) -> None:
    photo = (np.random.default_rng(seed).integers(256, size=(20, 30, 3)) * darkness).astype(np.uint8)
    brightened = brighten(photo, mean)
    assert (brightened >= photo).all()
    order = np.argsort(photo.ravel(), kind="stable")
    assert (np.diff(brightened.ravel()[order].astype(int)) >= 0).all()
    assert (brightened[photo == 0] == 0).all()
    assert (brightened[photo == 255] == 255).all()


def test_the_engine_brightens_each_photo_for_itself() -> None:
    preprocessing = Preprocessing(long_side=96, brightness=0.33)
    network = ColourNetwork(preprocessing)
    engine = Engine(EagerNetwork(network, preprocessing, dtype=torch.float32), preprocessing)
    day, dusk = street(64, 96), (street(64, 96, 1) * 0.3).astype(np.uint8)
    assert dusk.mean() / 255 < 0.33 < day.mean() / 255
    sizes = [engine.input_size(64, 96)] * 2
    for photos in ([day, dusk], [dusk, day], [dusk]):
        batch = engine.batch(photos, sizes[: len(photos)], sizes[0].bucket).numpy()
        for pixels, photo in zip(batch, photos, strict=True):
            assert np.array_equal(pixels, brighten(photo, 0.33))
    # Larger than the network sees it: still as bright as asked.
    large = (street(256, 384) * 0.3).astype(np.uint8)
    size = engine.input_size(256, 384)
    assert engine.batch([large], [size], size.bucket).double().mean() / 255 == pytest.approx(0.33, abs=0.05)
