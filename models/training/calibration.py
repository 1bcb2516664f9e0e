"""Whether a confidence of 0.8 is right eight times in ten: the expected calibration error (Guo et al. 2017, "On
Calibration of Modern Neural Networks", section 2)."""

import numpy as np
from numpy.typing import NDArray

from models.engine.engine import Segmentation

BINS = 15
LEVELS = 256


def count_hits(labels: NDArray[np.uint8], segmentation: Segmentation, classes: int) -> NDArray[np.int64]:
    """int64, 2 x 256: pixels labelled wrongly (row 0) and rightly (row 1) at each level of confidence.

    labels: uint8, H x W; ignored pixels are left out. The segmentation must have its confidence.
    """
    assert segmentation.confidence is not None, "run the engine with confidence=True"
    counted = labels < classes
    right = labels[counted] == segmentation.labels[counted]
    levels = segmentation.confidence[counted] + LEVELS * right.astype(np.int64)
    return np.bincount(levels, minlength=2 * LEVELS).reshape(2, LEVELS)


def expected_calibration_error(hits: NDArray[np.int64]) -> float:
    """Of 2 x 256 counts as of `count_hits`, summed over photos: 0 is calibrated, 1 always wrong and certain.

    The mean over all pixels of how far the accuracy of their bin is from its mean confidence, in 15 bins of equal width
    that are open on the left: 17 levels each, and level 0 in the first.
    """
    levels = np.arange(LEVELS)
    bins = np.maximum(levels - 1, 0) // ((LEVELS - 1) // BINS)
    accuracy = np.bincount(bins, hits[1], BINS)
    confidence = np.bincount(bins, hits.sum(0) * levels / (LEVELS - 1), BINS)
    return float(np.abs(accuracy - confidence).sum() / max(1, hits.sum()))
