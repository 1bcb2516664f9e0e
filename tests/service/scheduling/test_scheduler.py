import asyncio

import numpy as np
import pytest

from service.backends.base import BatchKey, Photo
from service.scheduling.cost_model import CostModel
from service.scheduling.scheduler import BatchFailed, Result, Scheduler
from service.telemetry.metrics import Metrics
from tests.service.fakes import FakeDevice, fake_segmentation

SMALL = BatchKey("fake@1", 32, 32, 256, False)
LARGE = BatchKey("fake@1", 64, 64, 256, False)


def photo(brightness: int) -> Photo:
    return np.full((4, 4, 3), brightness, np.uint8)


def make_scheduler(*devices: FakeDevice, batch: int = 4, metrics: Metrics | None = None) -> Scheduler:
    """batch: how many SMALL photos fill one."""
    scheduler = Scheduler(batch_cost=batch * SMALL.cost, costs=CostModel(1e-8), metrics=metrics or Metrics())
    for device in devices:
        scheduler.attach(device)
    return scheduler


def submit(scheduler: Scheduler, *brightness: int, key: BatchKey = SMALL) -> list[asyncio.Task[Result]]:
    return [asyncio.create_task(scheduler.run(key, photo(value))) for value in brightness]


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def brightness(device: FakeDevice) -> list[list[int]]:
    """The photos of each batch."""
    return [[int(p[0, 0, 0]) for p in photos] for _, photos in device.batches]


@pytest.fixture
def device() -> FakeDevice:
    return FakeDevice()


@pytest.fixture
def busy(device: FakeDevice) -> FakeDevice:
    device.gate.clear()
    return device


async def test_a_photo_gets_its_labels_and_its_times() -> None:
    scheduler = make_scheduler(FakeDevice(seconds=0.05))
    first, second = await asyncio.gather(scheduler.run(SMALL, photo(0)), scheduler.run(LARGE, photo(255)))
    assert first.segmentation.labels.max() == 0
    assert second.segmentation.labels.min() == 10
    assert first.infer_seconds >= 0.05 > first.queue_seconds >= 0
    assert second.queue_seconds >= 0.05


async def test_an_idle_device_starts_at_once_and_a_busy_one_gathers_a_batch(busy: FakeDevice) -> None:
    tasks = submit(make_scheduler(busy), 1, 2, 3, 4, 5, 6, 7)
    await settle()
    busy.gate.set()
    await asyncio.gather(*tasks)
    assert brightness(busy) == [[1], [2, 3, 4, 5], [6, 7]]


async def test_keys_never_share_a_batch_and_the_oldest_goes_first(busy: FakeDevice) -> None:
    scheduler = make_scheduler(busy)
    tasks = submit(scheduler, 1) + submit(scheduler, 2, key=LARGE) + submit(scheduler, 3) + submit(scheduler, 4)
    await settle()
    busy.gate.set()
    await asyncio.gather(*tasks)
    assert brightness(busy) == [[1], [2], [3, 4]]
    assert [key for key, _ in busy.batches] == [SMALL, LARGE, SMALL]


async def test_a_photo_that_costs_more_than_a_batch_goes_alone(busy: FakeDevice) -> None:
    tasks = submit(make_scheduler(busy, batch=2), 1, 2, 3, key=LARGE)
    await settle()
    busy.gate.set()
    await asyncio.gather(*tasks)
    assert brightness(busy) == [[1], [2], [3]]


async def test_all_devices_work(busy: FakeDevice) -> None:
    other = FakeDevice(id="fake-1")
    other.gate.clear()
    scheduler = make_scheduler(busy, other)
    assert scheduler.devices == [busy, other]
    tasks = submit(scheduler, 1, 2)
    await settle()
    assert (busy.running, other.running) == (1, 1)
    busy.gate.set()
    other.gate.set()
    await asyncio.gather(*tasks)


async def test_a_device_that_comes_later_takes_what_waits(device: FakeDevice) -> None:
    scheduler = make_scheduler()
    tasks = submit(scheduler, 1, 2)
    await settle()
    scheduler.attach(device)
    await asyncio.gather(*tasks)
    assert brightness(device) == [[1, 2]]


