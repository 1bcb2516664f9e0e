"""Which devices can take a batch: those that run none, and those far away whose one batch is about to end."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence

from service.backends.base import Device

_MOST = 2
"""Batches with a device at once: the one that runs, and the one on its way."""


class Occupancy:
    """The devices in service. What a device runs is known by its id, so one that leaves may come back meanwhile."""

    def __init__(self, on_free: Callable[[], None], clock: Callable[[], float] = time.perf_counter) -> None:
        """on_free: called when a device can take a batch before it has answered the one that it has."""
        self._on_free, self._clock = on_free, clock
        self._devices: list[Device] = []
        self._batches: Counter[str] = Counter()
        self._free_at: dict[str, float] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._ending: set[str] = set()

    @property
    def devices(self) -> Sequence[Device]:
        return self._devices

    @property
    def idle(self) -> list[Device]:
        """Those that have no batch."""
        return [device for device in self._devices if not self._batches[device.id]]

    @property
    def free(self) -> list[Device]:
        """Those that can take a batch now: the idle ones, and those that are about to be."""
        return [
            device
            for device in self._devices
            if not self._batches[device.id] or (device.id in self._ending and self._batches[device.id] < _MOST)
        ]

    def free_from(self, model: str) -> float:
        """When the first device that hosts `model` is predicted to be free, on the clock; in the past if one is."""
        hosts = (device for device in self._devices if model in device.models)
        return min((self._free_at.get(device.id, 0.0) for device in hosts), default=0.0)

    def attach(self, device: Device) -> None:
        """Take a device into service."""
        self._devices.append(device)

    def detach(self, device: Device) -> None:
        """Take it out of service; what it runs goes on."""
        self._devices.remove(device)

    def take(self, device: Device, seconds: float, *, alone: bool = False) -> None:
        """It gets a batch, whose answer is predicted to be here in `seconds`. alone: no other is sent before that."""
        self._batches[device.id] += 1
        self._ending.discard(device.id)
        self._free_at[device.id] = self._clock() + seconds - device.delay
        self._stop_timer(device)
        if device.delay and not alone:
            loop = asyncio.get_running_loop()
            self._timers[device.id] = loop.call_later(seconds - device.delay, self._end, device)

    def release(self, device: Device) -> None:
        """A batch of it has ended."""
        self._batches[device.id] -= 1
        if not self._batches[device.id]:
            self._stop_timer(device)
            self._ending.discard(device.id)
            del self._batches[device.id], self._free_at[device.id]

    def _end(self, device: Device) -> None:
        self._ending.add(device.id)
        self._on_free()

    def _stop_timer(self, device: Device) -> None:
        if timer := self._timers.pop(device.id, None):
            timer.cancel()
