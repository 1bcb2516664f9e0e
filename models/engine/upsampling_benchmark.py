"""Label upsampling beside interpolate and argmax, taking turns: on real logits, and on random ones, its worst case."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from models.engine.benchmark import PlainPyTorch, taking_turns
from models.engine.engine import Photo
from models.engine.label_upsampling import upsample
from models.engine.network import wait_for
from models.engine.precision import best_dtype


@dataclass(frozen=True, slots=True)
class UpsamplingComparison:
    """Medians, in milliseconds, of all photos' logits to their label maps. Random logits have the same shape.

    boundary_cells: share of the cells between four real logits whose classes differ. Agreements are shares of pixels
    with equal labels; the two round differently, which shows where logits tie.
    """

    classes: int
    boundary_cells: float
    eager_upsample_ms: float
    upsample_ms: float
    upsample_speedup: float
    upsample_agreement: float
    random_eager_upsample_ms: float
    random_upsample_ms: float
    random_upsample_speedup: float
    random_upsample_agreement: float


@torch.inference_mode()
def compare_upsampling(plain: PlainPyTorch, photos: Sequence[Photo], rounds: int) -> UpsamplingComparison:
    """Plain PyTorch has logits in float32, NCHW; ours reads them in the device's best floating type."""
    size = (photos[0].shape[0], photos[0].shape[1])
    logits = plain.logits(photos)
    noise = torch.randn(logits.shape, generator=torch.Generator().manual_seed(0)).to(logits.device)
    real, random = (_compare(x.to(best_dtype(x.device)), size, rounds) for x in (logits, noise))
    return UpsamplingComparison(logits.shape[1], _boundary_cells(logits.argmax(1).cpu().numpy()), *real, *random)


def _compare(logits: Tensor, size: tuple[int, int], rounds: int) -> tuple[float, float, float, float]:
    """eager ms, our ms, their ratio, agreement."""
    nchw = logits.float()
    nhwc = logits.contiguous(memory_format=torch.channels_last)
    grid = (logits.shape[2], logits.shape[3])

    def eager() -> Tensor:
        return F.interpolate(nchw, size, mode="bilinear", align_corners=False).argmax(1)

    def ours() -> list[Tensor]:
        return [upsample(one, grid, size).labels for one in nhwc]

    def finished(work: Callable[[], object]) -> None:
        work()
        wait_for(logits.device)

    agreement = (eager() == torch.stack(ours())).double().mean().item()
    theirs, own = taking_turns([partial(finished, eager), partial(finished, ours)], rounds)
    return round(theirs, 2), round(own, 2), round(theirs / own, 1), round(agreement, 6)


def _boundary_cells(classes: NDArray[np.int64]) -> float:
    """classes: N x h x w."""
    corners = np.stack([classes[:, i : i - 1 or None, j : j - 1 or None] for i in (0, 1) for j in (0, 1)])
    return round(float((corners != corners[0]).any(0).mean()), 4)
