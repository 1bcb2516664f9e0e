import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.engine.engine import Segmentation
from models.training.calibration import count_hits, expected_calibration_error


def segmentation(labels: list[int], confidence: list[int]) -> Segmentation:
    pixels = np.bincount(labels, minlength=3)
    return Segmentation(np.array([labels], np.uint8), pixels, np.array([confidence], np.uint8))


def naive(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Guo et al. 2017, equation 3, as it is written."""
    error = 0.0
    for bin in range(1, 16):
        lower = -1 if bin == 1 else (bin - 1) / 15
        members = (confidence > lower + 1e-9) & (confidence <= bin / 15 + 1e-9)
        if members.any():
            error += members.mean() * abs(right[members].mean() - confidence[members].mean())
    return error


def test_pixels_are_counted_by_level_and_ignored_ones_left_out() -> None:
    labels = np.array([[0, 1, 2, 2, 255]], np.uint8)
    hits = count_hits(labels, segmentation([0, 1, 1, 2, 0], [255, 128, 128, 0, 255]), 3)
    assert hits.sum() == 4
    assert (hits[1, 255], hits[1, 128], hits[0, 128], hits[1, 0]) == (1, 1, 1, 1)


@given(st.lists(st.tuples(st.integers(0, 255), st.booleans()), min_size=1, max_size=200))
def test_the_error_is_that_of_the_definition(pixels: list[tuple[int, bool]]) -> None:
    hits = np.zeros((2, 256), np.int64)
    for level, right in pixels:
        hits[int(right), level] += 1
    levels, rights = (np.array(column) for column in zip(*pixels, strict=True))
    assert expected_calibration_error(hits) == pytest.approx(naive(levels / 255, rights.astype(bool)))


def test_the_ends_of_the_scale() -> None:
    hits = np.zeros((2, 256), np.int64)
    assert expected_calibration_error(hits) == 0
    hits[0, 255] = 10
    assert expected_calibration_error(hits) == 1
    hits[1, 255] = 30
    assert expected_calibration_error(hits) == pytest.approx(0.25)
