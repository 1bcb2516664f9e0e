import asyncio
import time

import pytest

from loadtests.virtual_time import now, run_virtually
from service.backends.base import BatchKey
from service.scheduling.latency import LatencyModel
from service.scheduling.priority import Priority
from service.scheduling.scheduler import Scheduler
from service.telemetry.metrics import Metrics
from tests.service.fakes import FakeDevice
from tests.service.scheduling.schedulers import brightness, make_scheduler, settle, submit
from tests.service.scheduling.tickets import LARGE, SMALL, photo, ticket


def test_a_photo_gets_its_labels_and_its_times() -> None:
    async def play() -> None:
        scheduler = Scheduler(batch_cost=LARGE.cost, latencies=LatencyModel(1e-8, now), metrics=Metrics(), clock=now)
        scheduler.attach(FakeDevice(seconds=0.5))
        first, second = await asyncio.gather(*submit(scheduler, 0), *submit(scheduler, 255, key=LARGE))
        assert first.segmentation.labels.max() == 0
        assert second.segmentation.labels.min() == 10
        assert (first.queue_seconds, first.infer_seconds) == pytest.approx((0.0, 0.5))
        assert (second.queue_seconds, second.infer_seconds) == pytest.approx((0.5, 0.5))

    run_virtually(play())


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
    assert first.dispatched is not None
    assert second.dispatched is None
    busy.gate.set()
    await asyncio.gather(*tasks)
    assert second.dispatched is not None


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


async def test_learns_what_batches_cost() -> None:
    latencies = LatencyModel(1e-12)
    await make_scheduler(FakeDevice(seconds=0.1), latencies=latencies).run(ticket(), photo(1))
    assert latencies.predict(("fake", "fake@1"), (32, 32), SMALL.cost) >= 0.1


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
    assert scheduler.busy_until(SMALL.model) <= before
    tasks = submit(scheduler, 1)
    await asyncio.sleep(0)
    assert before + 5 <= scheduler.busy_until(SMALL.model) <= time.perf_counter() + 5
    idle = FakeDevice(id="idle")
    scheduler.attach(idle)
    assert scheduler.busy_until(SMALL.model) <= time.perf_counter()
    scheduler.detach(idle)
    busy.gate.set()
    await asyncio.gather(*tasks)
    assert scheduler.busy_until(SMALL.model) <= time.perf_counter()


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
