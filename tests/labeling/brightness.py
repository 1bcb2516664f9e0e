"""A labeler without a network: the class of a pixel is its brightness."""

import asyncio
from collections.abc import Sequence

import numpy as np

from images import ImageError, decode, encode_label_map
from labeling.errors import PhotoError, photo_error
from labeling.job import Labels
from labeling.labeler import LabelMap
from models import labelsets
from tests.service.fakes import brightness_labels

LABELS = Labels(model="brightness@1", sha256="0" * 64, label_set="camvid11", long_side=None)


class BrightnessLabeler:
    """Counts the photos that it holds at the same time."""

    def __init__(
        self, batch: int = 1, window: int = 8, seconds: float = 0.0, engine: str | None = "compiled float32"
    ) -> None:
        self.batch = batch
        self.window = window
        self.engine = engine
        self.seconds = seconds
        self.held = self.most_held = 0
        self.batches: list[int] = []

    async def label(self, photos: Sequence[bytes]) -> list[LabelMap | PhotoError]:
        self.batches.append(len(photos))
        self.held += len(photos)
        self.most_held = max(self.most_held, self.held)
        await asyncio.sleep(self.seconds)
        self.held -= len(photos)
        return [self._one(photo) for photo in photos]

    async def close(self) -> None:
        pass

    def _one(self, data: bytes) -> LabelMap | PhotoError:
        try:
            photo = decode(data, max_pixels=10**6)
        except ImageError as error:
            return photo_error(error)
        labels = brightness_labels(photo)
        pixels = np.bincount(labels.ravel(), minlength=19).tolist()
        png = encode_label_map(labels, labelsets.load("camvid11").palette)
        return LabelMap(png, photo.shape[1], photo.shape[0], pixels, float(photo[..., 0].mean()) / 255)
