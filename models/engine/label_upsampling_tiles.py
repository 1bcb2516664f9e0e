"""What one thread does of label upsampling on the CPU: compiled, vectorised, and idle where nothing changes.

The photo is walked in tiles of TILE columns and as many rows as lie between two rows of the grid. A tile whose grid
points all have one class is filled with it: the weights are not negative and sum to one, so no other class can come out
ahead in between. Elsewhere the tile is interpolated, class by class, in buffers that stay in the first-level cache; but
classes that are less, at all of its grid points, than another one are left out, since neither can they come out ahead.

Inner loops count on being vectorised. Indices that numba cannot see to be positive prevent that, unless they are
unsigned: numba wraps negative ones around. And a slice costs as much as some ten values, so whole arrays are passed.
All of it stands in one module, since numba compiles a function again only when its own file changes.
"""

import os
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

from models.engine.cache import cache_dir

# Read when numba is imported. Else it would be the package's folder, which in a container nobody can write to.
os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_dir() / "numba"))

import numpy as np
from numba import njit
from numpy.typing import NDArray

Float32s = NDArray[np.float32]
Function = TypeVar("Function", bound=Callable[..., Any])

TILE = 64
# A grid point is a tie when its second class comes this close to the first. Rounding moves an interpolated value by
# less than 2^-21 of its largest term, so that outside ties a filled tile is what interpolation would have found.
_CLOSE = np.float32(2**-18)
_TINY = np.float32(1e-30)
_TIE = 255
# Where more classes than this win somewhere in a tile, hardly any other is less than one of them throughout.
_MOST_WINNERS = 3


def _compiled(function: Function) -> Function:
    # Errors as in numpy: a check for division by zero would prevent vectorisation.
    compiled = partial(njit, nogil=True, error_model="numpy")
    try:
        return cast(Function, compiled(function, cache=True))
    except RuntimeError:
        # Neither that cache nor the package's folder nor the user's can be written: compiled by each process.
        return cast(Function, compiled(function))


