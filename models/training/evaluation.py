"""Scores of an engine on a dataset: the same engine, and so the same geometry, that serves."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.engine.engine import Engine
from models.labelsets import LabelSet
from models.training.dataset import SegmentationFolder


@dataclass(frozen=True, slots=True)
class Scores:
    """From a confusion matrix summed over all pixels; all 0..1. A class neither labelled nor predicted has no IoU."""

    miou: float
    pixel_accuracy: float
    per_class: dict[str, float]
    images: int


def confusion_matrix(labels: NDArray[np.uint8], predicted: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """int64, classes x classes: true classes in rows, predicted in columns; ignored pixels are left out."""
    counted = labels < classes
    pairs = labels[counted].astype(np.int64) * classes + predicted[counted]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def scores(confusion: NDArray[np.int64], label_set: LabelSet, images: int) -> Scores:
    """Mean IoU is over the classes that occur."""
    hits = confusion.diagonal()
    unions = confusion.sum(0) + confusion.sum(1) - hits
    per_class = {c.name: float(hits[c.id] / unions[c.id]) for c in label_set.classes if unions[c.id] > 0}
    miou = float(np.mean(list(per_class.values()))) if per_class else 0.0
    return Scores(miou, float(hits.sum() / max(1, confusion.sum())), per_class, images)


def evaluate(
    engine: Engine,
    dataset: SegmentationFolder,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Scores:
    """Label every photo, one at a time at its own size, and compare with the label maps."""
    classes = len(dataset.label_set.classes)
    confusion = np.zeros((classes, classes), dtype=np.int64)
    for index in progress(range(len(dataset))):
        photo, labels = dataset[index]
        [segmentation] = engine.run([photo])
        confusion += confusion_matrix(labels, segmentation.labels, classes)
    return scores(confusion, dataset.label_set, len(dataset))
