"""Whatever arrives, expires, is cancelled or fails, on devices that come and go: what the scheduler promises holds."""

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtests.virtual_time import now, run_virtually
from service.backends.base import BatchKey, DeviceLost, Photo, Ran, Segmentation
from service.scheduling.job import Result, Ticket
from service.scheduling.latency import LatencyModel
from service.scheduling.priority import Priority
from service.scheduling.scheduler import BatchFailed, Scheduler
from service.telemetry.metrics import Metrics
from tests.service.fakes import Everything
from tests.service.scheduling.tickets import ticket

BATCH_COST = 4 * 32 * 32
KEYS = [
    BatchKey("a@1", 32, 32, 256, False),
    BatchKey("a@1", 32, 32, 256, True),
    BatchKey("b@1", 32, 64, 256, False),
    BatchKey("a@1", 96, 96, 256, False),
]
METRICS = Metrics()
FOR_EVER = math.inf

Run = Callable[[list[Segmentation]], Sequence[Segmentation]]


@dataclass(frozen=True)
class Labels:
    """Those of the photo with this number."""

    labels: Any
    pixels: Any = None
    confidence: Any = None


@dataclass
class Watch:
    """What waits, and what has run; takes down where a promise breaks."""

    waiting: dict[int, Ticket] = field(default_factory=dict)
    left: dict[int, float] = field(default_factory=dict)
    """When those that nobody waits for any more were given up."""
    started: set[int] = field(default_factory=set)
    lost: Counter[int] = field(default_factory=Counter)
    """How many devices were lost with each."""
    complaints: list[str] = field(default_factory=list)

    def expect(self, condition: bool, complaint: str) -> None:
        # Raised on a device, it would be isolated as a photo's own fault.
        if not condition:
            self.complaints.append(complaint)

    def leave(self, number: int) -> None:
        if self.waiting.pop(number, None):
            self.left[number] = now()

    def batch(self, key: BatchKey, numbers: list[int], models: Container[str]) -> None:
        self.expect(len(numbers) <= max(1, BATCH_COST // key.cost), "a batch costs more than allowed")
        self.expect(key.model in models, "a device was given a model that it does not host")
        self.expect(all(self.lost[number] < 2 for number in numbers), "a photo took a third device")
        if self.started.issuperset(numbers):
            # A part of a batch that failed, or one of a lost device's.
            suspects = [number for number in numbers if self.lost[number]]
            self.expect(not suspects or len(numbers) == 1, "a suspect ran with others")
            self.expect(all(self.left.get(n, now()) == now() for n in suspects), "a suspect ran that nobody waits for")
            return
        self.expect(self.started.isdisjoint(numbers), "a photo ran twice")
        # What leaves in this very instant may have done so after the batch was made; so below, what arrives.
        self.expect(all(self.left.get(n, now()) == now() for n in numbers), "a photo ran that nobody waits for")
        self.started.update(numbers)
        tickets = [self.waiting.pop(number) for number in numbers if number in self.waiting]
        self.expect({t.key for t in tickets} <= {key}, "a batch mixes keys")
        self.expect(all(now() <= t.latest for t in tickets), "a photo ran that can't be answered in time")
        for first in tickets[:1]:
            self._order(first, models)

    def _order(self, first: Ticket, models: Container[str]) -> None:
        others = [t for t in self.waiting.values() if t.admitted < now() < t.latest and t.key.model in models]
        alike = [t.deadline for t in others if t.priority == first.priority]
        self.expect(first.deadline <= min(alike, default=FOR_EVER), "a photo was overtaken inside its class")
        if first.priority != Priority.BATCH:
            best = min((t.priority for t in others), default=Priority.BATCH)
            self.expect(first.rank(now()) <= best, "a photo was overtaken by a lower class")


@dataclass
class VirtualDevice:
    """Runs batches in virtual time; how each ends is drawn beforehand."""

    id: str
    kind: str
    watch: Watch
    ends: list[tuple[Run, float]]
    """What comes of a batch, and the seconds that it takes a photo; they come round again."""
    models: Container[str]
    delay: float
    batches: int = 0
    running: int = 0
    suspected: bool = False
    """It runs a photo whose first device was lost."""

    async def run(self, key: BatchKey, photos: Sequence[Photo]) -> Ran:
        self.watch.expect(self.running <= bool(self.delay), "a device was given too many batches at once")
        numbers = [int(photo.flat[0]) for photo in photos]
        suspected = any(self.watch.lost[number] for number in numbers)
        self.watch.expect(not self.suspected, "a photo was sent after one that its device may die of")
        self.watch.expect(not (suspected and self.running), "a suspect was sent after another photo")
        self.suspected |= suspected
        self.watch.batch(key, numbers, self.models)
        end, seconds = self.ends[self.batches % len(self.ends)]
        self.batches, self.running = self.batches + 1, self.running + 1
        try:
            await asyncio.sleep(seconds * (1 + len(photos)))
            return Ran(end([Labels(labels=number) for number in numbers]), seconds * (1 + len(photos)))
        except DeviceLost:
            self.watch.lost.update(numbers)
            raise
        finally:
            self.running -= 1
            self.suspected &= self.running > 0


def well(results: list[Segmentation]) -> Sequence[Segmentation]:
    return results


def broken(_: list[Segmentation]) -> Sequence[Segmentation]:
    raise RuntimeError("broken")


def given_up(_: list[Segmentation]) -> Sequence[Segmentation]:
    raise asyncio.CancelledError


def lost(_: list[Segmentation]) -> Sequence[Segmentation]:
    raise DeviceLost("lost")


def too_few(results: list[Segmentation]) -> Sequence[Segmentation]:
    return results[1:]


def too_many(results: list[Segmentation]) -> Sequence[Segmentation]:
    return [*results, results[0]]


def nothing(_: list[Segmentation]) -> Sequence[Segmentation]:
    return None  # type: ignore[return-value]


gaps = st.sampled_from([0.0, 0.0, 0.01, 0.1, 1.0])
lives = st.sampled_from([0.05, 0.5, 3.0, FOR_EVER])
arrivals = st.tuples(st.just("arrive"), st.sampled_from(KEYS), st.sampled_from(Priority), lives)
cancels = st.tuples(st.just("cancel"), st.integers(0, 30))
moves = st.tuples(st.sampled_from(["attach", "detach"]), st.integers(0, 2))
steps = st.lists(st.tuples(gaps, st.one_of(arrivals, arrivals, arrivals, cancels, moves)), max_size=40)
ends = st.tuples(
    st.sampled_from([well, well, well, broken, given_up, lost, too_few, too_many, nothing]),
    st.sampled_from([0.0, 0.02, 0.02, 0.3, 20.0]),
)
hosted = st.sampled_from([Everything(), {"a@1"}, {"b@1"}])
delays = st.sampled_from([0.0, 0.01, 0.1])
devices = st.lists(st.tuples(st.lists(ends, min_size=1, max_size=6), hosted, delays), min_size=1, max_size=3)
Drawn = tuple[list[tuple[Run, float]], Container[str], float]


@settings.get_profile("scheduler")
@given(steps=steps, devices=devices)
def test_every_photo_gets_its_own_answer_or_an_error(
    steps: list[tuple[float, tuple[Any, ...]]], devices: list[Drawn]
) -> None:
    run_virtually(_play(steps, devices))


async def _play(steps: list[tuple[float, tuple[Any, ...]]], drawn: list[Drawn]) -> None:
    watch = Watch()
    scheduler = Scheduler(batch_cost=BATCH_COST, latencies=LatencyModel(1e-8, now), metrics=METRICS, clock=now)
    devices = [VirtualDevice(f"device-{i}", f"kind-{i}", watch, *facts) for i, facts in enumerate(drawn)]
    # The first hosts every model, so that no photo can wait for ever.
    devices[0].models = Everything()
    scheduler.attach(devices[0])
    tasks: list[asyncio.Task[Result]] = []
    for gap, (action, *arguments) in steps:
        await asyncio.sleep(gap)
        if action == "arrive":
            key, priority, life = arguments
            promised = ticket(key, priority, admitted=now(), deadline=now() + life, latest=now() + 0.8 * life)
            tasks.append(asyncio.create_task(_ask(scheduler, watch, len(tasks), promised)))
        elif action == "cancel" and arguments[0] < len(tasks):
            tasks[arguments[0]].cancel()
            watch.leave(arguments[0])
        elif action in ("attach", "detach") and arguments[0] < len(devices):
            device = devices[arguments[0]]
            if (device in scheduler.devices) == (action == "detach"):
                getattr(scheduler, action)(device)
    if devices[0] not in scheduler.devices:
        scheduler.attach(devices[0])
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert watch.complaints == []
    assert not watch.waiting
    for number, outcome in enumerate(outcomes):
        if isinstance(outcome, Result):
            assert outcome.segmentation.labels == number, "somebody got another's answer"
            assert outcome.queue_seconds >= 0
        else:
            assert isinstance(outcome, BatchFailed | asyncio.CancelledError | TimeoutError), outcome
    if all(end is well for ends, *_ in drawn for end, _ in ends):
        assert not any(isinstance(outcome, BatchFailed) for outcome in outcomes), "a photo failed for no reason"
    await scheduler.stop()
    assert not any(device.running for device in devices)
    assert METRICS.registry.get_sample_value("segserve_queue_photos") == 0


async def _ask(scheduler: Scheduler, watch: Watch, number: int, promised: Ticket) -> Result:
    watch.waiting[number] = promised
    try:
        async with asyncio.timeout_at(promised.deadline if promised.deadline < FOR_EVER else None):
            return await scheduler.run(promised, np.full((1, 1, 3), number, np.uint8))
    finally:
        watch.leave(number)
