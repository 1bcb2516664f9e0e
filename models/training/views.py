"""What a run sees: random views of its photos, in random order.

Nothing random outlives a view: all derives from the recipe's seed, the epoch and the photo.
"""

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from models.training.augmentation import Augmentation
from models.training.copy_paste import Donor, Donors
from models.training.dataset import SegmentationFolder


class Views(Dataset[tuple[Tensor, Tensor]]):
    """Augmented photos, indexed by (epoch, photo)."""

    def __init__(self, photos: SegmentationFolder, augmentation: Augmentation, donors: Donors) -> None:
        self.photos, self.augmentation, self.donors, self.recipe = photos, augmentation, donors, augmentation.recipe

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        epoch, index = key
        random = np.random.default_rng((self.recipe.seed, epoch, index))
        chosen = self.donors.choose(random) if random.random() < self.recipe.copy_paste else None
        donor = None if chosen is None else Donor(*self.photos[chosen], self.donors.classes)
        return self.augmentation(*self.photos[index], random, donor)

    def batches(self, epoch: int, size: int) -> list[list[tuple[int, int]]]:
        """The epoch's batches of keys, each photo once; what does not fill a batch is left out."""
        order = np.random.default_rng((self.recipe.seed, epoch)).permutation(len(self.photos))
        return [[(epoch, int(i)) for i in order[b : b + size]] for b in range(0, len(order) - size + 1, size)]
