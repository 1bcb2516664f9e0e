"""The engine beside plain PyTorch as it is usually written, in one process, taking turns."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from models.engine.engine import Engine, Photo
from models.weights.card import Preprocessing


@dataclass(frozen=True, slots=True)
class Comparison:
    """Medians, in milliseconds, of photos to label maps. label_agreement: share of pixels with equal labels."""

    eager_ms: float
    engine_ms: float
    speedup: float
    label_agreement: float
    rounds: int


def compare(engine: Engine, plain: "PlainPyTorch", photos: Sequence[Photo], rounds: int) -> Comparison:
    """Run both `rounds` times, alternately, after one warm-up each."""
    eager_labels, engine_labels = plain.run(photos), [s.labels for s in engine.run(photos, long_side=plain.long_side)]
    agreement = np.mean([np.mean(a == b) for a, b in zip(eager_labels, engine_labels, strict=True)])
    eager, ours = [], []
    for _ in range(rounds):
        eager.append(_milliseconds(lambda: plain.run(photos)))
        ours.append(_milliseconds(lambda: engine.run(photos, long_side=plain.long_side)))
    return Comparison(
        eager_ms=round(median(eager), 2),
        engine_ms=round(median(ours), 2),
        speedup=round(median(eager) / median(ours), 2),
        label_agreement=round(float(agreement), 6),
        rounds=rounds,
    )


class PlainPyTorch:
    """float32, NCHW, one tensor of classes x H x W: what a notebook does. Photos must be of one size."""

    def __init__(self, network: nn.Module, preprocessing: Preprocessing, long_side: int) -> None:
        """long_side: that of the photos, so that the engine is asked to take them unscaled too."""
        self.network = network.eval()
        self.long_side = long_side
        self.mean = torch.tensor(preprocessing.mean).view(3, 1, 1)
        self.std = torch.tensor(preprocessing.std).view(3, 1, 1)

    @torch.inference_mode()
    def run(self, photos: Sequence[Photo]) -> list[NDArray[np.int64]]:
        """Label maps, int64, H x W."""
        tensors = [(torch.from_numpy(p).permute(2, 0, 1).float() / 255 - self.mean) / self.std for p in photos]
        logits = self.network(torch.stack(tensors))
        full = F.interpolate(logits, photos[0].shape[:2], mode="bilinear", align_corners=False)
        return list(full.argmax(1).numpy())


def _milliseconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000
