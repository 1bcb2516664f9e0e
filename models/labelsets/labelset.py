"""A label set: what each value of a label map means, and the colour it is drawn in.

Each set is one JSON file beside this module. A set of n classes numbers them 0..n-1; that number is what a network
predicts and what our label maps hold. A data set's own label files may number them otherwise (`LabelClass.dataset_id`).
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

IGNORE_VALUE = 255
"""The value of a pixel without a label, in every set: training skips it, scores leave it out, it is drawn black."""

_FILES = files("models.labelsets")


class UnknownLabelSetError(LookupError):
    """There is no label set of this name."""


@dataclass(frozen=True, slots=True)
class LabelClass:
    """One class of a set.

    `dataset_id` is the value in the data set's own label files, 0..255. In Cityscapes it is the `id` of the
    `_labelIds.png` files (7, 8, 11, ...), and our `id` is the `trainId`; in ADE20K it is `id` + 1; in CamVid and PASCAL
    VOC the two are equal.
    """

    id: int
    name: str
    color: tuple[int, int, int]
    """Red, green, blue, each 0..255."""
    dataset_id: int


@dataclass(frozen=True, slots=True)
class LabelSet:
    """The classes of one data set, in the order of their ids: `classes[i].id == i`. At most 255 of them."""

    name: str
    """The name to `load` it by."""
    title: str
    """The name to show a reader."""
    source: str
    """Who defined the set, and where its names, ids and colours were read."""
    classes: tuple[LabelClass, ...]
    ignored_dataset_ids: tuple[int, ...]
    """Values of the data set's own files that mean "no label"; `ignore_value` is one too, listed or not.

    Cityscapes' licence plate has the id -1: it is never drawn, so no file holds it."""
    ignore_value: int = IGNORE_VALUE

    @property
    def palette(self) -> bytes:
        """256 x 3 bytes of red, green, blue, indexed by class id; values of no class (`ignore_value`) are black."""
        return b"".join(bytes(label.color) for label in self.classes).ljust(256 * 3, b"\0")

    def from_dataset_ids(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The class ids (uint8, a new array) of the data set's own values (uint8, any shape), pixel by pixel.

        Ignored values become `ignore_value`. Raises TypeError for another dtype, ValueError for a value not of the set.
        """
        # Other dtypes need not fail below: booleans would select from the table, negative integers count from its end.
        if labels.dtype != np.uint8:
            raise TypeError(f"label values must be uint8, not {labels.dtype}: read the file as 8-bit, one channel")
        class_ids = np.full(256, self.ignore_value, np.uint8)
        class_ids[[label.dataset_id for label in self.classes]] = [label.id for label in self.classes]
        known = class_ids != self.ignore_value
        known[[self.ignore_value, *self.ignored_dataset_ids]] = True

        of_the_set = known[labels]
        if not of_the_set.all():
            strange = ", ".join(str(value) for value in np.unique(labels[~of_the_set]))
            raise ValueError(
                f"label values that are not of the set {self.name!r}: {strange}; "
                "is this a label file of another data set, or a coloured picture?"
            )
        return class_ids[labels]


@cache
def names() -> tuple[str, ...]:
    """The names of all label sets, sorted."""
    shipped = (file.name for file in _FILES.iterdir())
    return tuple(sorted(name.removesuffix(".json") for name in shipped if name.endswith(".json")))


@cache
def load(name: str) -> LabelSet:
    """The label set of this name. Raises UnknownLabelSetError, which lists the names there are."""
    if name not in names():
        raise UnknownLabelSetError(f"no label set {name!r}: there are {', '.join(names())}")
    definition = json.loads(_FILES.joinpath(f"{name}.json").read_text(encoding="utf-8"))
    classes = (
        LabelClass(label["id"], label["name"], tuple(label["color"]), label["dataset_id"])
        for label in definition["classes"]
    )
    return LabelSet(
        name=name,
        title=definition["title"],
        source=definition["source"],
        classes=tuple(classes),
        ignored_dataset_ids=tuple(definition["ignored_dataset_ids"]),
    )
