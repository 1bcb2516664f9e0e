"""Scores of an engine on a dataset: the same engine, and so the same geometry, that serves."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.engine.engine import Engine
from models.labelsets import LabelSet
from models.training.calibration import LEVELS, count_hits, expected_calibration_error
from models.training.dataset import SegmentationFolder


@dataclass(frozen=True, slots=True)
class Scores:
    """Over all pixels of all photos; all 0..1. A class neither labelled nor predicted has no IoU."""

    miou: float
    pixel_accuracy: float
    ece: float
    """Expected calibration error of the confidence map."""
    per_class: dict[str, float]
    images: int


def confusion_matrix(labels: NDArray[np.uint8], predicted: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """int64, classes x classes: true classes in rows, predicted in columns; ignored pixels are left out."""
    counted = labels < classes
    pairs = labels[counted].astype(np.int64) * classes + predicted[counted]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def scores(confusion: NDArray[np.int64], hits: NDArray[np.int64], label_set: LabelSet, images: int) -> Scores:
    """Of a confusion matrix and the counts of `count_hits`. Mean IoU is over the classes that occur."""
    true = confusion.diagonal()
    unions = confusion.sum(0) + confusion.sum(1) - true
    per_class = {c.name: float(true[c.id] / unions[c.id]) for c in label_set.classes if unions[c.id] > 0}
    miou = float(np.mean(list(per_class.values()))) if per_class else 0.0
    accuracy = float(true.sum() / max(1, confusion.sum()))
    return Scores(miou, accuracy, expected_calibration_error(hits), per_class, images)


def evaluate(
    engine: Engine,
    dataset: SegmentationFolder,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Scores:
    """Label every photo, one at a time as it is served, and compare with the label maps at its own size.

    Raises DataError.
    """
    classes = len(dataset.label_set.classes)
    confusion = np.zeros((classes, classes), dtype=np.int64)
    hits = np.zeros((2, LEVELS), dtype=np.int64)
    for index in progress(range(len(dataset))):
        photo, labels = dataset[index]
        [segmentation] = engine.run([photo], confidence=True)
        confusion += confusion_matrix(labels, segmentation.labels, classes)
        hits += count_hits(labels, segmentation, classes)
    if not confusion.any():
        raise dataset.unlabelled()
    return scores(confusion, hits, dataset.label_set, len(dataset))
