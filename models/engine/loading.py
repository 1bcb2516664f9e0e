"""From a checkpoint on disk to an engine: all that a host of engines needs of the weights."""

import torch
from torch import nn

from models.engine.engine import Engine
from models.weights.checkpoint import Checkpoint, CheckpointError
from models.weights.library import UnknownModelError, find, library
from models.zoo.registry import UnknownArchitectureError, build

__all__ = ["Checkpoint", "CheckpointError", "UnknownModelError", "find", "library", "load_engine", "load_network"]


def load_engine(
    checkpoint: Checkpoint, *, device: torch.device | None = None, dtype: torch.dtype | None = None
) -> Engine:
    """The checkpoint's network, ready to run. Raises CheckpointError, as `load_network` does."""
    return Engine(load_network(checkpoint), checkpoint.card.preprocessing, device=device, dtype=dtype)


def load_network(checkpoint: Checkpoint) -> nn.Module:
    """The network in float32 on the CPU, as it was trained.

    Raises CheckpointError if there is no such architecture as the checkpoint names, or its weights do not fit it.
    """
    card = checkpoint.card
    try:
        with torch.device("meta"):
            network = build(card.architecture, card.num_classes)
    except UnknownArchitectureError as error:
        raise CheckpointError(f"{checkpoint.path}: {error}") from error
    checkpoint.load_into(network)
    return network
