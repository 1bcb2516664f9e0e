"""Admission and scheduler together, through minutes of virtual time in which more is asked for than can be done."""

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from loadtests.virtual_time import now, run_virtually
from service.backends.base import BatchKey, Photo, Ran
from service.scheduling.admission import Admission, Refused
from service.scheduling.latency import LatencyModel
from service.scheduling.priority import BATCH_SHARE, Priority
from service.scheduling.scheduler import Scheduler
from service.telemetry.metrics import Metrics
from tests.service.fakes import Everything, fake_segmentation
from tests.service.scheduling.tickets import photo

INTERACTIVE, NORMAL, BATCH = Priority
KEY = BatchKey("fake@1", 256, 256, 256, False)
OTHER = BatchKey("fake@1", 256, 256, 256, True)
ROOM = 8
"""Photos in a batch."""


def batch_seconds(photos: int) -> float:
    return 0.010 + 0.004 * photos


FULL = batch_seconds(ROOM)
CAPACITY = ROOM / FULL
"""Photos a second."""


@dataclass
class VirtualDevice:
    """factor: how much slower it is than when it was primed. hangs: seconds that the next batch takes longer."""

    id: str = "device"
    kind: str = "virtual"
    factor: float = 1.0
    hangs: float = 0.0

    models = Everything()
    delay = 0.0

    async def run(self, key: BatchKey, photos: Sequence[Photo]) -> Ran:
        hangs, self.hangs = self.hangs, 0.0
        seconds = hangs + self.factor * batch_seconds(len(photos))
        await asyncio.sleep(seconds)
        return Ran([fake_segmentation(photo, confidence=key.confidence) for photo in photos], seconds)


@dataclass(frozen=True)
class Ask:
    """What became of a request."""

    at: float
    priority: Priority
    outcome: Literal["answered", "late", "refused"]
    seconds: float = 0.0
    retry_after: float = 0.0


@dataclass
class Service:
    """One device with all in front of it; decoding and encoding cost next to nothing."""

    device: VirtualDevice = field(default_factory=VirtualDevice)
    asks: list[Ask] = field(default_factory=list)

    def __post_init__(self) -> None:
        latencies = LatencyModel(1e-9, now)
        for family, seconds in ((("virtual", "fake@1"), batch_seconds), ("decode", _next_to_nothing)):
            latencies.prime(family, None, *((float(KEY.cost * n), seconds(n)) for n in (1, ROOM)))
        latencies.prime("encode", None, *((float(KEY.cost * n), _next_to_nothing(n)) for n in (1, ROOM)))
        self.scheduler = scheduler = Scheduler(
            batch_cost=ROOM * KEY.cost, latencies=latencies, metrics=Metrics(), clock=now
        )
        self.admission = Admission(
            latencies,
            batch_cost=ROOM * KEY.cost,
            codec_threads=2,
            devices=lambda: scheduler.devices,
            busy_until=scheduler.busy_until,
            guard=scheduler.guard,
            clock=now,
        )
        scheduler.attach(self.device)

    async def ask(self, priority: Priority, within: float, key: BatchKey = KEY) -> Ask:
        at = now()
        try:
            ticket = self.admission.admit(key, key.cost, "image/png", priority, within)
        except Refused as refused:
            self.asks.append(Ask(at, priority, "refused", retry_after=refused.retry_after))
            return self.asks[-1]
        with ticket:
            ticket.decode_seconds = 0.0
            try:
                async with asyncio.timeout_at(ticket.deadline):
                    await self.scheduler.run(ticket, photo(1))
                ask = Ask(at, priority, "answered", now() - at)
            except TimeoutError:
                ask = Ask(at, priority, "late")
        self.asks.append(ask)
        return ask

    def would_admit(self, priority: Priority, within: float) -> bool:
        try:
            with self.admission.admit(KEY, KEY.cost, "image/png", priority, within):
                return True
        except Refused:
            return False

    def rate(self, outcome: str, start: float, end: float, priority: Priority | None = None) -> float:
        """Such outcomes a second."""
        return len(self.those(outcome, start, end, priority)) / (end - start)

    def those(self, outcome: str, start: float, end: float, priority: Priority | None = None) -> list[Ask]:
        return [a for a in self.asks if a.outcome == outcome and start <= a.at < end and priority in (None, a.priority)]


def _next_to_nothing(photos: int) -> float:
    return 1e-4 * photos


def under_load(
    seconds: float,
    load: float,
    within: float | Mapping[Priority, float],
    mix: Mapping[Priority, float] | None = None,
    meanwhile: Callable[[Service], Coroutine[Any, Any, None]] | None = None,
) -> Service:
    """What becomes of Poisson arrivals at `load` x the capacity, whose answers are due `within` seconds."""

    async def play() -> Service:
        chance, service = random.Random(1), Service()
        classes = mix or {NORMAL: 1.0}
        async with asyncio.TaskGroup() as group:
            if meanwhile:
                group.create_task(meanwhile(service))
            while now() < seconds:
                await asyncio.sleep(chance.expovariate(load * CAPACITY))
                (priority,) = chance.choices(list(classes), list(classes.values()))
                due = within[priority] if isinstance(within, Mapping) else within
                group.create_task(service.ask(priority, due))
        return service

    return run_virtually(play())


