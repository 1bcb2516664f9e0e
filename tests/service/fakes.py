"""A backend without a network: the class of a pixel is its brightness, so that every answer can be checked."""

import asyncio
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Metric

from models.engine.geometry import input_size
from service.backends.base import BatchKey, ModelInfo, Photo, Ran, Segmentation

CLASSES = 11


def brightness_labels(photo: Photo) -> NDArray[np.uint8]:
    """0 (black) to 10 (white), H x W."""
    labels: NDArray[np.uint8] = (photo.sum(axis=2, dtype=np.uint32) * CLASSES // 766).astype(np.uint8)
    return labels


@dataclass(frozen=True, slots=True)
class FakeSegmentation:
    labels: NDArray[np.uint8]
    pixels: NDArray[np.int64]
    confidence: NDArray[np.uint8] | None


def fake_segmentation(photo: Photo, *, confidence: bool = False) -> FakeSegmentation:
    """By brightness; the confidence is the photo's red."""
    labels = brightness_labels(photo)
    counts = np.bincount(labels.ravel(), minlength=CLASSES)
    return FakeSegmentation(labels, counts, np.ascontiguousarray(photo[..., 0]) if confidence else None)


class Everything:
    """Contains whatever it is asked for."""

    def __contains__(self, _: object) -> bool:
        return True


@dataclass(slots=True, eq=False)
class FakeDevice:
    """Labels by brightness; takes `seconds` a batch, or as long as `gate` is closed."""

    id: str = "fake-0"
    kind: str = "fake"
    seconds: float = 0.0
    claims: float | None = None
    """The seconds that it says a batch took, in place of those that it did."""
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    fails_on: Callable[[Photo], bool] = lambda _: False
    spoil: Callable[[list[Segmentation]], list[Segmentation]] = lambda results: results
    """What becomes of the right results."""
    batches: list[tuple[BatchKey, list[Photo]]] = field(default_factory=list)
    """Every batch that it was given."""
    running: int = 0
    models: Container[str] = field(default_factory=lambda: Everything())
    delay: float = 0.0

    def __post_init__(self) -> None:
        self.gate.set()

    async def run(self, key: BatchKey, photos: Sequence[Photo]) -> Ran:
        assert self.running <= bool(self.delay), f"{self.id} was given one batch too many"
        self.running += 1
        self.batches.append((key, list(photos)))
        started = asyncio.get_running_loop().time()
        try:
            await asyncio.sleep(self.seconds)
            await self.gate.wait()
            if any(self.fails_on(photo) for photo in photos):
                raise RuntimeError("out of paint")
            results = self.spoil([fake_segmentation(photo, confidence=key.confidence) for photo in photos])
            took = asyncio.get_running_loop().time() - started - self.delay
            return Ran(results, took if self.claims is None else self.claims)
        finally:
            self.running -= 1


def model_info(name: str = "fake", version: int = 1, engine: Literal["eager", "compiled"] = "eager") -> ModelInfo:
    return ModelInfo(
        name=name,
        version=version,
        label_set="camvid11",
        input_size=(32, 64),
        long_side=256,
        licence="Free for tests",
        data="Nothing: it looks at brightness",
        scores={"val_miou": 0.25},
        sha256=f"{version:064x}",
        engine=engine,
    )


@dataclass(slots=True, eq=False)
class FakeBackend:
    """Serves `models` on `waiting` devices, which are there once `loaded` is set."""

    models: Sequence[ModelInfo] = field(default_factory=lambda: [model_info(version=v) for v in (1, 2)])
    waiting: Sequence[FakeDevice] = field(default_factory=lambda: [FakeDevice()])
    loaded: asyncio.Event = field(default_factory=asyncio.Event)
    failure: Exception | None = None
    """What `start` raises."""
    devices: list[FakeDevice] = field(default_factory=list)
    takes: Literal["pixels"] = "pixels"
    bytes_per_padded_pixel: int = 0

    def __post_init__(self) -> None:
        self.loaded.set()

    @property
    def device(self) -> FakeDevice:
        return self.waiting[0]

    def batch_key(
        self, model: ModelInfo, height: int, width: int, *, long_side: int | None, confidence: bool
    ) -> BatchKey:
        long_side = long_side or model.long_side
        size = input_size(height, width, long_side=long_side, grid=32)
        return BatchKey(model.id, size.padded_height, size.padded_width, long_side, confidence)

    async def start(self, on_change: Callable[[], None]) -> None:
        await self.loaded.wait()
        if self.failure:
            raise self.failure
        self.devices.extend(self.waiting)
        on_change()

    async def stop(self) -> None:
        self.devices.clear()

    def collect(self) -> Iterable[Metric]:
        return ()
