"""Photos and label maps in folders, laid out in one of the ways of models/training/layouts.py."""

from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from images import ImageError, decode, decode_label_map
from models.labelsets import LabelSet
from models.training.layouts import LAYOUTS, LayoutName

# Training photos are the user's own: no limit but what an array can hold.
_MAX_PIXELS = 1 << 30


class DataError(Exception):
    """A dataset that cannot be used; the message names the file and says what to change."""


class SegmentationFolder:
    """One split, ordered by path. Item: photo (uint8, H x W x 3) and class ids (uint8, H x W, 255 ignored)."""

    def __init__(
        self,
        root: Path,
        split: str,
        label_set: LabelSet,
        *,
        layout: LayoutName = "plain",
        exclude: tuple[str, ...] = (),
    ) -> None:
        """`exclude`: photos to leave out, by file name pattern, such as a drive held out whole. Raises DataError."""
        self.label_set = label_set
        pairs = [
            (photo, label)
            for photo, label in sorted(LAYOUTS[layout].pairs(root, split))
            if not any(fnmatch(photo.name, pattern) for pattern in exclude)
        ]
        if not pairs:
            place = root / LAYOUTS[layout].photos.format(split=split)
            raise DataError(
                f"no photos for the split '{split}' in the layout '{layout}'{' but those excluded' if exclude else ''}:"
                f" they are looked for as {place}"
            )
        for photo, label in pairs:
            if not photo.is_file():
                raise DataError(f"no photo {photo}, though the split '{split}' lists it")
            if not label.is_file():
                raise DataError(f"no label map {label} for the photo {photo.name}: every photo needs one")
        self.photos = [photo for photo, _ in pairs]
        self.labels = [label for _, label in pairs]

    def __len__(self) -> int:
        return len(self.photos)

    def __iter__(self) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        path = self.photos[index]
        try:
            photo = decode(path.read_bytes(), max_pixels=_MAX_PIXELS)
        except (ImageError, OSError) as error:
            raise DataError(f"{path}: {error}") from error
        labels = self._read_labels(index)
        if photo.shape[:2] != labels.shape:
            height, width = photo.shape[:2]
            turned = " (one of them lies on its side: photos are turned as their EXIF says)"
            raise DataError(
                f"{self.labels[index]} is {labels.shape[0]} x {labels.shape[1]} pixels, its photo {height} x {width}"
                f"{turned if labels.shape == (width, height) else ''}: make both the same size"
            )
        return photo, labels

    def _read_labels(self, index: int) -> NDArray[np.uint8]:
        path = self.labels[index]
        try:
            return self.label_set.from_dataset_ids(decode_label_map(path.read_bytes()))
        except (ImageError, OSError, ValueError) as error:
            raise DataError(f"{path}: {error}") from error

    def class_pixels(self, progress: Callable[[Iterable[int]], Iterable[int]] = iter) -> NDArray[np.int64]:
        """Photos x classes: how many pixels of each class a photo has. Reads every label map."""
        counts = [np.bincount(self._read_labels(index).ravel(), minlength=256) for index in progress(range(len(self)))]
        pixels: NDArray[np.int64] = np.stack(counts)[:, : len(self.label_set.classes)]
        if not pixels.any():
            raise self.unlabelled()
        return pixels

    def unlabelled(self) -> DataError:
        """What to raise where no pixel counts."""
        return DataError(f"no pixel of {self.labels[0].parent} is labelled: all are ignored")