def percentile(asks: Sequence[Ask], share: float) -> float:
    return sorted(a.seconds for a in asks)[int(share * (len(asks) - 1))]


@pytest.mark.parametrize("load", [0.5, 0.8, 0.95, 1.2, 2.0, 10.0])
def test_goodput_stays_at_the_capacity_and_whom_it_promises_it_answers(load: float) -> None:
    service = under_load(10, load, 0.5)
    assert service.rate("answered", 1, 10) >= 0.9 * min(load, 1.0) * CAPACITY
    assert len(service.those("late", 1, 10)) <= 0.01 * len(service.those("answered", 1, 10))
    if load <= 0.8:
        assert service.those("refused", 1, 10) == []


def test_retry_after_is_when_the_same_request_is_admitted() -> None:
    async def play() -> list[tuple[float, float]]:
        """What those of a burst were told, and when they would have been admitted."""
        service = Service()
        async with asyncio.TaskGroup() as group:
            for _ in range(int(4 * CAPACITY)):
                group.create_task(service.ask(NORMAL, 1.0))
            await asyncio.sleep(0)
            refused = service.those("refused", 0, 1)
            while not service.would_admit(NORMAL, 1.0):  # noqa: ASYNC110 (it is what a client does)
                await asyncio.sleep(0.0005)
            return [(a.retry_after, now() - a.at) for a in refused]

    told = run_virtually(play())
    assert len(told) >= 2 * CAPACITY
    for predicted, actual in told:
        assert predicted == pytest.approx(actual, rel=0.3, abs=0.001)


def test_interactive_hardly_notices_that_batch_saturates() -> None:
    idle = under_load(20, 0.05, 2.0, {INTERACTIVE: 1.0})
    busy = under_load(12, 2.0, 2.0, {INTERACTIVE: 0.025, BATCH: 0.975})
    assert busy.rate("answered", 2, 12) >= 0.9 * CAPACITY
    assert busy.those("refused", 2, 12, INTERACTIVE) == []
    alone = percentile(idle.those("answered", 2, 20), 0.99)
    # It waits for the batch that runs, and its own is filled with batch's photos.
    assert percentile(busy.those("answered", 2, 12, INTERACTIVE), 0.99) <= max(alone, FULL) + FULL


@pytest.mark.parametrize("urgent", [NORMAL, INTERACTIVE])
def test_batch_keeps_its_share_while_the_others_saturate(urgent: Priority) -> None:
    service = under_load(20, 2.0, {urgent: 1.0, BATCH: 6.0}, {urgent: 0.8, BATCH: 0.2})
    share = service.rate("answered", 4, 14, BATCH) / service.rate("answered", 4, 14)
    assert 0.7 * BATCH_SHARE <= share <= 2 * BATCH_SHARE
    assert len(service.those("late", 4, 14)) <= 0.01 * len(service.those("answered", 4, 14))


def test_batch_is_not_refused_for_ever_because_the_others_queue_deeply() -> None:
    service = under_load(12, 1.5, 3.0, {NORMAL: 0.8, BATCH: 0.2})
    assert service.rate("answered", 4, 9, BATCH) >= 0.7 * BATCH_SHARE * CAPACITY


@pytest.mark.parametrize("lone", [(OTHER, INTERACTIVE), (OTHER, NORMAL), (OTHER, BATCH), (KEY, BATCH)])
def test_no_bucket_and_no_class_starves(lone: tuple[BatchKey, Priority]) -> None:
    key, priority = lone

    async def among_the_flood(service: Service) -> None:
        await asyncio.sleep(3)
        for _ in range(10):
            ask = await service.ask(priority, 5.0, key)
            assert ask.outcome == "answered"

    under_load(20, 3.0, 0.5, {INTERACTIVE: 0.5, NORMAL: 0.5}, among_the_flood)


@pytest.mark.parametrize(("hang", "within"), [(3.0, 0.5), (3.0, 10.0), (8.0, 10.0)])
def test_a_device_that_hung_is_soon_believed_again(hang: float, within: float) -> None:
    async def hang_once(service: Service) -> None:
        await asyncio.sleep(5)
        service.device.hangs = hang

    service = under_load(32, 0.8, within, meanwhile=hang_once)
    recovered = 5 + hang + 8
    assert service.rate("answered", recovered, 32) >= 0.95 * 0.8 * CAPACITY


@pytest.mark.parametrize("within", [0.5, 10.0])
def test_a_device_that_slowed_down_is_still_kept_busy(within: float) -> None:
    async def slow_down(service: Service) -> None:
        await asyncio.sleep(5)
        service.device.factor = 3.0

    service = under_load(40, 0.8, within, meanwhile=slow_down)
    slower = CAPACITY / 3
    for start in range(12, 36, 4):
        assert service.rate("answered", start, start + 4) >= 0.85 * slower
    assert len(service.those("late", 12, 40)) <= 0.01 * len(service.those("answered", 12, 40))
