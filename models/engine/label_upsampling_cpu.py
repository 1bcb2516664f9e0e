"""Label upsampling on the CPU: compiled, vectorised, and idle where nothing changes.

The photo is walked in tiles of TILE columns and as many rows as lie between two rows of the grid. A tile whose grid
points all have one class is filled with it: the weights are not negative and sum to one, so no other class can come out
ahead in between. Elsewhere the tile is interpolated, class by class, in buffers that stay in the first-level cache.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar, cast

from models.engine.cache import cache_dir

# Read when numba is imported. Else it would be the package's folder, which in a container nobody can write to.
os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_dir() / "numba"))

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

Float32s = NDArray[np.float32]
Function = TypeVar("Function", bound=Callable[..., Any])

TILE = 64
# Several bands of rows a thread, since a street is harder than the sky; each at least so high that its grid rows, of
# which neighbours need the same one, are not read twice for nothing.
_BANDS_PER_THREAD = 4
_LEAST_BAND = 32
# A grid point is a tie when its second class comes this close to the first. Rounding moves an interpolated value by
# less than 2^-21 of its largest term, so that outside ties a filled tile is what interpolation would have found.
_CLOSE = np.float32(2**-18)
_TINY = np.float32(1e-30)
_TIE = 255

_threads = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="upsampling")


def upsample(
    logits: Tensor, largest: Tensor | None, content: tuple[float, float], size: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor | None]:
    """As label_upsampling.upsample_in_torch, to the last bit. Runs in as many threads as torch does."""
    grid, covered = logits.float().contiguous().numpy(), (float(content[0]), float(content[1]))
    labels = np.empty(size, np.uint8)
    confidences = np.empty((0, 0), np.float32) if largest is None else largest.contiguous().numpy()
    confidence = np.empty((0, 0) if largest is None else size, np.uint8)
    threads = torch.get_num_threads()
    band = max(_LEAST_BAND, -(-size[0] // (threads * _BANDS_PER_THREAD)))

    def fill(starts: range) -> NDArray[np.int64]:
        pixels = np.zeros(len(grid), np.int64)
        for start in starts:
            stop = min(start + band, size[0])
            pixels += _fill(grid, confidences, *covered, labels, confidence, start, stop)
        return pixels

    shares = [range(first * band, size[0], threads * band) for first in range(threads)]
    others = [_threads.submit(fill, share) for share in shares[1:] if share]
    pixels = fill(shares[0])
    for other in others:
        pixels += other.result()
    return (
        torch.from_numpy(labels),
        torch.from_numpy(pixels),
        None if largest is None else torch.from_numpy(confidence),
    )


def compile_ahead() -> None:
    """Have the cache hold what `upsample` runs, with and without confidence."""
    grid = torch.zeros(2, 2, 2)
    for largest in (None, grid[0]):
        upsample(grid, largest, (2.0, 2.0), (2, 2))


def _compiled(function: Function) -> Function:
    # Errors as in numpy: a check for division by zero would prevent vectorisation.
    compiled = partial(njit, nogil=True, error_model="numpy")
    try:
        return cast(Function, compiled(function, cache=True))
    except (
        RuntimeError
    ):  # Neither that cache nor the package's folder nor the user's cache can be written: compiled by each process.
        return cast(Function, compiled(function))


@_compiled
def _fill(
    logits: Float32s,
    largest: Float32s,
    content_height: float,
    content_width: float,
    labels: NDArray[np.uint8],
    confidence: NDArray[np.uint8],
    start: int,
    stop: int,
) -> NDArray[np.int64]:
    """Rows start to stop of labels and, where there is one, confidence. Returns their pixels of each class."""
    classes, height, width = logits.shape
    rows, columns = labels.shape
    vertical, horizontal = content_height / rows, content_width / columns
    top = _position(start, vertical, height)[0]
    bottom = min(_position(stop - 1, vertical, height)[0] + 1, height - 1)
    winners = _winners(logits[:, top : bottom + 1])
    pixels = np.zeros(classes, np.int64)
    # A row of the grid is interpolated once for the rows of pixels before it and those after it.
    wide = np.empty((2, classes, TILE), np.float32)
    wide_confidence = np.empty((2, 1, TILE), np.float32)
    best, winner = np.empty(TILE, np.float32), np.empty(TILE, np.int32)
    for left in range(0, columns, TILE):
        count = min(TILE, columns - left)
        first = _position(left, horizontal, width)[0]
        last = min(_position(left + count - 1, horizontal, width)[0] + 1, width - 1)
        weights = np.zeros((last - first + 1, TILE), np.float32)
        for i in range(count):
            low, weight = _position(left + i, horizontal, width)
            weights[low - first, i] = np.float32(1) - weight
            if low < last:
                weights[low + 1 - first, i] = weight
        in_wide = -1
        y = start
        while y < stop:
            low = _position(y, vertical, height)[0]
            high = min(low + 1, height - 1)
            end = y + 1
            while end < stop and _position(end, vertical, height)[0] == low:
                end += 1
            label = winners[low - top, first]
            same = label != _TIE
            for j in range(first, last + 1):
                same &= (winners[low - top, j] == label) & (winners[high - top, j] == label)
            if same:
                labels[y:end, left : left + count] = label
                pixels[label] += (end - y) * count
            else:
                # The lower row of one step is the upper row of the next.
                for row in range(low if in_wide < low else high, high + 1):
                    _widen(logits[:, row, first:], weights, wide[row & 1])
                in_wide = high
                above, below = wide[low & 1], wide[high & 1]
                for row in range(y, end):
                    weight = _position(row, vertical, height)[1]
                    _largest(above, below, np.float32(1) - weight, weight, best, winner)
                    for i in range(count):
                        labels[row, left + i] = winner[i]
                    for i in range(count):
                        pixels[winner[i]] += 1
            if confidence.size:
                for row in range(low, high + 1):
                    _widen(largest[row : row + 1, first:], weights, wide_confidence[row & 1])
                for row in range(y, end):
                    weight = _position(row, vertical, height)[1]
                    rest = np.float32(1) - weight
                    for i in range(count):
                        value = rest * wide_confidence[low & 1, 0, i] + weight * wide_confidence[high & 1, 0, i]
                        confidence[row, left + i] = np.uint8(value * np.float32(255) + np.float32(0.5))
            y = end
    return pixels


@_compiled
def _position(output: int, scale: float, inputs: int) -> tuple[int, np.float32]:
    """As label_upsampling.Axis has it: the lower grid point, and the weight of the one after it."""
    position = min(max((output + 0.5) * scale - 0.5, 0.0), inputs - 1.0)
    low = int(position)
    return low, np.float32(position - low)


@_compiled
def _widen(row: Float32s, weights: Float32s, wide: Float32s) -> None:
    """A row of the grid, classes x points, interpolated to a tile's columns: classes x TILE.

    weights: points x TILE, all but two of a column zero. A product of small matrices is faster than looking those up.
    """
    for label in range(row.shape[0]):
        value = row[label, 0]
        for i in range(TILE):
            wide[label, i] = value * weights[0, i]
        for point in range(1, weights.shape[0]):
            value = row[label, point]
            for i in range(TILE):
                wide[label, i] += value * weights[point, i]


@_compiled
def _largest(
    above: Float32s, below: Float32s, rest: np.float32, weight: np.float32, best: Float32s, winner: NDArray[np.int32]
) -> None:
    """The class of the largest value at each column of one row of pixels, between two rows of the grid."""
    for i in range(TILE):
        best[i] = rest * above[0, i] + weight * below[0, i]
        winner[i] = 0
    for label in range(1, above.shape[0]):
        for i in range(TILE):
            value = rest * above[label, i] + weight * below[label, i]
            # Both are always stored: a store that depends on the value is not vectorised well.
            better = value > best[i]
            best[i] = value if better else best[i]
            winner[i] = label if better else winner[i]


@_compiled
def _winners(logits: Float32s) -> NDArray[np.int32]:
    """The class of the largest logit at each point of a grid, _TIE where another one is as good but for rounding."""
    classes, height, width = logits.shape
    winners = np.zeros((height, width), np.int32)
    best = np.empty(width, np.float32)
    for row in range(height):
        winner = winners[row]
        best[:] = logits[0, row]
        for label in range(1, classes):
            for j in range(width):
                value = logits[label, row, j]
                better = value > best[j]
                best[j] = value if better else best[j]
                winner[j] = label if better else winner[j]
        for j in range(width):
            best[j] -= _CLOSE * abs(best[j]) + _TINY
        for label in range(classes):
            for j in range(width):
                tie = (logits[label, row, j] >= best[j]) & (winner[j] != label)
                winner[j] = _TIE if tie else winner[j]
    return winners
