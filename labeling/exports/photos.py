"""A shard's labelled photos, as the exports read them, and the folder that they write to."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from images import decode_label_map
from labeling import status
from labeling.job import Job, part
from labeling.store import Store
from models import labelsets
from models.labelsets import LabelSet

FOLDER = "exports"

_COLUMNS = ("uri", "status", "width", "height", "confidence", "tar", "png_offset", "png_size")


@dataclass(frozen=True)
class LabelledPhoto:
    """number: the photo's place in the manifest, from 1. png: the label map's file. confidence: mean, 0..1."""

    number: int
    image_id: str
    uri: str
    width: int
    height: int
    confidence: float
    png: bytes

    @cached_property
    def labels(self) -> NDArray[np.uint8]:
        """H x W, class ids."""
        return decode_label_map(self.png)


class ShardPhotos:
    """The photos of a shard that have labels; `retry` is the number of the newest retry that counts."""

    def __init__(self, job: Job, store: Store, shard: int, retry: int, format: str) -> None:
        self.job = job
        self.part = part(shard)
        self._store = store
        self._shard = shard
        self._retry = retry
        self._folder = f"{FOLDER}/{format}"

    @property
    def label_set(self) -> LabelSet:
        return labelsets.load(self.job.labels.label_set)

    def write(self, path: str, data: bytes) -> None:
        """Write a file of the export; the path is relative to the format's folder."""
        self._store.write(f"{self._folder}/{path}", data)

    def new_file(self, path: str) -> AbstractContextManager[BinaryIO]:
        """A file of the export that is too large for memory, to write to in a `with` block."""
        return self._store.new_file(f"{self._folder}/{path}")

    def __iter__(self) -> Iterator[LabelledPhoto]:
        """In the manifest's order, one in memory at a time."""
        rows = status.newest(self._store, self._shard, self._retry, _COLUMNS)
        with ExitStack() as stack:
            tars: dict[str, BinaryIO] = {}
            for number, row in enumerate(rows, self._shard * self.job.shard_rows + 1):
                if row["status"] != "ok":
                    continue
                if (name := row["tar"]) not in tars:
                    tars[name] = stack.enter_context(self._store.local_copy(name))
                tars[name].seek(row["png_offset"])
                yield LabelledPhoto(
                    number=number,
                    image_id=row["image_id"],
                    uri=row["uri"],
                    width=row["width"],
                    height=row["height"],
                    confidence=row["confidence"],
                    png=tars[name].read(row["png_size"]),
                )
