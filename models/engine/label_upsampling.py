"""Logits to a label map at the photo's own size, in one bilinear step: by one rule, whatever runs it.

Output i of an axis lies at position (i + 0.5) * content / outputs - 0.5 of the grid, in float64, and not outside it.
The weight of the grid point after it is the position's fraction, rounded to float32; that of the one before it is one
minus that. A value is the sum of its two neighbours by their weights, first along the columns, then along the rows;
every product and every sum is rounded to float32. The label is the class of the largest value, the lowest of equals.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor

from models.engine import label_upsampling_cpu, label_upsampling_cuda

logger = logging.getLogger("segserve")
Implementation = Callable[
    [Tensor, Tensor | None, tuple[float, float], tuple[int, int]], tuple[Tensor, Tensor, Tensor | None]
]

# Values made at once, all classes together: nothing of classes x H x W is ever made.
BAND_VALUES = 1 << 24


@dataclass(frozen=True, slots=True)
class Upsampled:
    """labels: uint8, H x W. pixels: int64, one count a class. confidence: uint8, H x W, 255 is certain; or None."""

    labels: Tensor
    pixels: Tensor
    confidence: Tensor | None


def upsample(
    logits: Tensor, content: tuple[float, float], size: tuple[int, int], *, confidence: bool = False
) -> Upsampled:
    """The class of the largest logit at every pixel, and of each class how many pixels have it.

    logits: finite, C x h x w, C at most 255. content: how many of its rows and columns the photo covers; padding
    follows. size: height and width of the photo. confidence: also upsample each grid point's largest softmax.
    """
    largest = logits.float().softmax(0).amax(0) if confidence else None
    return Upsampled(*_implementation(logits.device)(logits, largest, content, size))


@cache
def _implementation(device: torch.device) -> Implementation:
    """The fastest for `device`."""
    if device.type == "cpu":
        return label_upsampling_cpu.upsample
    if device.type == "cuda":
        try:
            return partial(label_upsampling_cuda.upsample, label_upsampling_cuda.load(device))
        # What PyTorch offers for kernels is not its public interface, and drivers are of any age.
        except Exception as error:
            logger.warning("labels are upsampled by PyTorch on %s, as the kernel cannot be loaded: %s", device, error)
    return upsample_in_torch


def upsample_in_torch(
    logits: Tensor, largest: Tensor | None, content: tuple[float, float], size: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The rule on any device, in bands. On a GPU nothing waits for the result.

    largest: float32, h x w. Returns labels, pixels and confidence, as Upsampled has them.
    """
    classes = logits.shape[0]
    height, width = size
    rows = Axis(content[0], logits.shape[1], height, logits.device)
    columns = Axis(content[1], logits.shape[2], width, logits.device)
    wide = columns.interpolate(logits.float(), 2)
    wide_largest = None if largest is None else columns.interpolate(largest, 1)
    ids = torch.arange(classes, dtype=torch.uint8, device=logits.device)[:, None, None]
    labels = torch.empty(size, dtype=torch.uint8, device=logits.device)
    pixels = torch.zeros(classes, dtype=torch.int64, device=logits.device)
    confidence = None if largest is None else torch.empty_like(labels)
    band = max(1, BAND_VALUES // (classes * width))
    for start in range(0, height, band):
        part = slice(start, start + band)
        labels[part] = rows.interpolate(wide, 1, part).argmax(0)
        # torch.bincount would make the host wait for the GPU.
        pixels += (labels[part] == ids).sum((1, 2))
        if confidence is not None and wide_largest is not None:
            confidence[part] = (rows.interpolate(wide_largest, 0, part) * 255 + 0.5).to(torch.uint8)
    return labels, pixels, confidence


class Axis:
    """Where each of `outputs` falls on a grid of `inputs` points, of which the first `content` are covered."""

    def __init__(self, content: float, inputs: int, outputs: int, device: torch.device) -> None:
        position = (torch.arange(outputs, dtype=torch.float64, device=device) + 0.5) * (content / outputs) - 0.5
        position = position.clamp(0, inputs - 1)
        self.low = position.floor().long()
        self.high = (self.low + 1).clamp(max=inputs - 1)
        self.weight = (position - self.low).float()

    def interpolate(self, x: Tensor, dim: int, part: slice = slice(None)) -> Tensor:
        weight = self.weight[part].view([-1 if d == dim else 1 for d in range(x.dim())])
        return (1 - weight) * x.index_select(dim, self.low[part]) + weight * x.index_select(dim, self.high[part])