@_compiled
def fill_band(
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
    winners = _winners(logits, top, bottom)
    pixels = np.zeros(classes, np.int64)
    # A row of the grid interpolated to the tile's columns, for the rows of pixels before it and those after it.
    wide = np.empty((2, classes, TILE), np.float32)
    wide_confidence = np.empty((2, 1, TILE), np.float32)
    best, winner = np.empty(TILE, np.float32), np.empty(TILE, np.int32)
    contenders, alone = np.empty(classes, np.uint64), np.zeros(1, np.uint64)
    hits = np.empty((classes, TILE), np.int32)
    lows, highs = np.empty(TILE, np.uint64), np.empty(TILE, np.uint64)
    weights = np.empty((2, TILE), np.float32)
    for left in range(0, columns, TILE):
        count = min(TILE, columns - left)
        for i in range(TILE):
            # Beyond the last column the tile repeats it.
            low, weight = _position(left + min(i, count - 1), horizontal, width)
            lows[i], highs[i] = low, min(low + 1, width - 1)
            weights[0, i], weights[1, i] = np.float32(1) - weight, weight
        first, last = int(lows[0]), int(highs[count - 1])
        in_wide = -1
        y = start
        while y < stop:
            low = _position(y, vertical, height)[0]
            high = min(low + 1, height - 1)
            end = y + 1
            while end < stop and _position(end, vertical, height)[0] == low:
                end += 1
            number = _contend(logits, winners, (low, high, first, last), contenders)
            if number == 1:
                labels[y:end, left : left + count] = contenders[0]
                pixels[contenders[0]] += (end - y) * count
            else:
                # The lower row of one step is the upper row of the next, if both have all classes.
                for row in range(high if in_wide == low and number == classes else low, high + 1):
                    _widen(logits, contenders, number, row, lows, highs, weights, wide)
                in_wide = high if number == classes else -1
                hits[:number] = 0
                for row in range(y, end):
                    weight = _position(row, vertical, height)[1]
                    _find_largest(wide, low, high, weight, contenders, number, best, winner)
                    for i in range(count):
                        labels[np.uint64(row), np.uint64(left + i)] = winner[i]
                    for k in range(number):
                        for i in range(TILE):
                            hits[k, i] += winner[i] == np.int32(contenders[k])
                for k in range(number):
                    pixels[contenders[k]] += hits[k, :count].sum()
            if confidence.size:
                for row in range(low, high + 1):
                    _widen(largest, alone, 1, row, lows, highs, weights, wide_confidence)
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
def _contend(
    logits: Float32s, winners: NDArray[np.int32], box: tuple[int, int, int, int], contenders: NDArray[np.uint64]
) -> int:
    """Write the classes that may be the largest somewhere in a box of the grid, in their order. Returns how many.

    box: first and last row, first and last column.
    """
    classes, found, ties = len(logits), 0, False
    top, bottom, first, last = box
    there = np.zeros(_MOST_WINNERS, np.uint64)
    for row in range(top, bottom + 1):
        for j in range(first, last + 1):
            label = winners[row, j]
            ties |= label == _TIE
            known = label == _TIE
            for k in range(found):
                known |= there[k] == np.uint64(label)
            if not known and found == _MOST_WINNERS:
                contenders[:] = np.arange(classes)
                return classes
            if not known:
                there[found] = label
                found += 1
    if found == 1 and not ties:
        contenders[0] = there[0]
        return 1
    number = 0
    for label in range(classes):
        contends = True
        for k in range(found):
            if contends and there[k] != np.uint64(label):
                contends = not _is_less(logits, np.uint64(label), there[k], box)
        if contends:
            contenders[number] = label
            number += 1
    return number


@_compiled
def _is_less(logits: Float32s, one: np.uint64, other: np.uint64, box: tuple[int, int, int, int]) -> bool:
    """Whether class `one` is less than `other`, by more than rounding, at all points of a box of the grid."""
    top, bottom, first, last = box
    for row in range(top, bottom + 1):
        for j in range(first, last + 1):
            value = logits[other, np.uint64(row), np.uint64(j)]
            if logits[one, np.uint64(row), np.uint64(j)] >= value - (_CLOSE * abs(value) + _TINY):
                return False
    return True


@_compiled
def _widen(
    logits: Float32s,
    contenders: NDArray[np.uint64],
    number: int,
    row: int,
    lows: NDArray[np.uint64],
    highs: NDArray[np.uint64],
    weights: Float32s,
    wide: Float32s,
) -> None:
    """A row of the grid, of `number` contenders, interpolated to a tile's columns: wide[row & 1], contenders x TILE."""
    for k in range(number):
        label = contenders[k]
        for i in range(TILE):
            before, after = logits[label, np.uint64(row), lows[i]], logits[label, np.uint64(row), highs[i]]
            wide[row & 1, k, i] = weights[0, i] * before + weights[1, i] * after


@_compiled
def _find_largest(
    wide: Float32s,
    low: int,
    high: int,
    weight: np.float32,
    contenders: NDArray[np.uint64],
    number: int,
    best: Float32s,
    winner: NDArray[np.int32],
) -> None:
    """The class of the largest value at each column of one row of pixels, between rows low and high of the grid."""
    rest, above, below = np.float32(1) - weight, low & 1, high & 1
    for k in range(number):
        label = np.int32(contenders[k])
        for i in range(TILE):
            value = rest * wide[above, k, i] + weight * wide[below, k, i]
            # Both are always stored: a store that depends on the value is not vectorised well.
            better = (k == 0) | (value > best[i])
            best[i] = value if better else best[i]
            winner[i] = label if better else winner[i]


@_compiled
def _winners(logits: Float32s, top: int, bottom: int) -> NDArray[np.int32]:
    """The class of the largest logit at each point of a grid, _TIE where another one is as good but for rounding.

    Only rows top to bottom are written.
    """
    classes, height, width = logits.shape
    winners = np.empty((height, width), np.int32)
    best = np.empty(width, np.float32)
    for row in range(top, bottom + 1):
        winner = winners[row]
        best[:] = logits[0, row]
        winner[:] = 0
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
