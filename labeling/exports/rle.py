"""COCO's run-length encoding (cocodataset/cocoapi, maskApi.c): column-major runs, differences, six bits a character."""

import numpy as np
from numpy.typing import NDArray


def class_runs(labels: NDArray[np.uint8]) -> dict[int, NDArray[np.int64]]:
    """For each class in `labels` (H x W) the lengths of its mask's runs, down the columns: zeros first, then ones."""
    flat = labels.ravel(order="F")
    starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1))
    ends = np.concatenate((starts[1:], [flat.size]))
    values = flat[starts]
    runs = {}
    for label in np.unique(values).tolist():
        mine = values == label
        # Borders of the class's runs alternate between its starts and its ends; what remains at the end is zeros.
        borders = np.stack((starts[mine], ends[mine]), axis=1).ravel()
        lengths = np.diff(borders, prepend=0)
        remaining = flat.size - borders[-1]
        runs[label] = np.append(lengths, remaining) if remaining else lengths
    return runs


def counts_string(runs: NDArray[np.int64]) -> str:
    """The `counts` of a compressed RLE."""
    numbers = runs.copy()
    # From the fourth on, each is told as the difference from the last but one.
    numbers[3:] -= runs[1:-2]
    characters = []
    more = np.ones(len(numbers), bool)
    while more.any():
        low = numbers & 0x1F
        numbers >>= 5
        # The sign is the fifth bit of the last character.
        unfinished = np.where(low & 0x10, numbers != -1, numbers != 0)
        characters.append(np.where(more, (low | unfinished << 5) + 48, 0))
        more &= unfinished
    grid = np.stack(characters, axis=1).astype(np.uint8).ravel()
    return bytes(grid[grid != 0]).decode("ascii")
