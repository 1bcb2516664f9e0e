"""Whatever arrives, is cancelled or fails, in whatever order: what the scheduler promises holds."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from service.backends.base import BatchKey, Photo, Segmentation
from service.scheduling.cost_model import CostModel
from service.scheduling.scheduler import BatchFailed, Result, Scheduler
from service.telemetry.metrics import Metrics

BATCH_COST = 4 * 32 * 32
KEYS = [
    BatchKey("a@1", 32, 32, 256, False),
    BatchKey("a@1", 32, 32, 256, True),
    BatchKey("b@1", 32, 64, 256, False),
    BatchKey("a@1", 96, 96, 256, False),
]


@dataclass(frozen=True)
class Labels:
    """Those of the photo with this number."""

    labels: Any
    pixels: Any = None
    confidence: Any = None


@dataclass
class Watch:
    """What waits, by number and in the order of arrival, and what has run; complains where a promise breaks."""

    waiting: dict[int, BatchKey] = field(default_factory=dict)
    started: set[int] = field(default_factory=set)

    def batch(self, key: BatchKey, numbers: list[int]) -> None:
        assert len(numbers) <= max(1, BATCH_COST // key.cost), "a batch costs more than allowed"
        if self.started.issuperset(numbers):
            return  # A part of a batch that failed.
        assert self.started.isdisjoint(numbers), "a photo ran twice"
        assert next(iter(self.waiting)) == numbers[0], "the oldest photo was passed over"
        alike = [number for number, k in self.waiting.items() if k == key]
        assert alike[: len(numbers)] == numbers, "a batch mixes keys, holds a cancelled photo or is out of order"
        self.started.update(numbers)
        for number in numbers:
            del self.waiting[number]


@dataclass
class SteppedDevice:
    """Runs a batch until it is told how it ends."""

    id: str
    watch: Watch
    kind: str = "stepped"
    end: asyncio.Future[Callable[[list[Segmentation]], list[Segmentation]]] | None = None

    async def run(self, key: BatchKey, photos: Sequence[Photo]) -> Sequence[Segmentation]:
        assert self.end is None, "a device was given two batches at once"
        numbers = [int(photo.flat[0]) for photo in photos]
        self.watch.batch(key, numbers)
        self.end = asyncio.get_running_loop().create_future()
        try:
            return (await self.end)([Labels(labels=number) for number in numbers])
        finally:
            self.end = None


def well(results: list[Segmentation]) -> list[Segmentation]:
    return results


def broken(_: list[Segmentation]) -> list[Segmentation]:
    raise RuntimeError("broken")


def too_few(results: list[Segmentation]) -> list[Segmentation]:
    return results[1:]


def too_many(results: list[Segmentation]) -> list[Segmentation]:
    return [*results, results[0]]


arrivals = st.tuples(st.just("arrive"), st.sampled_from(KEYS))
cancels = st.tuples(st.just("cancel"), st.integers(0, 30))
ends = st.tuples(st.just("end"), st.integers(0, 2), st.sampled_from([well, broken, too_few, too_many]))
steps = st.lists(st.one_of(arrivals, arrivals, cancels, ends), max_size=40)


@settings(max_examples=300, deadline=None)
@given(steps=steps, devices=st.integers(1, 3))
def test_every_photo_gets_its_own_answer_or_an_error(steps: list[tuple[Any, ...]], devices: int) -> None:
    asyncio.run(_play(steps, devices))


async def _play(steps: list[tuple[Any, ...]], device_count: int) -> None:
    watch, ticks, metrics = Watch(), count(), Metrics()
    scheduler = Scheduler(
        batch_cost=BATCH_COST, costs=CostModel(1e-8), metrics=metrics, clock=lambda: float(next(ticks))
    )
    devices = [SteppedDevice(f"device-{i}", watch) for i in range(device_count)]
    for device in devices:
        scheduler.attach(device)
    tasks: list[asyncio.Task[Result]] = []
    for action, *arguments in steps:
        if action == "arrive":
            watch.waiting[len(tasks)] = arguments[0]
            photo = np.full((1, 1, 3), len(tasks), np.uint8)
            tasks.append(asyncio.create_task(scheduler.run(arguments[0], photo)))
        elif action == "cancel" and arguments[0] < len(tasks):
            tasks[arguments[0]].cancel()
            watch.waiting.pop(arguments[0], None)
        elif action == "end" and arguments[0] < device_count and (end := devices[arguments[0]].end):
            end.set_result(arguments[1])
        await _settle()
    while running := [device.end for device in devices if device.end]:
        for end in running:
            end.set_result(well)
        await _settle()
    assert all(task.done() for task in tasks), "somebody waits for ever"
    assert not watch.waiting
    for number, outcome in enumerate(await asyncio.gather(*tasks, return_exceptions=True)):
        if isinstance(outcome, Result):
            assert outcome.segmentation.labels == number, "somebody got another's answer"
        else:
            assert isinstance(outcome, BatchFailed | asyncio.CancelledError), outcome
    assert metrics.registry.get_sample_value("segserve_queue_photos") == 0
    await scheduler.stop()


async def _settle() -> None:
    for _ in range(12):
        await asyncio.sleep(0)
