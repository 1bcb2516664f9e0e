import asyncio
import time

import numpy as np
import pytest

from service.backends.base import BatchKey
from service.scheduling.job import Result
from service.scheduling.latency import LatencyModel
from service.scheduling.priority import Priority
from service.scheduling.scheduler import BatchFailed, Scheduler
from service.telemetry.metrics import Metrics
from tests.service.fakes import FakeDevice, fake_segmentation
from tests.service.scheduling.tickets import LARGE, SMALL, photo, ticket


def make_scheduler(
    *devices: FakeDevice, batch: int = 4, metrics: Metrics | None = None, latencies: LatencyModel | None = None
) -> Scheduler:
    """batch: how many SMALL photos fill one."""
    scheduler = Scheduler(
        batch_cost=batch * SMALL.cost, latencies=latencies or LatencyModel(1e-8), metrics=metrics or Metrics()
    )
    for device in devices:
        scheduler.attach(device)
    return scheduler


def submit(
    scheduler: Scheduler, *brightness: int, key: BatchKey = SMALL, priority: Priority = Priority.NORMAL
) -> list[asyncio.Task[Result]]:
    return [asyncio.create_task(scheduler.run(ticket(key, priority), photo(value))) for value in brightness]


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
    first, second = await asyncio.gather(*submit(scheduler, 0), *submit(scheduler, 255, key=LARGE))
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


async def test_the_more_urgent_class_goes_first(busy: FakeDevice) -> None:
    scheduler = make_scheduler(busy, batch=1)
    tasks = submit(scheduler, 1) + submit(scheduler, 2, 3) + submit(scheduler, 4, 5, priority=Priority.INTERACTIVE)
    await settle()
    busy.gate.set()
    await asyncio.gather(*tasks)
    assert brightness(busy) == [[1], [4], [5], [2], [3]]


async def test_a_ticket_knows_when_a_device_has_taken_it(busy: FakeDevice) -> None:
    scheduler, first, second = make_scheduler(busy), ticket(), ticket()
    tasks = [asyncio.create_task(scheduler.run(promised, photo(1))) for promised in (first, second)]
    await settle()
    assert (first.dispatched, second.dispatched) == (True, False)
    busy.gate.set()
    await asyncio.gather(*tasks)
    assert second.dispatched


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
    busy.fails_on = lambda p: p[0, 0, 0] == 160
    tasks = submit(make_scheduler(busy, batch=8), 10, 60, 110, 160, 210, 250)
    await settle()
    busy.gate.set()
    *good, bad = await asyncio.gather(*tasks[:3], *tasks[4:], tasks[3], return_exceptions=True)
    assert isinstance(bad, BatchFailed)
    assert "fake-0" in str(bad)
    assert isinstance(bad.__cause__, RuntimeError)
    for value, result in zip((10, 60, 110, 210, 250), good, strict=True):
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
        await scheduler.run(ticket(), photo(1))
    await scheduler.run(ticket(), photo(2))


async def test_a_device_whose_own_waiting_is_cancelled_fails_like_any_other(device: FakeDevice) -> None:
    def lose(_: object) -> bool:
        raise asyncio.CancelledError

    scheduler = make_scheduler(device)
    device.fails_on = lose
    with pytest.raises(BatchFailed):
        await scheduler.run(ticket(), photo(1))
    device.fails_on = lambda _: False
    await scheduler.run(ticket(), photo(2))


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


async def test_what_is_cancelled_as_a_device_frees_is_not_run(busy: FakeDevice) -> None:
    tasks = submit(make_scheduler(busy), 1, 2, 3)
    await settle()
    # Its own task has not heard of it yet when the device comes for more.
    asyncio.get_running_loop().call_soon(tasks[1].cancel)
    busy.gate.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert brightness(busy) == [[1], [3]]


async def test_learns_what_batches_cost() -> None:
    latencies = LatencyModel(1e-12)
    await make_scheduler(FakeDevice(seconds=0.1), latencies=latencies).run(ticket(), photo(1))
    assert latencies.predict(("fake", "fake@1"), (32, 32), SMALL.cost) >= 0.1


async def test_learns_nothing_from_batches_that_failed(device: FakeDevice) -> None:
    latencies = LatencyModel(1e-12)
    device.seconds, device.fails_on = 0.1, lambda _: True
    with pytest.raises(BatchFailed):
        await make_scheduler(device, latencies=latencies).run(ticket(), photo(1))
    assert latencies.predict(("fake", "fake@1"), (32, 32), SMALL.cost) < 0.001


