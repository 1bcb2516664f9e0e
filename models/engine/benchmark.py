"""The engine beside plain PyTorch as it is usually written, in one process, taking turns."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from models.engine.engine import Engine, Photo
from models.weights.card import Preprocessing

CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Medians, in milliseconds, of photos to label maps. label_agreement: share of pixels with equal labels."""

    eager_ms: float
    engine_ms: float
    speedup: float
    label_agreement: float
    rounds: int


def compare(engine: Engine, plain: "PlainPyTorch", photos: Sequence[Photo], rounds: int) -> Comparison:
    """Run both `rounds` times, alternately, after a warm-up; a GPU captures at the engine's second run."""
    eager_labels, engine_labels = plain.run(photos), [s.labels for s in engine.run(photos, long_side=plain.long_side)]
    engine.run(photos, long_side=plain.long_side)
    agreement = np.mean([np.mean(a == b) for a, b in zip(eager_labels, engine_labels, strict=True)])
    eager, ours = taking_turns(
        [lambda: plain.run(photos), lambda: engine.run(photos, long_side=plain.long_side)], rounds
    )
    return Comparison(
        eager_ms=round(eager, 2),
        engine_ms=round(ours, 2),
        speedup=round(eager / ours, 2),
        label_agreement=round(float(agreement), 6),
        rounds=rounds,
    )


def taking_turns(works: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """The median of each work's milliseconds, over `rounds` in which each runs once, with a pause before it."""
    times = [[_milliseconds(work) for work in works] for _ in range(rounds)]
    return [median(each) for each in zip(*times, strict=True)]


class PlainPyTorch:
    """float32, NCHW, one tensor of classes x H x W: what a notebook does. Photos must be of one size."""

    def __init__(
        self, network: nn.Module, preprocessing: Preprocessing, long_side: int, device: torch.device = CPU
    ) -> None:
        """long_side: that of the photos, so that the engine is asked to take them unscaled too."""
        self.network = network.eval().to(device)
        self.long_side, self.device = long_side, device
        self.mean = torch.tensor(preprocessing.mean, device=device).view(3, 1, 1)
        self.std = torch.tensor(preprocessing.std, device=device).view(3, 1, 1)

    @torch.inference_mode()
    def run(self, photos: Sequence[Photo]) -> list[NDArray[np.int64]]:
        """Label maps, int64, H x W."""
        full = F.interpolate(self.logits(photos), photos[0].shape[:2], mode="bilinear", align_corners=False)
        return list(full.argmax(1).cpu().numpy())

    @torch.inference_mode()
    def logits(self, photos: Sequence[Photo]) -> Tensor:
        """float32, N x classes x h x w."""
        logits: Tensor = self.network(self.normalise(photos))
        return logits

    def normalise(self, photos: Sequence[Photo]) -> Tensor:
        """float32, N x 3 x H x W."""
        pixels = [torch.from_numpy(photo).to(self.device) for photo in photos]
        return torch.stack([(each.permute(2, 0, 1).float() / 255 - self.mean) / self.std for each in pixels])


def _milliseconds(work: Callable[[], object]) -> float:
    # OpenMP's threads keep their cores for some milliseconds after their work is done.
    time.sleep(0.02)
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000
