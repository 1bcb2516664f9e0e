"""Normalisation as a network's first step, so that it is part of whatever the network is compiled to."""

import torch
from torch import Tensor, nn

from models.weights.card import Preprocessing


class Normalised(nn.Module):
    """A network that takes pixels: N x 3 x H x W, RGB, 0..255, uint8 or floating."""

    mean: Tensor
    scale: Tensor

    def __init__(self, network: nn.Module, preprocessing: Preprocessing, dtype: torch.dtype) -> None:
        """dtype: what the network computes in. Normalising itself is done in float32."""
        super().__init__()
        self.network = network
        self.dtype = dtype
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(3, 1, 1) * 255)
        self.register_buffer("scale", 1 / (torch.tensor(preprocessing.std).view(3, 1, 1) * 255))

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.network(((pixels.float() - self.mean) * self.scale).to(self.dtype))
        return logits
