"""Label upsampling on the CPU: bands of rows, in as many threads as torch has."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.engine.label_upsampling_tiles import Float32s, fill_band

# Several bands of rows a thread, since a street is harder than the sky; each at least so high that its grid rows, of
# which neighbours need the same one, are not read twice for nothing.
_BANDS_PER_THREAD = 4
_LEAST_BAND = 32
# Values that PyTorch converts in one thread (at::internal::GRAIN_SIZE).
_UNSHARED = 32768

_threads = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="upsampling")


def upsample(
    logits: Tensor, largest: Tensor | None, content: tuple[float, float], size: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor | None]:
    """As label_upsampling.upsample_in_torch, to the last bit."""
    grid, covered = _float32(logits), (float(content[0]), float(content[1]))
    labels = np.empty(size, np.uint8)
    confidences = np.empty((1, 0, 0), np.float32) if largest is None else largest.contiguous().numpy()[None]
    confidence = np.empty((0, 0) if largest is None else size, np.uint8)
    threads = torch.get_num_threads()
    band = max(_LEAST_BAND, -(-size[0] // (threads * _BANDS_PER_THREAD)))
    # Each thread takes the next band when it is done with one.
    starts = iter(range(0, size[0], band))

    def fill() -> NDArray[np.int64]:
        pixels = np.zeros(len(grid), np.int64)
        for start in starts:
            pixels += fill_band(grid, confidences, *covered, labels, confidence, start, min(start + band, size[0]))
        return pixels

    others = [_threads.submit(fill) for _ in range(threads - 1)]
    pixels = fill()
    for other in others:
        pixels += other.result()
    return (
        torch.from_numpy(labels),
        torch.from_numpy(pixels),
        None if largest is None else torch.from_numpy(confidence),
    )


def _float32(logits: Tensor) -> Float32s:
    """C x h x w, contiguous.

    In pieces that PyTorch does not share among OpenMP's threads, which would keep their cores for milliseconds.
    """
    planes = torch.empty(logits.shape)
    rows = max(1, _UNSHARED // (logits.shape[0] * logits.shape[2]))
    for start in range(0, logits.shape[1], rows):
        planes[:, start : start + rows] = logits[:, start : start + rows]
    return planes.numpy()


def compile_ahead() -> None:
    """Have the cache hold what `upsample` runs, with and without confidence."""
    grid = torch.zeros(2, 2, 2)
    for largest in (None, grid[0]):
        upsample(grid, largest, (2.0, 2.0), (2, 2))
