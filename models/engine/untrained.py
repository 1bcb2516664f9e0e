"""A checkpoint of any network, to measure how fast it is before anybody has trained it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from models import labelsets
from models.weights.card import Card, Preprocessing
from models.weights.checkpoint import Checkpoint, save
from models.zoo.registry import build

LABEL_SET = "cityscapes19"
LONG_SIDE = 2048


@contextmanager
def untrained(architecture: str) -> Iterator[Checkpoint]:
    """Weights as training begins with them, always the same, in a folder that goes with the context.

    Raises UnknownArchitectureError.
    """
    classes = len(labelsets.load(LABEL_SET).classes)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build(architecture, classes)
    card = Card(
        name=architecture,
        version=1,
        architecture=architecture,
        label_set=LABEL_SET,
        num_classes=classes,
        input_size=(LONG_SIDE // 2, LONG_SIDE),
        preprocessing=Preprocessing(long_side=LONG_SIDE),
        licence="Free: nothing was trained",
        data="Nothing: random weights",
    )
    with tempfile.TemporaryDirectory(prefix="segserve-") as folder:
        path = Path(folder) / f"{architecture}@1.safetensors"
        save(network, card, path)
        yield Checkpoint.open(path)
