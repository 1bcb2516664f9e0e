"""One photo that fails, or is given up, troubles no other."""

import asyncio

import numpy as np
import pytest

from service.scheduling.job import Result
from service.scheduling.latency import LatencyModel
from service.scheduling.scheduler import BatchFailed
from service.telemetry.metrics import Metrics
from tests.service.fakes import FakeDevice, fake_segmentation
from tests.service.scheduling.schedulers import brightness, make_scheduler, settle, submit
from tests.service.scheduling.tickets import SMALL, photo, ticket


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


async def test_learns_nothing_from_batches_that_failed(device: FakeDevice) -> None:
    latencies = LatencyModel(1e-12)
    device.seconds, device.fails_on = 0.1, lambda _: True
    with pytest.raises(BatchFailed):
        await make_scheduler(device, latencies=latencies).run(ticket(), photo(1))
    assert latencies.predict(("fake", "fake@1"), (32, 32), SMALL.cost) < 0.001
