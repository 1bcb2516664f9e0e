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
        self._priming: set[tuple[str, str]] = set()
        self._coming: dict[str, asyncio.Task[None]] = {}
        self._changed: set[str] = set()
        """Devices that came, or got a model, while they were being brought in."""
        self._stopped = False
        self._failure: Exception | None = None
        """Of the last device that failed on a black photo."""

    async def start(self) -> None:
        """Until what the backend has at once is attached; then go on following it.

        Raises what they failed with on a black photo, where none of them could be attached.
        """
        await self._backend.start(self._notice)
        self._notice()
        await asyncio.gather(*self._coming.values())
        if self._failure and not self._scheduler.devices:
            raise self._failure

    def stop(self) -> None:
        """Attach nothing more."""
        self._stopped = True
        for task in self._coming.values():
            task.cancel()

    def hosts(self, name: str) -> bool:
        """Whether a device serves the model NAME or NAME@VERSION."""
        ids = [model.id for model in self._backend.models if name in (model.name, model.id)]
        return any(id in device.models for id in ids for device in self._scheduler.devices)

    def _notice(self) -> None:
        """What is gone gets no batch from here on; what is new is warmed first."""
        for device in tuple(self._scheduler.devices):
            if device not in self._backend.devices:
                self._scheduler.detach(device)
        present = {device.id for device in self._backend.devices}
        self._warm = {(device, model) for device, model in self._warm if device in present}
        for device in self._backend.devices:
            if device.id in self._coming:
                self._changed.add(device.id)
            elif not self._stopped:
                self._coming[device.id] = asyncio.create_task(self._bring_in(device))
        self._on_change()

    async def _bring_in(self, device: Device) -> None:
        """Warm a device for what it hosts and attach it. However long that takes, no other waits for it.

        The backend takes a device that is lost meanwhile out of service itself.
        """
        model: ModelInfo | None = None
        try:
            while model := self._not_warm(device):
                await self._warm_up(device, model)
                self._warm.add((device.id, model.id))
            if device in self._backend.devices and device not in self._scheduler.devices:
                self._scheduler.attach(device)
        except DeviceLost as loss:
            logger.warning("%s was lost while it was warmed up: %s", device.id, loss)
        except Exception as error:
            logger.exception("%s takes no photos: %s failed on a black one", device.id, model and model.id)
            self._failure = error
        finally:
            del self._coming[device.id]
            if device.id in self._changed:
                self._changed.discard(device.id)
                self._notice()
            self._on_change()

    def _not_warm(self, device: Device) -> ModelInfo | None:
        hosted = (model for model in self._backend.models if model.id in device.models)
        return next((model for model in hosted if (device.id, model.id) not in self._warm), None)

    async def _warm_up(self, device: Device, model: ModelInfo) -> None:
        photo: Photo | EncodedPhoto = np.zeros((*model.input_size, 3), np.uint8)
        if self._backend.takes == "bytes":
            photo = EncodedPhoto(encode_grey(np.zeros(model.input_size, np.uint8)), "warm-up")
            # Nothing is decoded here.
            self._latencies.prime("decode", None, (1.0, 0.0), (1e8, 0.0))
        key = self._backend.batch_key(model, *model.input_size, long_side=None, confidence=False)
        # The first run also pays for memory and kernels that the others find ready.
        await device.run(key, [photo])
        family = (device.kind, model.id)
        if family in self._priming or self._latencies.silence(family) < math.inf:
            return
        # By the first device of a kind, for all of them.
        self._priming.add(family)
        try:
            measured = []
            for photos in (1, min(_WARM_UP_PHOTOS, max(1, self._batch_cost // key.cost))):
                await device.run(key, [photo] * photos)
                ran = await device.run(key, [photo] * photos)
                measured.append((float(key.cost * photos), ran.seconds))
        finally:
            self._priming.discard(family)
        self._latencies.prime(family, (key.height, key.width), *measured)
