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
"""compiled: by OpenVINO for a CPU, captured in CUDA graphs on a GPU."""


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

        The logits are the caller's until the next call. A GPU may still be at them: see `wait_for`.
        """
        ...


def wait_for(device: torch.device) -> None:
    """Return when all is done that this thread sent to a GPU. What is asked of a CPU is done at once."""
    if device.type == "cuda":
        # Asleep, and not polling: other threads have photos to decode.
        event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(device))
        event.synchronize()


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
