import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from models.engine.exposure import brighten
from models.training.augmentation import Augmentation, crop, jitter_colours, resize
from models.training.copy_paste import Donor
from models.weights.card import Preprocessing
from tests.conftest import in_colours
from tests.models.training.runs import make_recipe
from tests.photos import street

PREPROCESSING = Preprocessing(long_side=64)


def stripes(height: int, width: int) -> NDArray[np.uint8]:
    """A label map whose columns count up to 10 and begin again."""
    return np.broadcast_to(np.arange(width, dtype=np.uint8) % 11, (height, width)).copy()


def pixels_of(inputs: Tensor) -> NDArray[np.uint8]:
    """The photo, H x W x 3, of a normalised 3 x H x W."""
    mean, std = torch.tensor(PREPROCESSING.mean).view(3, 1, 1), torch.tensor(PREPROCESSING.std).view(3, 1, 1)
    pixels: NDArray[np.uint8] = ((inputs * std + mean) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return pixels


def test_a_dark_photo_is_brightened_as_for_serving() -> None:
    dusk = (street(40, 56) * 0.3).astype(np.uint8)
    plain = make_recipe(crop=(40, 56), scale=(1.0, 1.0), flip=0, photometric=0)
    augment = Augmentation(plain, Preprocessing(long_side=64, brightness=0.33))
    inputs, _ = augment(dusk, stripes(40, 56), np.random.default_rng(0))
    assert np.array_equal(pixels_of(inputs), brighten(dusk, 0.33))


@pytest.mark.parametrize(("height", "width"), [(48, 64), (30, 100), (200, 20), (1, 1)])
def test_views_have_the_crops_size_whatever_the_photos(height: int, width: int) -> None:
    augment = Augmentation(make_recipe(crop=(40, 56)), PREPROCESSING)
    for seed in range(5):
        inputs, targets = augment(street(height, width), stripes(height, width), np.random.default_rng(seed))
        assert (inputs.shape, inputs.dtype) == ((3, 40, 56), torch.float32)
        assert (targets.shape, targets.dtype) == ((40, 56), torch.int64)


def test_what_the_photo_does_not_cover_is_mean_colour_and_ignored() -> None:
    augment = Augmentation(make_recipe(crop=(40, 56), scale=(1.0, 1.0)), PREPROCESSING)
    inputs, targets = augment(street(30, 50), stripes(30, 50), np.random.default_rng(0))
    assert (targets[:30, :50] != 255).all()
    assert (targets[30:] == 255).all()
    assert (targets[:, 50:] == 255).all()
    assert not inputs[:, 30:].any()
    assert not inputs[:, :, 50:].any()


def test_ignored_pixels_stay_ignored() -> None:
    _, targets = Augmentation(make_recipe(), PREPROCESSING)(
        street(96, 128), np.full((96, 128), 255, np.uint8), np.random.default_rng(0)
    )
    assert (targets == 255).all()


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000))
def test_photo_and_labels_are_cut_and_flipped_together(seed: int) -> None:
    recipe = make_recipe(crop=(20, 30), scale=(1.0, 1.0), photometric=0.0)
    labels = np.random.default_rng(0).integers(0, 11, (48, 64), dtype=np.uint8)
    inputs, targets = Augmentation(recipe, PREPROCESSING)(in_colours(labels), labels, np.random.default_rng(seed))
    assert np.array_equal(pixels_of(inputs), in_colours(targets.numpy().astype(np.uint8)))


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_a_flip_is_left_to_right_and_as_likely_as_told(flip: float) -> None:
    augment = Augmentation(make_recipe(crop=(8, 11), scale=(1.0, 1.0), flip=flip, photometric=0.0), PREPROCESSING)
    for seed in range(5):
        _, targets = augment(street(8, 11), stripes(8, 11), np.random.default_rng(seed))
        assert targets[0].tolist() == (list(range(10, -1, -1)) if flip else list(range(11)))


def test_scales_span_their_range_evenly_in_the_logarithm() -> None:
    augment = Augmentation(make_recipe(crop=(64, 64), scale=(0.5, 2.0), photometric=0.0), PREPROCESSING)
    labels = np.zeros((32, 32), np.uint8)
    sides = [
        int((augment(street(32, 32), labels, np.random.default_rng(seed))[1][0] == 0).sum()) for seed in range(1000)
    ]
    assert min(sides) >= 16
    assert max(sides) <= 64
    # Evenly in the scale itself it would be a third.
    assert np.mean(np.array(sides) < 32) == pytest.approx(0.5, abs=0.05)


def test_views_derive_from_the_generator_alone() -> None:
    augment, photo, labels = Augmentation(make_recipe(), PREPROCESSING), street(96, 128), stripes(96, 128)
    before = photo.copy()
    first, again, other = (augment(photo, labels, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert np.array_equal(photo, before)


def test_resized_labels_are_the_nearest_pixels() -> None:
    photo, labels = resize(street(4, 22), stripes(4, 22), 0.5, (99, 99))
    assert photo.shape == (2, 11, 3)
    assert labels.tolist() == [stripes(1, 22)[0, 1::2].tolist()] * 2
    _, labels = resize(street(2, 4), stripes(2, 4), 2, (99, 99))
    assert labels[0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_window_of_an_enlarged_photo_shows_less_of_it() -> None:
    augment = Augmentation(make_recipe(crop=(40, 40), scale=(4.0, 4.0), flip=0.0, photometric=0.0), PREPROCESSING)
    _, targets = augment(street(40, 40), stripes(40, 40), np.random.default_rng(0))
    assert (targets != 255).all()
    first = int(targets[0, 0])
    assert targets[0].tolist() == [(first + column // 4) % 11 for column in range(40)]


def test_pasted_pixels_are_the_donors() -> None:
    augment = Augmentation(make_recipe(crop=(8, 11), scale=(1.0, 1.0), flip=0.0, photometric=0.0), PREPROCESSING)
    donor = Donor(in_colours(stripes(8, 11)), stripes(8, 11), np.array([2, 7]))
    zeros = np.zeros((8, 11), np.uint8)
    inputs, targets = augment(in_colours(zeros), zeros, np.random.default_rng(0), donor)
    assert targets[0].tolist() == [0, 0, 2, 0, 0, 0, 0, 7, 0, 0, 0]
    assert np.array_equal(pixels_of(inputs), in_colours(targets.numpy().astype(np.uint8)))


def test_every_window_can_be_cropped() -> None:
    photo, labels = street(5, 12), stripes(5, 12)
    lefts = {int(crop(photo, labels, (5, 10), np.random.default_rng(seed))[1][0, 0]) for seed in range(50)}
    assert lefts == {0, 1, 2}


@given(seed=st.integers(0, 10_000), strength=st.floats(0.01, 1))
def test_jittered_colours_stay_colours(seed: int, strength: float) -> None:
    colours = street(8, 10).astype(np.float32) / np.float32(255)
    jittered = jitter_colours(colours, strength, np.random.default_rng(seed))
    assert jittered.shape == colours.shape
    assert jittered.dtype == np.float32
    assert 0 <= jittered.min() <= jittered.max() <= 1


def test_a_weaker_jitter_changes_less() -> None:
    colours = street(8, 10).astype(np.float32) / np.float32(255)
    change = [
        np.mean([np.abs(jitter_colours(colours, s, np.random.default_rng(i)) - colours).mean() for i in range(20)])
        for s in (1e-6, 0.1, 1.0)
    ]
    assert change[0] < 1e-5 < change[1] < change[2]
