"""A network whose right answer is known: it finds the camvid11 class by its colour."""

import torch
from torch import Tensor, nn

from models import labelsets
from models.weights.card import Preprocessing


class ColourNetwork(nn.Module):
    """Normalised photos to logits of their own size; the largest is that of the class of the nearest colour."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
        colours = torch.tensor([label.color for label in labelsets.load("camvid11").classes]) / 255
        nearest = (colours - mean) / std
        self.classifier = nn.Conv2d(3, len(colours), 1)
        self.classifier.weight.data = 2 * nearest[:, :, None, None]
        self.classifier.bias = nn.Parameter(-nearest.square().sum(1))
        self.inputs: list[Tensor] = []
        """Every batch that it was given, N x 3 x H x W."""

    def forward(self, photos: Tensor) -> Tensor:
        self.inputs.append(photos.clone())
        logits: Tensor = self.classifier(photos)
        return logits
