"""What an engine asks of whatever computes logits, and plain PyTorch as one that does."""

from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from models.engine.batch_norm_folding import fold_batch_norm
from models.engine.precision import best_dtype, default_device

Kind = Literal["eager", "compiled"]


class Network(Protocol):
    """A network on a device. Not thread-safe: one batch at a time."""

    @property
    def kind(self) -> Kind: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def dtype(self) -> torch.dtype:
        """Of the batches that it takes."""
        ...

    def __call__(self, batch: Tensor) -> Tensor:
        """Normalised photos, N x 3 x H x W, channels last, to logits, N x classes x h x w, of any floating type.

        The logits are the caller's until the next call.
        """
        ...


class EagerNetwork:
    """PyTorch, channels last, with batch norms folded: what runs anywhere, at once."""

    kind: Kind = "eager"

    def __init__(
        self, module: nn.Module, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> None:
        """Takes `module` over: folds its batch norms and moves it. dtype None: the best that the device has."""
        self.device = device or default_device()
        self.dtype = dtype or best_dtype(self.device)
        folded = fold_batch_norm(module.eval()).to(self.device, self.dtype)
        self._module = convert_conv2d_weight_memory_format(folded, torch.channels_last)

    def __call__(self, batch: Tensor) -> Tensor:
        logits: Tensor = self._module(batch)
        return logits
