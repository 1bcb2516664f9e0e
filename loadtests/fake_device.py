"""A backend whose one device sleeps instead of computing, so that a load test shows the service and not the network."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Metric

from loadtests.device import MAX_BATCH, SleepingDevice
from loadtests.photos import SMALL_HEIGHT, SMALL_WIDTH
from models import labelsets
from models.engine.geometry import input_size
from service.backends.base import BatchKey, ModelInfo, Photo, Ran

LABEL_SET = "camvid11"
SMALL_PIXELS = SMALL_HEIGHT * SMALL_WIDTH
BATCH_PIXELS = MAX_BATCH * SMALL_PIXELS
"""The service's batch_pixels that makes batches of at most MAX_BATCH small photos."""
MODEL = ModelInfo(
    name="fake",
    version=1,
    label_set=LABEL_SET,
    input_size=(SMALL_HEIGHT, SMALL_WIDTH),
    long_side=2048,
    licence="Free for load tests",
    data="Nothing: every pixel has class 0",
    scores={},
    sha256="0" * 64,
    engine="eager",
)
_GRID = 32


@dataclass(frozen=True, slots=True)
class Blank:
    """Class 0 everywhere."""

    labels: NDArray[np.uint8]
    pixels: NDArray[np.int64]
    confidence: NDArray[np.uint8] | None


class FakeDevice:
    """10 ms a batch and 4 ms for each small photo's worth of padded pixels, in a thread, as a network's batches are.

    It takes MAX_BATCH small photos' worth a batch, or a single larger photo.
    """

    id = "fake-0"
    kind = "fake"
    models = (MODEL.id,)
    delay = 0.0

    def __init__(self) -> None:
        self._device = SleepingDevice()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="fake")
        self._classes = len(labelsets.load(LABEL_SET).classes)

    async def run(self, key: BatchKey, photos: Sequence[Photo]) -> Ran:
        units = len(photos) * key.cost / SMALL_PIXELS
        if units > MAX_BATCH and len(photos) > 1:
            raise ValueError(f"{units:g} small photos' worth is more than a batch of {MAX_BATCH}")
        started = time.perf_counter()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._device.run, units)
        blanks = [self._blank(photo, confidence=key.confidence) for photo in photos]
        return Ran(blanks, time.perf_counter() - started)

    def close(self) -> None:
        """Wait for the batch that runs."""
        self._thread.shutdown()

    def _blank(self, photo: Photo, *, confidence: bool) -> Blank:
        height, width = photo.shape[:2]
        pixels = np.zeros(self._classes, np.int64)
        pixels[0] = height * width
        certain = np.full((height, width), 255, np.uint8) if confidence else None
        return Blank(np.zeros((height, width), np.uint8), pixels, certain)


class FakeBackend:
    """Serves the model `fake` on one fake device."""

    takes: Literal["pixels"] = "pixels"
    bytes_per_padded_pixel = 0

    def __init__(self) -> None:
        self.models: Sequence[ModelInfo] = [MODEL]
        self.devices: list[FakeDevice] = []

    def batch_key(
        self, model: ModelInfo, height: int, width: int, *, long_side: int | None, confidence: bool
    ) -> BatchKey:
        long_side = long_side or model.long_side
        size = input_size(height, width, long_side=long_side, grid=_GRID)
        return BatchKey(model.id, size.padded_height, size.padded_width, long_side, confidence)

    async def start(self, on_change: Callable[[], None]) -> None:
        self.devices.append(FakeDevice())
        on_change()

    async def stop(self) -> None:
        while self.devices:
            await asyncio.to_thread(self.devices.pop().close)

    def collect(self) -> Iterable[Metric]:
        return ()
