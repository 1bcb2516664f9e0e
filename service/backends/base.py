"""What the gateway asks of whatever hosts the networks: a changing set of devices, each running one batch at a time."""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Metric

Photo = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class EncodedPhoto:
    """A photo's own bytes, and by which ids its request is known in logs and traces."""

    body: bytes
    request_id: str = ""
    traceparent: str = ""
    tracestate: str = ""


class DeviceLost(Exception):
    """The device died with a batch, or stopped answering: of the photos nothing is known, and another may run them."""


class Segmentation(Protocol):
    """labels: uint8, H x W. pixels: int64, one count a class. confidence: uint8, H x W (255 is certain), or None."""

    @property
    def labels(self) -> NDArray[np.uint8]: ...
    @property
    def pixels(self) -> NDArray[np.int64]: ...
    @property
    def confidence(self) -> NDArray[np.uint8] | None: ...


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model that is served. input_size: height and width, in pixels, of the photos that it was scored on."""

    name: str
    version: int
    label_set: str
    input_size: tuple[int, int]
    long_side: int
    licence: str
    data: str
    scores: Mapping[str, float]
    sha256: str
    engine: Literal["eager", "compiled"]

    @property
    def id(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class BatchKey:
    """Photos with equal keys can share a batch. height and width: the padded input, in pixels."""

    model: str
    """ModelInfo.id"""
    height: int
    width: int
    long_side: int
    confidence: bool

    @property
    def cost(self) -> int:
        """Padded pixels of one photo."""
        return self.height * self.width


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a batch.

    results: one a photo, in order; of one that cannot be decoded, what `images` raises. seconds: how long the device
    was busy with it, without its way there and back and its wait for other batches.
    """

    results: Sequence[Segmentation | Exception]
    seconds: float


class Device(Protocol):
    """Runs one batch at a time, while one more may be on its way. Devices of one kind are equally fast."""

    @property
    def id(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def models(self) -> Container[str]:
        """The ids of those that it can run now."""
        ...

    @property
    def delay(self) -> float:
        """Seconds that a batch given now spends on its way there and back, and behind others that share the device.

        That long before an answer is due, the next batch may be given: it is there when the device frees.
        """
        ...

    async def run(self, key: BatchKey, photos: Sequence[Any]) -> Ran:
        """Label a batch.

        photos: as `Backend.takes` says. Raises DeviceLost; whatever else it raises is put down to the photos, and the
        caller isolates the one at fault.
        """
        ...


class Backend(Protocol):
    """Hosts models on devices."""

    @property
    def takes(self) -> Literal["pixels", "bytes"]:
        """What its devices are given: Photo or EncodedPhoto."""
        ...

    @property
    def bytes_per_padded_pixel(self) -> int:
        """Of this process, that a network takes while it runs: eseg-lite-s in float32, 4096 x 4096, took 72."""
        ...

    @property
    def devices(self) -> Sequence[Device]:
        """Those that take batches now."""
        ...

    @property
    def models(self) -> Sequence[ModelInfo]: ...
    def batch_key(
        self, model: ModelInfo, height: int, width: int, *, long_side: int | None, confidence: bool
    ) -> BatchKey:
        """What a height x width photo needs of `model`; long_side None is the checkpoint's own."""
        ...

    async def start(self, on_change: Callable[[], None]) -> None:
        """Begin to host. on_change: called whenever devices, or the models of one, have changed."""
        ...

    async def stop(self) -> None:
        """Free everything; running batches are waited for."""
        ...

    def collect(self) -> Iterable[Metric]:
        """Its own metrics, to be shown beside the gateway's."""
        ...
