"""Photos and label maps in folders: DIR/SPLIT/images/NAME.jpg|png beside DIR/SPLIT/labels/NAME.png."""

from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from images import ImageError, decode, decode_label_map
from models.labelsets import LabelSet

# Training photos are the user's own: no limit but what an array can hold.
_MAX_PIXELS = 1 << 30


class DataError(Exception):
    """A dataset that cannot be used; the message names the file and says what to change."""


class SegmentationFolder:
    """One split, ordered by file name. Item: photo (uint8, H x W x 3) and class ids (uint8, H x W, 255 ignored)."""

    def __init__(self, root: Path, split: str, label_set: LabelSet, *, exclude: tuple[str, ...] = ()) -> None:
        """`exclude`: file name patterns to leave out, such as a drive held out whole. Raises DataError."""
        folder = root / split
        self.label_set = label_set
        self.photos = [
            path
            for path in sorted((folder / "images").glob("*"))
            if path.suffix.lower() in (".jpg", ".jpeg", ".png") and not any(fnmatch(path.name, p) for p in exclude)
        ]
        if not self.photos:
            raise DataError(f"no .jpg or .png photos in {folder / 'images'}{' but those excluded' if exclude else ''}")
        self.labels = [folder / "labels" / f"{path.stem}.png" for path in self.photos]
        for path in self.labels:
            if not path.is_file():
                raise DataError(f"no label map {path}: every photo needs one of its own name")

    def __len__(self) -> int:
        return len(self.photos)

    def __iter__(self) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        photo_path, label_path = self.photos[index], self.labels[index]
        try:
            photo = decode(photo_path.read_bytes(), max_pixels=_MAX_PIXELS)
        except ImageError as error:
            raise DataError(f"{photo_path}: {error}") from error
        try:
            labels = self.label_set.from_dataset_ids(decode_label_map(label_path.read_bytes()))
        except (ImageError, ValueError) as error:
            raise DataError(f"{label_path}: {error}") from error
        if photo.shape[:2] != labels.shape:
            height, width = photo.shape[:2]
            raise DataError(
                f"{label_path} is {labels.shape[0]} x {labels.shape[1]} pixels, its photo {height} x {width}: "
                "make both the same size"
            )
        return photo, labels

    def class_shares(self) -> NDArray[np.float64]:
        """The share of the labelled pixels that each class has."""
        pixels = np.zeros(256, dtype=np.int64)
        for _, labels in self:
            pixels += np.bincount(labels.ravel(), minlength=256)
        counted = pixels[: len(self.label_set.classes)]
        if not counted.any():
            raise DataError(f"no pixel of {self.labels[0].parent} is labelled: all are ignored")
        shares: NDArray[np.float64] = counted / counted.sum()
        return shares
