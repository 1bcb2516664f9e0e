"""A label set: what each value of a label map means, and the colour it is drawn in.

Each set is one JSON file, beside this module or in the folder that SEGSERVE_LABEL_SET_DIR names; the file is called as
the set is. A set of n classes numbers them 0..n-1; that number is what a network predicts and what our label maps hold.
A data set's own label files may number them otherwise (`LabelClass.dataset_id`).
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from models.labelsets.definition import IGNORE_VALUE, Definition
from models.validation import explain

_SHIPPED = Path(__file__).parent
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


class UnknownLabelSetError(LookupError):
    """There is no label set of this name."""


class LabelSetError(ValueError):
    """A label set of the user's own that cannot be read; the message says which and why."""


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


def names() -> tuple[str, ...]:
    """The names of all label sets, sorted. Raises LabelSetError."""
    return tuple(sorted(_sets(_own())))


def load(name: str) -> LabelSet:
    """The label set of this name. Raises UnknownLabelSetError, which lists the names there are, and LabelSetError."""
    sets = _sets(_own())
    if name not in sets:
        known = ", ".join(sorted(sets))
        raise UnknownLabelSetError(f"no label set {name!r}: there are {known}; SEGSERVE_LABEL_SET_DIR names your own")
    return sets[name]


def _own() -> str:
    return os.environ.get("SEGSERVE_LABEL_SET_DIR", "")


@cache
def _sets(own: str) -> dict[str, LabelSet]:
    return {path.stem: _read(path) for path in _files(own)}


def _files(own: str) -> Iterator[Path]:
    yield from _SHIPPED.glob("*.json")
    if not own:
        return
    if not Path(own).is_dir():
        raise LabelSetError(f"there is no folder {own}, which SEGSERVE_LABEL_SET_DIR names")
    for path in Path(own).glob("*.json"):
        if not _NAME.fullmatch(path.stem):
            raise LabelSetError(f"{path}: a label set is called NAME.json, of lower case, digits, - and _")
        if (_SHIPPED / path.name).exists():
            raise LabelSetError(f"{path}: a label set of this name ships with segserve, so give yours another")
        yield path


def _read(path: Path) -> LabelSet:
    try:
        definition = Definition.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        reason = explain(error) if isinstance(error, ValidationError) else str(error)
        raise LabelSetError(f"{path} is not a label set: {reason}") from error
    return LabelSet(
        name=path.stem,
        title=definition.title,
        source=definition.source,
        classes=tuple(LabelClass(c.id, c.name, c.color, c.dataset_id) for c in definition.classes),
        ignored_dataset_ids=definition.ignored_dataset_ids,
    )
