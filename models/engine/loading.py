"""From a checkpoint on disk to an engine: all that a host of engines needs of the weights."""

import torch

from models.engine.engine import Engine
from models.weights.checkpoint import Checkpoint, CheckpointError
from models.weights.library import UnknownModelError, find, library
from models.zoo.registry import UnknownArchitectureError, build

__all__ = ["Checkpoint", "CheckpointError", "UnknownModelError", "find", "library", "load_engine"]


def load_engine(
    checkpoint: Checkpoint, *, device: torch.device | None = None, dtype: torch.dtype | None = None
) -> Engine:
    """Raises CheckpointError if there is no such architecture as the checkpoint names, or its weights do not fit it."""
    card = checkpoint.card
    try:
        with torch.device("meta"):
            network = build(card.architecture, card.num_classes)
    except UnknownArchitectureError as error:
        raise CheckpointError(f"{checkpoint.path}: {error}") from error
    checkpoint.load_into(network)
    return Engine(network, card.preprocessing, device=device, dtype=dtype)
