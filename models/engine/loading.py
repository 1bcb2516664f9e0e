"""From a checkpoint on disk to an engine."""

import torch

from models.engine.engine import Engine
from models.weights.checkpoint import Checkpoint
from models.zoo.registry import build


def load_engine(
    checkpoint: Checkpoint, *, device: torch.device | None = None, dtype: torch.dtype | None = None
) -> Engine:
    """Raises CheckpointError if the weights do not fit the architecture that the checkpoint names."""
    card = checkpoint.card
    with torch.device("meta"):
        network = build(card.architecture, card.num_classes)
    checkpoint.load_into(network)
    return Engine(network, card.preprocessing, device=device, dtype=dtype)
