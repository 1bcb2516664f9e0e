import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from loadtests.street import street
from models.engine import label_upsampling
from models.engine.label_upsampling import Upsampled, upsample, upsample_in_torch
from models.engine.loading import find, load_network

# In exact arithmetic, two logits that are closer than this may change places by rounding.
TIE = 1e-5

grids = st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9))
photo_sizes = st.tuples(st.integers(1, 70), st.integers(1, 300))
seeds = st.integers(0, 1000)
# Few values make many ties; the others nearly tie, or are lost beside larger ones.
values = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, 1.0 + 2**-23, 1.0 - 2**-24, -1.0, 1e-30, 1e-45, 1e30]),
    st.floats(-100, 100, width=32),
)


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def random_logits(shape: tuple[int, int, int], seed: int, smooth: int = 1) -> Tensor:
    """smooth: the side of squares of points with equal logits, so that tiles of one class occur."""
    classes, height, width = shape
    coarse = torch.randn(
        classes, -(-height // smooth), -(-width // smooth), generator=torch.Generator().manual_seed(seed)
    )
    fine = coarse.repeat_interleave(smooth, 1).repeat_interleave(smooth, 2)[:, :height, :width]
    return fine + 0.01 * torch.randn(shape, generator=torch.Generator().manual_seed(seed + 1))


def assert_by_the_rule(logits: Tensor, content: tuple[float, float], size: tuple[int, int]) -> Upsampled:
    """Labels, their numbers and confidence are those of the rule, to the last bit."""
    upsampled = upsample(logits, content, size, confidence=True)
    labels, pixels, confidence = upsample_in_torch(logits, logits.float().softmax(0).amax(0), content, size)
    assert upsampled.labels.dtype == torch.uint8
    assert torch.equal(upsampled.labels, labels)
    assert torch.equal(upsampled.pixels, pixels)
    assert upsampled.confidence is not None
    assert confidence is not None
    assert torch.equal(upsampled.confidence, confidence)
    return upsampled


def assert_labels_of(labels: Tensor, upsampled: Tensor) -> None:
    """`labels` are the largest of `upsampled` (C x H x W), but for ties, of which there are few."""
    if len(upsampled) == 1:
        assert not labels.any()
        return
    best = upsampled.topk(2, dim=0)
    different = labels != best.indices[0]
    assert (best.values[0] - best.values[1])[different].lt(TIE).all()
    assert different.sum() <= 1 + 1e-3 * labels.numel()


@given(grid=grids, size=photo_sizes, seed=seeds)
def test_the_rule_is_the_argmax_of_bilinear_interpolation(
    grid: tuple[int, int, int], size: tuple[int, int], seed: int
) -> None:
    logits = random_logits(grid, seed)
    labels, pixels, _ = upsample_in_torch(logits, None, (grid[1], grid[2]), size)
    assert_labels_of(labels, F.interpolate(logits[None].double(), size, mode="bilinear", align_corners=False)[0])
    assert pixels.tolist() == labels.flatten().int().bincount(minlength=grid[0]).tolist()
    assert pixels.sum() == size[0] * size[1]


@given(grid=grids, stride=st.sampled_from([4, 8]), data=st.data(), seed=seeds)
def test_padding_is_cropped_after_interpolation(
    grid: tuple[int, int, int], stride: int, data: st.DataObject, seed: int
) -> None:
    padded = (grid[1] * stride, grid[2] * stride)
    size = (data.draw(st.integers(1, padded[0])), data.draw(st.integers(1, padded[1])))
    logits = random_logits(grid, seed)
    labels = upsample(logits, (size[0] / stride, size[1] / stride), size).labels
    whole = F.interpolate(logits[None].double(), padded, mode="bilinear", align_corners=False)[0]
    assert_labels_of(labels, whole[:, : size[0], : size[1]])


@settings(max_examples=300)
@given(
    logits=grids.flatmap(lambda shape: arrays(np.float32, shape, elements=values)),
    size=photo_sizes,
    cropped=st.tuples(st.floats(0.1, 1), st.floats(0.1, 1)),
    half=st.booleans(),
)
def test_the_cpu_obeys_the_rule_in_every_tie(
    logits: np.ndarray[tuple[int, int, int], np.dtype[np.float32]],
    size: tuple[int, int],
    cropped: tuple[float, float],
    half: bool,
) -> None:
    tensor = torch.from_numpy(logits).to(torch.bfloat16 if half else torch.float32)
    assert_by_the_rule(tensor, (cropped[0] * logits.shape[1], cropped[1] * logits.shape[2]), size)


@given(
    shape=st.tuples(st.integers(2, 20), st.integers(4, 40), st.integers(4, 60)),
    size=st.tuples(st.integers(1, 400), st.integers(1, 400)),
    seed=seeds,
    smooth=st.integers(1, 20),
)
def test_tiles_of_one_class_are_filled_as_the_rule_says(
    shape: tuple[int, int, int], size: tuple[int, int], seed: int, smooth: int
) -> None:
    assert_by_the_rule(random_logits(shape, seed, smooth), (shape[1] - 0.3, shape[2] - 0.7), size)


@pytest.mark.parametrize(("height", "width"), [(128, 256), (97, 131)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_real_logits_by_the_rule(height: int, width: int, dtype: torch.dtype, threads: int) -> None:
    photo = torch.from_numpy(street(height, width)).permute(2, 0, 1).float() / 255 - 0.5
    padded = F.pad(photo, (0, -width % 32, 0, -height % 32))
    with torch.inference_mode():
        [logits] = load_network(find("eseg-lite-s")).eval()(padded[None].contiguous(memory_format=torch.channels_last))
    stride = padded.shape[1] / logits.shape[1]
    upsampled = assert_by_the_rule(logits.to(dtype), (height / stride, width / stride), (5 * height, 5 * width))
    assert upsampled.pixels.count_nonzero() > 2
    assert threads == torch.get_num_threads()


@pytest.mark.parametrize("size", [(1, 1), (1, 2000), (2000, 1), (3, 64), (64, 65), (300, 128)])
def test_odd_sizes(size: tuple[int, int], threads: int) -> None:
    assert_by_the_rule(random_logits((5, 12, 17), 3, 4), (12, 17), size)
    assert_by_the_rule(random_logits((5, 1, 1), 3), (1, 1), size)
    assert threads == torch.get_num_threads()


@pytest.mark.parametrize("values", [1, 7, 97, 1 << 30])
def test_bands_leave_no_seam(values: int, monkeypatch: pytest.MonkeyPatch) -> None:
    logits, content, size = random_logits((5, 6, 8), 1), (5.5, 7.25), (61, 97)
    largest = logits.softmax(0).amax(0)
    expected = upsample_in_torch(logits, largest, content, size)
    monkeypatch.setattr(label_upsampling, "BAND_VALUES", values)
    for one, other in zip(upsample_in_torch(logits, largest, content, size), expected, strict=True):
        assert one is not None
        assert other is not None
        assert torch.equal(one, other)


def test_of_equal_logits_the_lowest_class_wins() -> None:
    upsampled = assert_by_the_rule(torch.zeros(4, 2, 2), (2, 2), (8, 8))
    assert not upsampled.labels.any()
    assert upsampled.pixels.tolist() == [64, 0, 0, 0]


def test_a_difference_that_rounding_swallows_is_a_tie() -> None:
    # Class 1 is ahead at every point, by one unit in the last place, which interpolation loses here and there.
    one = random_logits((1, 3, 3), 0)
    logits = torch.cat([one, torch.nextafter(one, torch.tensor(torch.inf))])
    upsampled = assert_by_the_rule(logits, (3, 3), (64, 64))
    assert upsampled.pixels.min() > 0


def test_255_classes_fit() -> None:
    logits = torch.zeros(255, 1, 1)
    logits[254] = 1
    upsampled = assert_by_the_rule(logits, (1, 1), (2, 3))
    assert upsampled.labels.eq(254).all()
    assert upsampled.pixels[254] == 6


def test_confidence_comes_only_when_asked_for() -> None:
    assert upsample(torch.zeros(2, 3, 3), (3, 3), (9, 9)).confidence is None


@given(grid=grids, size=photo_sizes, seed=seeds, sharpness=st.sampled_from([0.0, 1.0, 50.0]))
def test_confidence_is_the_largest_softmax_upsampled(
    grid: tuple[int, int, int], size: tuple[int, int], seed: int, sharpness: float
) -> None:
    logits = random_logits(grid, seed) * sharpness
    confidence = upsample(logits, (grid[1], grid[2]), size, confidence=True).confidence
    assert confidence is not None
    assert confidence.dtype == torch.uint8
    assert confidence.min() >= int(255 / grid[0])
    largest = logits.double().softmax(0).amax(0)
    expected = F.interpolate(largest[None, None], size, mode="bilinear", align_corners=False)[0, 0] * 255
    assert (confidence - expected).abs().max() <= 0.5 + 1e-3


def test_where_no_cache_can_be_written_it_compiles_each_time(tmp_path: Path) -> None:
    # Numba then finds no place for its cache, as with a read-only package and no home.
    nowhere = {
        "NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator",
        "NUMBA_CACHE_DIR": str(tmp_path / "file" / "cache"),
        "NUMBA_OPT": "0",  # in less time
    }
    (tmp_path / "file").touch()
    program = (
        "import torch\n"
        "from models.engine.label_upsampling import upsample\n"
        "print(upsample(torch.eye(2)[:, None], (1, 2), (1, 4)).labels.tolist())\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], env=os.environ | nowhere, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[[0, 0, 1, 1]]\n"
