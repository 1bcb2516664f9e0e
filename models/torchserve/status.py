"""What a worker publishes of itself, for gateways to read. Imports no torch."""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict


class ModelStatus(BaseModel):
    """A model of a worker. The first eleven fields are those of its checkpoint's card."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: int
    label_set: str
    input_size: tuple[int, int]
    """Height and width, in pixels, of the photos that it was scored on."""
    long_side: int
    grid: int
    """Both sides of the network's input are multiples of this many pixels."""
    enlarge: float
    """Photos smaller than `long_side` are scaled up by at most this factor."""
    licence: str
    data: str
    scores: Mapping[str, float]
    sha256: str
    state: Literal["loading", "ready", "leaving", "failed"]
    """Gateways accept photos for those that are ready; one that leaves still runs those that were accepted for it."""
    detail: str = ""
    """Why it failed."""
    processes: int = 0
    """Python processes that are ready for it."""
    waiting: int = 0
    """Calls in TorchServe's queue."""
    wait_ms: float = 0.0
    """Mean time of a recent call in that queue."""
    run_ms: float = 0.0
    """Mean time of a recent call in its process."""


class WorkerStatus(BaseModel):
    """What GET /status answers."""

    model_config = ConfigDict(frozen=True)

    kind: str
    """What its networks run on: cpu, or the name of its GPU. Workers of one kind are equally fast."""
    slots: int
    """Calls that it runs at once."""
    inference_port: int
    """TorchServe's inference API, on the same host."""
    state: Literal["starting", "ready", "stopping"]
    restarts: int
    """How often TorchServe was started again."""
    models: list[ModelStatus]
