"""What an engine asks of whatever computes logits, and plain PyTorch as one that does."""

from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from models.engine.batch_norm_folding import fold_batch_norm
from models.engine.normalisation import Normalised
from models.engine.precision import best_dtype, default_device
from models.weights.card import Preprocessing

Kind = Literal["eager", "compiled"]


class Network(Protocol):
    """A network on a device. Not thread-safe: one batch at a time."""

    @property
    def kind(self) -> Kind: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        ...

    def __call__(self, photos: Tensor) -> Tensor:
        """Photos, uint8, N x H x W x 3, to logits, N x classes x h x w, of any floating type.

        The logits are the caller's until the next call.
        """
        ...


class EagerNetwork:
    """PyTorch, channels last, with batch norms folded: what runs anywhere, at once."""

    kind: Kind = "eager"

    def __init__(
        self,
        module: nn.Module,
        preprocessing: Preprocessing,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        """Takes `module` over: folds its batch norms and moves it. dtype None: the best that the device has."""
        self.device = device or default_device()
        self.dtype = dtype or best_dtype(self.device)
        folded = fold_batch_norm(module.eval()).to(self.device, self.dtype)
        network = convert_conv2d_weight_memory_format(folded, torch.channels_last)
        self._module = Normalised(network, preprocessing, self.dtype).to(self.device)

    def __call__(self, photos: Tensor) -> Tensor:
        logits: Tensor = self._module(photos.permute(0, 3, 1, 2))
        return logits
