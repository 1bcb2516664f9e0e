"""What turns photos into label maps: the engine in this process, or a running service. One small protocol."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from labeling.errors import PhotoError

MAX_BYTES = 32 * 2**20
MAX_PIXELS = 50_000_000
"""The limits of the HTTP service."""


@dataclass(frozen=True, slots=True)
class LabelMap:
    """The labels of one photo."""

    png: bytes
    """Indexed PNG, pixel value = class id."""
    width: int
    height: int
    pixels: Sequence[int]
    """How many of each class, by class id."""
    confidence: float
    """Mean over the pixels, 0..1."""
    attempts: int = 1


class Labeler(Protocol):
    """batch: photos to hand over at once. window: photos that may be in flight."""

    batch: int
    window: int
    engine: str | None
    """What computes the labels, such as "compiled int8"; None for a service, which may have several."""

    async def label(self, photos: Sequence[bytes]) -> list[LabelMap | PhotoError]:
        """The label map of each photo (a file's bytes), in their order, or why it has none."""
        ...

    async def close(self) -> None: ...