async def test_the_fastest_of_the_idle_devices_runs_a_batch() -> None:
    latencies = LatencyModel(1e-8)
    slow, fast = FakeDevice(id="slow", kind="slow"), FakeDevice(id="fast", kind="fast")
    for kind, seconds in (("slow", 1.0), ("fast", 0.1)):
        latencies.observe((kind, "fake@1"), (32, 32), SMALL.cost, seconds)
    scheduler = make_scheduler(slow, fast, latencies=latencies)
    await scheduler.run(ticket(), photo(1))
    assert (brightness(slow), brightness(fast)) == ([], [[1]])


async def test_says_when_the_first_device_will_be_free(busy: FakeDevice) -> None:
    latencies = LatencyModel(1e-8)
    latencies.observe(("fake", "fake@1"), (32, 32), SMALL.cost, 5.0)
    scheduler = make_scheduler(busy, latencies=latencies)
    before = time.perf_counter()
    assert scheduler.busy_until() <= before
    tasks = submit(scheduler, 1)
    await asyncio.sleep(0)
    assert before + 5 <= scheduler.busy_until() <= time.perf_counter() + 5
    idle = FakeDevice(id="idle")
    scheduler.attach(idle)
    assert scheduler.busy_until() <= time.perf_counter()
    scheduler.detach(idle)
    busy.gate.set()
    await asyncio.gather(*tasks)
    assert scheduler.busy_until() <= time.perf_counter()


async def test_a_device_that_is_detached_ends_its_batch_and_gets_no_other(busy: FakeDevice) -> None:
    scheduler = make_scheduler(busy)
    tasks = submit(scheduler, 1, 2)
    await settle()
    scheduler.detach(busy)
    assert scheduler.devices == []
    busy.gate.set()
    await tasks[0]
    await settle()
    assert not tasks[1].done()
    scheduler.attach(busy)
    await tasks[1]
    assert brightness(busy) == [[1], [2]]


async def test_a_device_that_comes_back_while_it_runs_is_not_given_a_second_batch(busy: FakeDevice) -> None:
    scheduler = make_scheduler(busy)
    tasks = submit(scheduler, 1, 2, 3)
    await settle()
    scheduler.detach(busy)
    scheduler.attach(busy)
    await settle()
    assert brightness(busy) == [[1]]
    busy.gate.set()
    await asyncio.gather(*tasks)
    assert brightness(busy) == [[1], [2, 3]]


async def test_measures_its_batches(busy: FakeDevice) -> None:
    metrics = Metrics()
    tasks = submit(make_scheduler(busy, metrics=metrics), 1, 2, 3)
    await settle()
    busy.gate.set()
    await asyncio.gather(*tasks)
    value, model = metrics.registry.get_sample_value, {"model": "fake@1"}
    assert value("segserve_batch_photos_count", model) == 2
    assert value("segserve_batch_photos_sum", model) == 3
    assert value("segserve_batch_fill_ratio_sum", model) == 1 / 4 + 2 / 4
    assert value("segserve_device_seconds_count", {"kind": "fake", **model}) == 2
    assert (value("segserve_device_seconds_sum", {"kind": "fake", **model}) or 0) > 0


async def test_capacity_is_what_all_devices_manage_in_full_batches() -> None:
    metrics, latencies = Metrics(), LatencyModel(1e-8)
    key = BatchKey("fake@1", 1000, 1000, 1000, False)
    latencies.prime(("fake", "fake@1"), (1000, 1000), (1e6, 0.02), (4e6, 0.05))
    scheduler = Scheduler(batch_cost=4 * key.cost, latencies=latencies, metrics=metrics)
    for device in (FakeDevice(id="fake-0", seconds=0.02), FakeDevice(id="fake-1")):
        scheduler.attach(device)
    await scheduler.run(ticket(key), photo(1))
    capacity = metrics.registry.get_sample_value("segserve_capacity_pixels_per_second", {"model": "fake@1"})
    assert capacity == pytest.approx(2 * 4e6 / 0.05, rel=0.2)


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


async def test_stop_does_not_wait_for_what_nobody_waits_for(busy: FakeDevice) -> None:
    scheduler = make_scheduler(busy)
    (task,) = submit(scheduler, 1)
    await settle()
    task.cancel()
    await settle()
    await asyncio.wait_for(scheduler.stop(), 5)
    assert busy.running == 0
