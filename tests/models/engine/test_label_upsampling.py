import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.engine import label_upsampling
from models.engine.label_upsampling import upsample_confidence, upsample_labels

# Two logits that are closer than this may change places by rounding.
TIE = 1e-5

grids = st.tuples(st.integers(2, 6), st.integers(1, 9), st.integers(1, 9))
photo_sizes = st.tuples(st.integers(1, 70), st.integers(1, 70))
seeds = st.integers(0, 1000)


def random_logits(shape: tuple[int, int, int], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def assert_labels_of(labels: Tensor, upsampled: Tensor) -> None:
    """`labels` are the largest of `upsampled` (C x H x W), but for ties, of which there are few."""
    best = upsampled.topk(2, dim=0)
    different = labels != best.indices[0]
    assert (best.values[0] - best.values[1])[different].lt(TIE).all()
    assert different.sum() <= 1 + 1e-3 * labels.numel()


@settings(deadline=None)
@given(grid=grids, size=photo_sizes, seed=seeds)
def test_labels_are_the_argmax_of_bilinear_interpolation(
    grid: tuple[int, int, int], size: tuple[int, int], seed: int
) -> None:
    logits = random_logits(grid, seed)
    labels, pixels = upsample_labels(logits, (grid[1], grid[2]), size)
    assert labels.dtype == torch.uint8
    assert_labels_of(labels, F.interpolate(logits[None].double(), size, mode="bilinear", align_corners=False)[0])
    assert pixels.tolist() == labels.flatten().int().bincount(minlength=grid[0]).tolist()
    assert pixels.sum() == size[0] * size[1]


@settings(deadline=None)
@given(grid=grids, stride=st.sampled_from([4, 8]), data=st.data(), seed=seeds)
def test_padding_is_cropped_after_interpolation(
    grid: tuple[int, int, int], stride: int, data: st.DataObject, seed: int
) -> None:
    padded = (grid[1] * stride, grid[2] * stride)
    size = (data.draw(st.integers(1, padded[0])), data.draw(st.integers(1, padded[1])))
    logits = random_logits(grid, seed)
    labels, _ = upsample_labels(logits, (size[0] / stride, size[1] / stride), size)
    whole = F.interpolate(logits[None].double(), padded, mode="bilinear", align_corners=False)[0]
    assert_labels_of(labels, whole[:, : size[0], : size[1]])


@pytest.mark.parametrize("band", [1, 7, 97, 200, 1 << 30])
def test_bands_leave_no_seam(band: int, monkeypatch: pytest.MonkeyPatch) -> None:
    logits, content, size = random_logits((5, 6, 8), 1), (5.5, 7.25), (61, 97)
    labels, pixels = upsample_labels(logits, content, size)
    confidence = upsample_confidence(logits, content, size)
    monkeypatch.setattr(label_upsampling, "BAND_PIXELS", band)
    assert torch.equal(upsample_labels(logits, content, size)[0], labels)
    assert torch.equal(upsample_labels(logits, content, size)[1], pixels)
    assert torch.equal(upsample_confidence(logits, content, size), confidence)


def test_of_equal_logits_the_lowest_class_wins() -> None:
    labels, pixels = upsample_labels(torch.zeros(4, 2, 2), (2, 2), (8, 8))
    assert not labels.any()
    assert pixels.tolist() == [64, 0, 0, 0]


def test_255_classes_fit() -> None:
    logits = torch.zeros(255, 1, 1)
    logits[254] = 1
    labels, pixels = upsample_labels(logits, (1, 1), (2, 3))
    assert labels.eq(254).all()
    assert pixels[254] == 6


@settings(deadline=None)
@given(grid=grids, size=photo_sizes, seed=seeds, sharpness=st.sampled_from([0.0, 1.0, 50.0]))
def test_confidence_is_the_largest_softmax_upsampled(
    grid: tuple[int, int, int], size: tuple[int, int], seed: int, sharpness: float
) -> None:
    logits = random_logits(grid, seed) * sharpness
    confidence = upsample_confidence(logits, (grid[1], grid[2]), size)
    assert confidence.dtype == torch.uint8
    assert confidence.min() >= int(255 / grid[0])
    largest = logits.double().softmax(0).amax(0)
    expected = F.interpolate(largest[None, None], size, mode="bilinear", align_corners=False)[0, 0] * 255
    assert (confidence - expected).abs().max() <= 0.5 + 1e-3
