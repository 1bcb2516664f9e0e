"""Photos in, label maps out: the one place where a network runs, whoever hosts it."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from models.engine.exposure import brighten
from models.engine.geometry import InputSize, input_size
from models.engine.label_upsampling import Upsampled, upsample
from models.engine.network import Network, wait_for
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
        self._padding = torch.tensor(preprocessing.mean).mul(255).round().to(torch.uint8)

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
        results: dict[int, Upsampled] = {}
        for bucket, members in buckets.items():
            logits = self.network(self.batch([photos[i] for i in members], [sizes[i] for i in members], bucket))
            stride = (bucket[0] / logits.shape[2], bucket[1] / logits.shape[3])
            for i, photo_logits in zip(members, logits, strict=True):
                content = (sizes[i].height / stride[0], sizes[i].width / stride[1])
                results[i] = upsample(photo_logits, content, photos[i].shape[:2], confidence=confidence)
        return self._fetched([results[i] for i in range(len(photos))])

    def batch(self, photos: Sequence[Photo], sizes: Sequence[InputSize], bucket: tuple[int, int]) -> Tensor:
        """What the network gets of photos of one bucket, each at its own input size: uint8, N x H x W x 3."""
        rows = [self._prepared(photo, size) for photo, size in zip(photos, sizes, strict=True)]
        on_gpu = self.network.device.type == "cuda"
        if len(rows) == 1 and rows[0].shape[:2] == bucket and not on_gpu:
            return rows[0][None]
        # A GPU fetches from pinned memory while this thread goes on. PyTorch does not reuse it before that is done.
        batch = torch.empty((len(photos), *bucket, 3), dtype=torch.uint8, pin_memory=on_gpu)
        for slot, pixels, size in zip(batch, rows, sizes, strict=True):
            slot[: size.height, : size.width] = pixels
            # The mean colour: next to nothing once it is normalised.
            slot[size.height :] = self._padding
            slot[: size.height, size.width :] = self._padding
        return batch.to(self.network.device, non_blocking=True)

    def _prepared(self, photo: Photo, size: InputSize) -> Tensor:
        """Scaled and brightened: uint8, height x width x 3 of its input size, on the CPU."""
        # Torch takes neither flipped nor read-only arrays; others are not copied.
        pixels = _scale(torch.from_numpy(np.require(photo, requirements=["C", "W"])), size)
        return torch.from_numpy(brighten(pixels.numpy(), self.preprocessing.brightness))

    def _fetched(self, results: Sequence[Upsampled]) -> list[Segmentation]:
        """A GPU has been sent all its work by now, and is waited for once."""
        fetched = [
            Upsampled(_fetch(r.labels), _fetch(r.pixels), None if r.confidence is None else _fetch(r.confidence))
            for r in results
        ]
        wait_for(self.network.device)
        return [
            Segmentation(r.labels.numpy(), r.pixels.numpy(), None if r.confidence is None else r.confidence.numpy())
            for r in fetched
        ]


def _fetch(tensor: Tensor) -> Tensor:
    """On its way to pinned memory."""
    return tensor.to("cpu", non_blocking=True)


def _scale(pixels: Tensor, size: InputSize) -> Tensor:
    """uint8, H x W x 3, on the CPU."""
    if pixels.shape[:2] == (size.height, size.width):
        return pixels
    # Made a batch of one first: PyTorch then sees that channels are last, and leaves them there.
    planes = pixels[None].permute(0, 3, 1, 2)
    scaled = F.interpolate(planes, (size.height, size.width), mode="bilinear", antialias=True)
    return scaled[0].permute(1, 2, 0)
