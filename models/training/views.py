"""What a run sees: random views of its photos, in random order.

Nothing random outlives a view: all derives from the recipe's seed, the epoch and the photo.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from models.training.augmentation import Augmentation
from models.training.copy_paste import Donor, Donors
from models.training.dataset import DataError, SegmentationFolder
from models.training.loaders import batches_of


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

    def __getitems__(self, keys: list[tuple[int, int]]) -> list[tuple[Tensor, Tensor]] | DataError:
        """One batch, or what is wrong with a photo: raised in a process of its own that would come as a traceback."""
        try:
            return [self[key] for key in keys]
        except DataError as error:
            return error

    def batches(self, epoch: int, size: int) -> list[list[tuple[int, int]]]:
        """The epoch's batches of keys, each photo once; what does not fill a batch is left out."""
        order = np.random.default_rng((self.recipe.seed, epoch)).permutation(len(self.photos))
        return [[(epoch, int(i)) for i in order[b : b + size]] for b in range(0, len(order) - size + 1, size)]

    def loaded(self, batches: Sequence[list[tuple[int, int]]], workers: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Photos (N x 3 x h x w) and labels (N x h x w) of each batch of keys, by `workers` processes; 0 is this one.

        Raises DataError.
        """
        for batch in batches_of(self, batches, _collate, workers):
            if isinstance(batch, DataError):
                raise batch
            yield batch


def _collate(batch: list[tuple[Tensor, Tensor]] | DataError) -> tuple[Tensor, Tensor] | DataError:
    if isinstance(batch, DataError):
        return batch
    photos, labels = default_collate(batch)
    return photos, labels
