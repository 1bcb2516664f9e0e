"""Which devices take batches: those that the backend has, once they are warm."""

import asyncio
import logging
import math
from collections.abc import Callable

import numpy as np

from images import encode_grey
from service.backends.base import Backend, Device, DeviceLost, EncodedPhoto, ModelInfo, Photo
from service.scheduling.latency import LatencyModel
from service.scheduling.scheduler import Scheduler

logger = logging.getLogger("segserve")

# The larger of the two batches that a model is measured with at start.
_WARM_UP_PHOTOS = 8


class Roster:
    """Follows a backend's devices as they come and go, and attaches each to the scheduler when it is warm."""

    def __init__(
        self,
        backend: Backend,
        scheduler: Scheduler,
        latencies: LatencyModel,
        *,
        batch_cost: int,
        on_change: Callable[[], None],
    ) -> None:
        """batch_cost: padded pixels a batch may have. on_change: called when `hosts` may answer otherwise."""
        self._backend, self._scheduler, self._latencies = backend, scheduler, latencies
        self._batch_cost, self._on_change = batch_cost, on_change
        self._warm: set[tuple[str, str]] = set()
        self._change = asyncio.Event()
        self._following: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Until what the backend has at once is attached; then go on following it."""
        await self._backend.start(self._notice)
        await self._attach()
        self._following = asyncio.create_task(self._follow())

    def stop(self) -> None:
        """Attach nothing more."""
        if self._following:
            self._following.cancel()

    def hosts(self, name: str) -> bool:
        """Whether a device serves the model NAME or NAME@VERSION."""
        ids = [model.id for model in self._backend.models if name in (model.name, model.id)]
        return any(id in device.models for id in ids for device in self._scheduler.devices)

    def _notice(self) -> None:
        """What is gone gets no batch from here on; what is new is warmed first."""
        for device in tuple(self._scheduler.devices):
            if device not in self._backend.devices:
                self._scheduler.detach(device)
        self._on_change()
        self._change.set()

    async def _follow(self) -> None:
        while True:
            await self._change.wait()
            self._change.clear()
            try:
                await self._attach()
            except Exception:
                logger.exception("a device could not be warmed up")

    async def _attach(self) -> None:
        """Warm and attach what is new; the first device of a kind primes the latency model.

        The backend takes a device that is lost meanwhile out of service itself.
        """
        for device in tuple(self._backend.devices):
            try:
                for model in self._backend.models:
                    if model.id in device.models and (device.id, model.id) not in self._warm:
                        await self._warm_up(device, model)
                        self._warm.add((device.id, model.id))
            except DeviceLost as loss:
                logger.warning("%s was lost while it was warmed up: %s", device.id, loss)
                continue
            if device in self._backend.devices and device not in self._scheduler.devices:
                self._scheduler.attach(device)
        present = {device.id for device in self._backend.devices}
        self._warm = {(device, model) for device, model in self._warm if device in present}
        self._on_change()

    async def _warm_up(self, device: Device, model: ModelInfo) -> None:
        photo: Photo | EncodedPhoto = np.zeros((*model.input_size, 3), np.uint8)
        if self._backend.takes == "bytes":
            photo = EncodedPhoto(encode_grey(np.zeros(model.input_size, np.uint8)), "warm-up")
            # Nothing is decoded here.
            self._latencies.prime("decode", None, (1.0, 0.0), (1e8, 0.0))
        key = self._backend.batch_key(model, *model.input_size, long_side=None, confidence=False)
        # The first run also pays for memory and kernels that the others find ready.
        await device.run(key, [photo])
        if self._latencies.silence((device.kind, model.id)) < math.inf:
            return
        measured = []
        for photos in (1, min(_WARM_UP_PHOTOS, max(1, self._batch_cost // key.cost))):
            await device.run(key, [photo] * photos)
            ran = await device.run(key, [photo] * photos)
            measured.append((float(key.cost * photos), ran.seconds))
        self._latencies.prime((device.kind, model.id), (key.height, key.width), *measured)