async def test_the_bad_photo_of_a_batch_fails_alone(busy: FakeDevice) -> None:
    busy.fails_on = lambda p: p[0, 0, 0] == 4
    tasks = submit(make_scheduler(busy, batch=8), 1, 2, 3, 4, 5, 6)
    await settle()
    busy.gate.set()
    *good, bad = await asyncio.gather(*tasks[:3], *tasks[4:], tasks[3], return_exceptions=True)
    assert isinstance(bad, BatchFailed)
    assert "fake-0" in str(bad)
    assert isinstance(bad.__cause__, RuntimeError)
    for value, result in zip((1, 2, 3, 5, 6), good, strict=True):
        assert isinstance(result, Result)
        assert np.array_equal(result.segmentation.labels, fake_segmentation(photo(value)).labels)


@pytest.mark.parametrize("extra", [-1, 1])
async def test_a_device_that_miscounts_answers_nobody_with_anothers_labels(busy: FakeDevice, extra: int) -> None:
    busy.spoil = lambda results: results[:-1] if extra < 0 else [*results, results[0]]
    tasks = submit(make_scheduler(busy), 1, 2, 3)
    await settle()
    busy.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [BatchFailed] * 3
    assert "1 photos with" in str(results[0])


async def test_a_failure_does_not_stop_the_device(device: FakeDevice) -> None:
    device.fails_on = lambda p: p[0, 0, 0] == 1
    scheduler = make_scheduler(device)
    with pytest.raises(BatchFailed):
        await scheduler.run(SMALL, photo(1))
    await scheduler.run(SMALL, photo(2))


async def test_what_nobody_waits_for_leaves_the_queue_at_once(busy: FakeDevice) -> None:
    metrics = Metrics()
    tasks = submit(make_scheduler(busy, metrics=metrics), 1, 2, 3)
    await settle()
    assert metrics.registry.get_sample_value("segserve_queue_photos") == 2
    tasks[1].cancel()
    await settle()
    assert metrics.registry.get_sample_value("segserve_queue_photos") == 1
    assert metrics.registry.get_sample_value("segserve_queue_pixels") == SMALL.cost
    busy.gate.set()
    await asyncio.gather(tasks[0], tasks[2])
    assert brightness(busy) == [[1], [3]]


async def test_a_running_photo_that_is_given_up_does_not_trouble_its_batch(busy: FakeDevice) -> None:
    scheduler = make_scheduler()
    tasks = submit(scheduler, 1, 2, 3)
    await settle()
    scheduler.attach(busy)
    await settle()
    tasks[1].cancel()
    busy.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(r) for r in results] == [Result, asyncio.CancelledError, Result]


async def test_learns_what_batches_cost() -> None:
    costs = CostModel(1e-12)
    scheduler = Scheduler(batch_cost=10, costs=costs, metrics=Metrics())
    scheduler.attach(FakeDevice(seconds=0.1))
    await scheduler.run(SMALL, photo(1))
    assert costs.predict(("fake", "fake@1"), (32, 32), SMALL.cost) >= 0.1


async def test_counts_the_photos_of_batches(busy: FakeDevice) -> None:
    metrics = Metrics()
    tasks = submit(make_scheduler(busy, metrics=metrics), 1, 2, 3)
    await settle()
    busy.gate.set()
    await asyncio.gather(*tasks)
    value = metrics.registry.get_sample_value
    assert value("segserve_batch_photos_count", {"model": "fake@1"}) == 2
    assert value("segserve_batch_photos_sum", {"model": "fake@1"}) == 3


async def test_stop_waits_until_no_batch_runs(busy: FakeDevice) -> None:
    scheduler = make_scheduler(busy, batch=1)
    tasks = submit(scheduler, 1, 2, 3)
    await settle()
    stopping = asyncio.create_task(scheduler.stop())
    await settle()
    assert not stopping.done()
    busy.gate.set()
    await stopping
    assert busy.running == 0
    await asyncio.gather(*tasks)
    assert brightness(busy) == [[1], [2], [3]]
