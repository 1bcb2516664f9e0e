"""A service of which only admission is real, and whose seconds can be told beforehand."""

from dataclasses import dataclass, field

import pytest

from service.backends.base import BatchKey
from service.scheduling.admission import MARGIN_SECONDS, MARGIN_SHARE, Admission, Refused
from service.scheduling.job import Ticket
from service.scheduling.latency import LatencyModel
from service.scheduling.priority import Priority
from service.scheduling.sojourn import SojournGuard
from tests.service.fakes import FakeDevice

KEY = BatchKey("fake@1", 1000, 1000, 1000, False)
OTHER = BatchKey("fake@1", 1000, 1000, 1000, True)
PIXELS = KEY.cost
DECODE, ENCODE = 0.1, 0.2
ROOM = 4
"""Photos in a batch."""


def device_seconds(photos: int) -> float:
    return 0.2 + 0.1 * photos


def with_margin(seconds: float) -> float:
    return seconds * (1 + MARGIN_SHARE) + MARGIN_SECONDS


ALONE = with_margin(DECODE + device_seconds(1) + ENCODE)
FULL = device_seconds(ROOM)


@dataclass
class Service:
    """Photos take 0.1 s to decode, 0.2 s to encode, and batches 0.2 s and 0.1 s a photo."""

    devices: int = 1
    threads: int = 1
    now: float = 1000.0
    busy_until: float = 0.0
    guard: SojournGuard = field(default_factory=SojournGuard)

    def __post_init__(self) -> None:
        self.latencies = LatencyModel(1.0, lambda: self.now)
        for family, seconds in (
            ("decode", lambda photos: DECODE * photos),
            ("encode", lambda photos: ENCODE * photos),
            (("fake", "fake@1"), device_seconds),
            (("fake", "other@1"), device_seconds),
        ):
            self.latencies.prime(family, None, *((float(PIXELS * n), seconds(n)) for n in (1, ROOM)))
        self.fakes = [FakeDevice(id=f"fake-{i}") for i in range(self.devices)]
        self.admission = Admission(
            self.latencies,
            batch_cost=ROOM * PIXELS,
            codec_threads=self.threads,
            devices=lambda: self.fakes,
            busy_until=lambda _: self.busy_until,
            guard=self.guard,
            clock=lambda: self.now,
        )

    def admit(self, within: float = 1e6, priority: Priority = Priority.NORMAL, key: BatchKey = KEY) -> Ticket:
        return self.admission.admit(key, PIXELS, "image/png", priority, within)

    def decoded(
        self, count: int, priority: Priority = Priority.NORMAL, key: BatchKey = KEY, within: float = 1e6
    ) -> None:
        """So many photos wait for a device; so long that nobody remembers their arrival."""
        for _ in range(count):
            self.admit(within + 1000, priority, key).decode_seconds = 0.0
        self.now += 1000

    def seconds(self, priority: Priority = Priority.NORMAL, key: BatchKey = KEY, within: float = 1e7) -> float:
        """How long a request is predicted to take; it leaves again at once."""
        with self.admit(within, priority, key) as ticket:
            return ticket.finish - self.now

    def refusal(self, within: float, priority: Priority = Priority.NORMAL) -> Refused:
        with pytest.raises(Refused) as refused:
            self.admit(within, priority)
        return refused.value
