from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.engine.engine import Engine, Photo
from models.engine.loading import find, load_engine
from models.engine.network import EagerNetwork
from models.weights.card import Preprocessing
from tests.conftest import in_colours
from tests.models.colour_network import ColourNetwork
from tests.photos import street

PREPROCESSING = Preprocessing(long_side=96)


@pytest.fixture
def network() -> ColourNetwork:
    return ColourNetwork(PREPROCESSING)


@pytest.fixture
def engine(network: ColourNetwork) -> Engine:
    """Labels photos drawn in the colours of the classes without an error."""
    return Engine(EagerNetwork(network, PREPROCESSING, dtype=torch.float32), PREPROCESSING)


@pytest.fixture(scope="module")
def tiny(checkpoint_dir: Path) -> Callable[[torch.dtype], Engine]:
    """A real network, in float32 or bfloat16."""
    return cache(lambda dtype: load_engine(find("tiny", checkpoint_dir), dtype=dtype))


def random_labels(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 11, (height, width), dtype=np.uint8)


def equal_share(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(np.mean(one == other))


def test_photos_of_any_sizes_are_labelled_in_their_order(engine: Engine) -> None:
    truths = [random_labels(*size, seed) for seed, size in enumerate([(40, 60), (96, 20), (33, 64), (64, 64), (1, 1)])]
    segmentations = engine.run([in_colours(truth) for truth in truths])
    assert len(segmentations) == len(truths)
    for segmentation, truth in zip(segmentations, truths, strict=True):
        assert np.array_equal(segmentation.labels, truth)
        assert segmentation.labels.dtype == np.uint8
        assert segmentation.pixels.dtype == np.int64
        assert segmentation.pixels.tolist() == np.bincount(truth.ravel(), minlength=11).tolist()


def test_no_photos_are_no_work(engine: Engine, network: ColourNetwork) -> None:
    assert engine.run([]) == []
    assert network.inputs == []


def test_equal_buckets_share_a_batch_and_others_do_not(engine: Engine, network: ColourNetwork) -> None:
    sizes = [(40, 60), (64, 33), (40, 70), (33, 64)]
    engine.run([street(*size) for size in sizes])
    assert sorted(batch.shape for batch in network.inputs) == [(1, 3, 64, 96), (3, 3, 64, 64)]


def test_the_network_sees_normalised_pixels_padded_with_the_mean_colour(engine: Engine, network: ColourNetwork) -> None:
    photo = street(40, 60)
    engine.run([photo])
    [batch] = network.inputs
    expected = (photo.transpose(2, 0, 1) / 255 - np.array(engine.preprocessing.mean)[:, None, None]) / np.array(
        engine.preprocessing.std
    )[:, None, None]
    np.testing.assert_allclose(batch[0, :, :40, :60], expected, atol=1e-5)
    # Half a step of uint8 is at most 0.009 of a standard deviation.
    assert batch[:, :, 40:].abs().max() < 0.009
    assert batch[:, :, :, 60:].abs().max() < 0.009


def test_a_large_photo_is_scaled_down_for_the_network_and_labelled_at_its_own_size(
    engine: Engine, network: ColourNetwork
) -> None:
    truth = np.array([[0, 1, 0], [3, 8, 3]], np.uint8).repeat(64, 0).repeat(128, 1)
    [segmentation] = engine.run([in_colours(truth)])
    assert [batch.shape for batch in network.inputs] == [(1, 3, 32, 96)]
    assert segmentation.labels.shape == (128, 384)
    assert segmentation.pixels.sum() == 128 * 384
    # But for a pixel of the network's at the edges, where colours mix.
    areas = [slice(4, 60), slice(68, 124)], [slice(4, 124), slice(132, 252), slice(260, 380)]
    for rows in areas[0]:
        for columns in areas[1]:
            assert np.array_equal(segmentation.labels[rows, columns], truth[rows, columns])


def test_long_side_can_be_chosen_but_nothing_is_scaled_up(engine: Engine, network: ColourNetwork) -> None:
    photo = street(60, 120)
    for long_side in (None, 64, 120, 4000):
        engine.run([photo], long_side=long_side)
    assert [tuple(batch.shape[2:]) for batch in network.inputs] == [(64, 96), (32, 64), (64, 128), (64, 128)]
    assert engine.input_size(60, 120, 64).bucket == (32, 64)


def test_confidence_comes_only_when_asked_for(engine: Engine) -> None:
    photo = in_colours(random_labels(40, 60, 0))
    [without] = engine.run([photo])
    [segmentation] = engine.run([photo], confidence=True)
    assert without.confidence is None
    assert segmentation.confidence is not None
    assert segmentation.confidence.shape == (40, 60)
    assert segmentation.confidence.dtype == np.uint8
    assert segmentation.confidence.min() >= 255 // 11
    assert np.array_equal(segmentation.labels, without.labels)


@pytest.mark.parametrize("turn", [lambda p: p[:, ::-1], lambda p: p.transpose(1, 0, 2), lambda p: p])
def test_views_and_read_only_arrays_are_taken(engine: Engine, turn: Callable[[Photo], Photo]) -> None:
    truth = random_labels(40, 60, 0)
    photo = turn(in_colours(truth))
    photo.flags.writeable = False
    before = photo.copy()
    [segmentation] = engine.run([photo])
    assert np.array_equal(in_colours(segmentation.labels), photo)
    assert np.array_equal(photo, before)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5000), (5000, 1), (37, 53)])
def test_a_real_network_labels_odd_sizes(tiny: Callable[[torch.dtype], Engine], height: int, width: int) -> None:
    [segmentation] = tiny(torch.bfloat16).run([street(height, width)], confidence=True)
    assert segmentation.labels.shape == (height, width)
    assert segmentation.labels.max() < 11
    assert segmentation.pixels.sum() == height * width


@pytest.mark.parametrize(("dtype", "share"), [(torch.float32, 0.9999), (torch.bfloat16, 0.999)])
def test_a_photos_labels_do_not_depend_on_its_batch_mates(
    tiny: Callable[[torch.dtype], Engine], dtype: torch.dtype, share: float
) -> None:
    engine = tiny(dtype)
    # All of one bucket, 64 x 160, though of several sizes; the large one is scaled.
    photos = [street(*size, seed) for seed, size in enumerate([(40, 130), (64, 160), (33, 129), (180, 480)])]
    assert len({engine.input_size(*photo.shape[:2]).bucket for photo in photos}) == 1
    together = engine.run(photos)
    alone = [engine.run([photo])[0] for photo in photos]
    for one, other in zip(together, alone, strict=True):
        assert equal_share(one.labels, other.labels) >= share


def test_bfloat16_agrees_with_float32(
    tiny: Callable[[torch.dtype], Engine], record_property: Callable[[str, object], None]
) -> None:
    photos = [street(120, 160, seed) for seed in range(4)]
    exact, rounded = (tiny(dtype).run(photos) for dtype in (torch.float32, torch.bfloat16))
    shares = [equal_share(one.labels, other.labels) for one, other in zip(exact, rounded, strict=True)]
    record_property("pixels of equal label", shares)
    # Random weights leave many near ties.
    assert min(shares) > 0.95
