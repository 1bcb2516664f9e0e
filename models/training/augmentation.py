"""Random views of a photo and its labels: scale, crop, flip, colour. All randomness is the given generator's."""

import colorsys
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from models.engine.exposure import brighten
from models.training.copy_paste import Donor, paste
from models.training.recipe import Recipe
from models.weights.card import Preprocessing

IGNORE = 255
# Rec. 601 luma of RGB.
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Turns a photo (uint8, H x W x 3) and labels (uint8, H x W) into a normalised crop (float32, 3 x h x w) and its
    labels (int64, h x w, 255 ignored), h x w being the recipe's crop."""

    recipe: Recipe
    preprocessing: Preprocessing

    def __call__(
        self,
        photo: NDArray[np.uint8],
        labels: NDArray[np.uint8],
        random: np.random.Generator,
        donor: Donor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """donor: a photo, its labels and the classes whose pixels are pasted."""
        photo, labels = self._cut(photo, labels, random)
        if donor is not None:
            photo, labels = paste(photo, labels, *self._cut(donor.photo, donor.labels, random), donor.classes)
        colours = photo.astype(np.float32) / np.float32(255)
        if self.recipe.photometric > 0:
            colours = jitter_colours(colours, self.recipe.photometric, random)
        mean, std = np.array([self.preprocessing.mean, self.preprocessing.std], dtype=np.float32)
        normal = (colours - mean) / std
        height, width = self.recipe.crop
        # Zero after normalisation is the mean colour: what the engine pads with.
        inputs = torch.zeros(3, height, width)
        targets = torch.full((height, width), IGNORE, dtype=torch.int64)
        inputs[:, : photo.shape[0], : photo.shape[1]] = torch.from_numpy(normal.transpose(2, 0, 1).copy())
        targets[: photo.shape[0], : photo.shape[1]] = torch.from_numpy(labels.astype(np.int64))
        return inputs, targets

    def _cut(
        self, photo: NDArray[np.uint8], labels: NDArray[np.uint8], random: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        photo = brighten(photo, self.preprocessing.brightness)
        low, high = self.recipe.scale
        scale = float(np.exp(random.uniform(np.log(low), np.log(high))))
        height, width = self.recipe.crop
        # Cut out first: to enlarge what will be thrown away costs more than all the rest.
        window = (max(1, round(height / scale)), max(1, round(width / scale)))
        photo, labels = resize(*crop(photo, labels, window, random), scale, self.recipe.crop)
        return (photo[:, ::-1], labels[:, ::-1]) if random.random() < self.recipe.flip else (photo, labels)


def resize(
    photo: NDArray[np.uint8], labels: NDArray[np.uint8], scale: float, largest: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The photo bilinearly (antialiased when it shrinks, as in the engine), the labels by the nearest pixel.

    largest: height and width that neither gets beyond.
    """
    sides = zip(labels.shape, largest, strict=True)
    size = tuple(min(most, max(1, round(side * scale))) for side, most in sides)
    pixels = torch.from_numpy(photo.copy()).permute(2, 0, 1)[None]
    resized = F.interpolate(pixels, size, mode="bilinear", antialias=True)[0].permute(1, 2, 0).numpy()
    nearest = F.interpolate(torch.from_numpy(labels.copy())[None, None], size, mode="nearest-exact")[0, 0].numpy()
    return resized, nearest


def crop(
    photo: NDArray[np.uint8], labels: NDArray[np.uint8], size: tuple[int, int], random: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A random window of at most `size`; a photo that is smaller stays whole on that side."""
    top = int(random.integers(max(0, photo.shape[0] - size[0]) + 1))
    left = int(random.integers(max(0, photo.shape[1] - size[1]) + 1))
    window = (slice(top, top + size[0]), slice(left, left + size[1]))
    return photo[window], labels[window]


def jitter_colours(colours: NDArray[np.float32], strength: float, random: np.random.Generator) -> NDArray[np.float32]:
    """Gamma, brightness, contrast, saturation, white balance and a turn of the hue, of an H x W x 3 picture in 0..1."""
    gamma, brightness, contrast, saturation = np.exp(random.uniform(-0.5, 0.5, 4) * strength).astype(np.float32)
    balance = np.exp(random.uniform(-0.15, 0.15, 3) * strength).astype(np.float32)
    colours = colours**gamma * (brightness * balance)
    mean = colours.mean(dtype=np.float32)
    colours = (colours - mean) * contrast + mean
    grey = (colours @ _LUMA)[..., None]
    colours = grey + (colours - grey) * saturation
    turn = _hue_rotation(float(random.uniform(-0.08, 0.08)) * strength)
    jittered: NDArray[np.float32] = np.clip(colours @ turn.T, 0, 1)
    return jittered


def _hue_rotation(turns: float) -> NDArray[np.float32]:
    """The matrix that turns the hue of RGB colours, in the YIQ plane, by a fraction of the circle."""
    to_yiq = np.array([colorsys.rgb_to_yiq(*row) for row in np.eye(3)]).T
    angle = 2 * np.pi * turns
    rotation = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    return np.asarray(np.linalg.inv(to_yiq) @ rotation @ to_yiq, dtype=np.float32)
