"""Logits to a label map at the photo's own size, in one bilinear step."""

import torch
from torch import Tensor

# Pixels worked on at once: such a band stays in the cache, and nothing of classes x H x W is ever made.
BAND_PIXELS = 1 << 17


def upsample_labels(logits: Tensor, content: tuple[float, float], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The class of the largest logit at every pixel (bilinear, align_corners False), and the pixels of each class.

    logits: float32, C x h x w, C at most 255. content: how many of its rows and columns the photo covers; padding
    follows. size: height and width of the photo. Returns labels (uint8, H x W; of equal logits the lowest class) and
    pixels (int64, C).
    """
    classes = logits.shape[0]
    height, width = size
    columns = Axis(content[1], logits.shape[2], width, logits.device)
    rows = Axis(content[0], logits.shape[1], height, logits.device)
    wide = columns.interpolate(logits, 2)
    labels = torch.empty(size, dtype=torch.uint8, device=logits.device)
    pixels = torch.zeros(classes, dtype=torch.int64, device=logits.device)
    band = max(1, BAND_PIXELS // width)
    for start in range(0, height, band):
        part = slice(start, start + band)
        best = rows.interpolate(wide[0], 0, part)
        winner = torch.zeros_like(best, dtype=torch.uint8)
        for label in range(1, classes):
            value = rows.interpolate(wide[label], 0, part)
            better = value > best
            winner.masked_fill_(better, label)
            best = torch.where(better, value, best)
        labels[part] = winner
        pixels += torch.bincount(winner.flatten().int(), minlength=classes)
    return labels, pixels


def upsample_confidence(logits: Tensor, content: tuple[float, float], size: tuple[int, int]) -> Tensor:
    """The largest softmax at the logits' resolution, upsampled bilinearly: uint8, H x W, 255 is certain."""
    largest = logits.softmax(0).amax(0)
    wide = Axis(content[1], logits.shape[2], size[1], logits.device).interpolate(largest, 1)
    rows = Axis(content[0], logits.shape[1], size[0], logits.device)
    confidence = torch.empty(size, dtype=torch.uint8, device=logits.device)
    band = max(1, BAND_PIXELS // size[1])
    for start in range(0, size[0], band):
        part = slice(start, start + band)
        confidence[part] = rows.interpolate(wide, 0, part).mul(255).round().clamp(0, 255).to(torch.uint8)
    return confidence


class Axis:
    """Where each of `outputs` positions falls on a grid of `inputs` cells, of which the first `content` are covered."""

    def __init__(self, content: float, inputs: int, outputs: int, device: torch.device) -> None:
        position = (torch.arange(outputs, dtype=torch.float64, device=device) + 0.5) * (content / outputs) - 0.5
        position = position.clamp(0, inputs - 1)
        self.low = position.floor().long()
        self.high = (self.low + 1).clamp(max=inputs - 1)
        self.fraction = (position - self.low).float()

    def interpolate(self, x: Tensor, dim: int, part: slice = slice(None)) -> Tensor:
        fraction = self.fraction[part].view([-1 if d == dim else 1 for d in range(x.dim())])
        return torch.lerp(x.index_select(dim, self.low[part]), x.index_select(dim, self.high[part]), fraction)
