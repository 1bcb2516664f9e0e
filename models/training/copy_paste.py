"""Pixels of rare classes, cut out of one photo and pasted onto another (Ghiasi et al. 2021, "Simple Copy-Paste")."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# A class with a smaller share of the labelled pixels is rare.
RARE_SHARE = 0.02
# A photo with at least this share of a class's mean pixels in a photo is worth going to for it.
WORTHWHILE = 0.5


@dataclass(frozen=True, slots=True)
class Donor:
    """A photo (uint8, H x W x 3) and its labels (uint8, H x W), of which the pixels of `classes` are pasted."""

    photo: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    classes: NDArray[np.intp]


class Donors:
    """Which photos to take rare classes from."""

    def __init__(self, pixels: NDArray[np.int64]) -> None:
        """pixels: photos x classes, how many a photo has of each. Where no class is rare, nothing is ever pasted."""
        total = pixels.sum(0)
        self.classes = np.flatnonzero((total > 0) & (total < RARE_SHARE * total.sum()))
        self._holders = [np.flatnonzero(pixels[:, c] >= WORTHWHILE * pixels[:, c].mean()) for c in self.classes]

    def choose(self, random: np.random.Generator) -> int | None:
        """A photo with a rare class, each class being as likely as the others; None where no class is rare."""
        if not self._holders:
            return None
        return int(random.choice(self._holders[random.integers(len(self._holders))]))


def paste(
    photo: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    donor_photo: NDArray[np.uint8],
    donor_labels: NDArray[np.uint8],
    classes: NDArray[np.intp],
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Photo and labels with the donor's pixels of `classes` over them, at their own places, where both have pixels."""
    photo, labels = photo.copy(), labels.copy()
    both = tuple(slice(min(sides)) for sides in zip(labels.shape, donor_labels.shape, strict=True))
    pasted = np.isin(donor_labels[both], classes)
    photo[both][pasted] = donor_photo[both][pasted]
    labels[both][pasted] = donor_labels[both][pasted]
    return photo, labels
