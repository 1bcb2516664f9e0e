"""Photos in, label maps out: the one place where a network runs, whoever hosts it."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from models.engine.geometry import InputSize, input_size
from models.engine.label_upsampling import upsample
from models.engine.network import Network
from models.weights.card import Preprocessing

Photo = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Segmentation:
    """What is where in one photo of H x W pixels."""

    labels: NDArray[np.uint8]
    """H x W, class ids."""
    pixels: NDArray[np.int64]
    """How many pixels each class has."""
    confidence: NDArray[np.uint8] | None
    """H x W, 255 is certain; None where it was not asked for."""


class Engine:
    """Runs a network on photos. Not thread-safe: one batch at a time."""

    def __init__(self, network: Network, preprocessing: Preprocessing) -> None:
        self.network = network
        """May be replaced between two runs by another of the same checkpoint and device."""
        self.preprocessing = preprocessing
        self._mean = torch.tensor(preprocessing.mean, device=network.device).view(3, 1, 1) * 255
        self._scale = 1 / (torch.tensor(preprocessing.std, device=network.device).view(3, 1, 1) * 255)

    def input_size(self, height: int, width: int, long_side: int | None = None) -> InputSize:
        """What the network sees of a height x width photo; `long_side` None is the checkpoint's own."""
        own = self.preprocessing
        return input_size(height, width, long_side=long_side or own.long_side, grid=own.grid, enlarge=own.enlarge)

    @torch.inference_mode()
    def run(
        self, photos: Sequence[Photo], *, confidence: bool = False, long_side: int | None = None
    ) -> list[Segmentation]:
        """Label photos (uint8, H x W x 3, RGB, any sizes), in their order. Those of equal buckets share a batch."""
        sizes = [self.input_size(photo.shape[0], photo.shape[1], long_side) for photo in photos]
        buckets = defaultdict(list)
        for index, size in enumerate(sizes):
            buckets[size.bucket].append(index)
        results: dict[int, Segmentation] = {}
        for bucket, members in buckets.items():
            logits = self.network(self.batch([photos[i] for i in members], [sizes[i] for i in members], bucket))
            stride = (bucket[0] / logits.shape[2], bucket[1] / logits.shape[3])
            for i, photo_logits in zip(members, logits, strict=True):
                results[i] = _segmentation(photo_logits, sizes[i], stride, photos[i].shape[:2], confidence)
        return [results[i] for i in range(len(photos))]

    def batch(self, photos: Sequence[Photo], sizes: Sequence[InputSize], bucket: tuple[int, int]) -> Tensor:
        """What the network gets of photos of one bucket, each at its own input size."""
        # Zero after normalisation is the mean colour.
        batch = torch.empty(
            (len(photos), 3, *bucket),
            dtype=self.network.dtype,
            device=self.network.device,
            memory_format=torch.channels_last,
        ).zero_()
        for slot, photo, size in zip(batch, photos, sizes, strict=True):
            # Torch takes neither flipped nor read-only arrays; others are not copied.
            pixels = (
                torch.from_numpy(np.require(photo, requirements=["C", "W"])).to(self.network.device).permute(2, 0, 1)
            )
            scaled = _scale(pixels, size).float()
            slot[:, : size.height, : size.width] = (scaled - self._mean) * self._scale
        return batch


def _scale(pixels: Tensor, size: InputSize) -> Tensor:
    if pixels.shape[1:] == (size.height, size.width):
        return pixels
    # Only the CPU resizes uint8, and there it takes a quarter of the memory of float32.
    source = pixels if pixels.device.type == "cpu" else pixels.float()
    return F.interpolate(source[None], (size.height, size.width), mode="bilinear", antialias=True)[0]


def _segmentation(
    logits: Tensor, size: InputSize, stride: tuple[float, float], photo: tuple[int, ...], confidence: bool
) -> Segmentation:
    content = (size.height / stride[0], size.width / stride[1])
    upsampled = upsample(logits, content, (photo[0], photo[1]), confidence=confidence)
    certainty = None if upsampled.confidence is None else upsampled.confidence.cpu().numpy()
    return Segmentation(upsampled.labels.cpu().numpy(), upsampled.pixels.cpu().numpy(), certainty)
