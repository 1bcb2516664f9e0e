"""Photos whose device was lost get one more, and models and delays decide which."""

import asyncio

import pytest

from loadtests.virtual_time import now, run_virtually
from service.backends.base import BatchKey, DeviceLost, Photo
from service.scheduling.latency import LatencyModel
from service.scheduling.scheduler import BatchFailed, Scheduler
from service.telemetry.metrics import Metrics
from tests.service.fakes import FakeDevice
from tests.service.scheduling.schedulers import brightness, make_scheduler, settle, submit
from tests.service.scheduling.tickets import SMALL, photo, ticket

OTHER = BatchKey("other@1", 32, 32, 256, False)


def lost(_: Photo) -> bool:
    raise DeviceLost("worker-0 died")


async def test_photos_of_a_lost_device_go_to_another_first_and_alone(busy: FakeDevice) -> None:
    metrics = Metrics()
    scheduler = make_scheduler(metrics=metrics)
    tasks = submit(scheduler, 1, 2, 3)
    await settle()
    busy.fails_on = lost
    scheduler.attach(busy)
    await settle()
    tasks += submit(scheduler, 4)
    scheduler.detach(busy)
    busy.gate.set()
    await settle()
    assert not any(task.done() for task in tasks)
    other = FakeDevice(id="fake-1")
    scheduler.attach(other)
    await asyncio.gather(*tasks)
    assert (brightness(busy), brightness(other)) == ([[1, 2, 3]], [[1], [2], [3], [4]])
    assert metrics.registry.get_sample_value("segserve_retried_total", {"model": "fake@1"}) == 3


async def test_the_same_device_runs_them_once_it_is_back(device: FakeDevice) -> None:
    scheduler = make_scheduler(device)

    def lost_once(_: Photo) -> bool:
        device.fails_on = lambda _: False
        scheduler.detach(device)
        raise DeviceLost("worker-0 died")

    device.fails_on = lost_once
    (task,) = submit(scheduler, 7)
    await settle()
    assert not task.done()
    scheduler.attach(device)
    assert (await task).segmentation.labels.shape == (4, 4)
    assert brightness(device) == [[7], [7]]


async def test_a_photo_that_takes_two_devices_with_it_gets_no_third(device: FakeDevice) -> None:
    other, third = FakeDevice(id="fake-1"), FakeDevice(id="fake-2")
    device.fails_on = other.fails_on = lost
    scheduler = make_scheduler(device)
    task = submit(scheduler, 1)[0]
    await settle()
    scheduler.detach(device)
    for replacement in (other, third):
        scheduler.attach(replacement)
    with pytest.raises(BatchFailed, match="two devices were lost with a photo: worker-0 died") as failure:
        await task
    assert isinstance(failure.value.__cause__, DeviceLost)
    assert len(device.batches) + len(other.batches) + len(third.batches) == 2


async def test_one_that_is_given_up_after_the_loss_is_not_run_again(device: FakeDevice) -> None:
    scheduler = make_scheduler(device)
    device.fails_on = lost
    scheduler.attach(other := FakeDevice(id="fake-1", models=()))
    given_up, kept = submit(scheduler, 1, 2)
    device.gate.clear()
    await settle()
    scheduler.detach(device)
    device.gate.set()
    await settle()
    given_up.cancel()
    other.models = {"fake@1"}
    scheduler.detach(other)
    scheduler.attach(other)
    await asyncio.gather(given_up, kept, return_exceptions=True)
    assert brightness(other) == [[2]]


async def test_a_device_gets_no_photo_of_a_model_that_it_does_not_host() -> None:
    host, other = FakeDevice(id="host", models={"fake@1"}), FakeDevice(id="other", models={"other@1"})
    host.gate.clear()
    scheduler = make_scheduler(other, host)
    tasks = submit(scheduler, 1, 2) + submit(scheduler, 3, key=OTHER)
    await settle()
    # Its own host is busy; the idle one, though there first, is no use to it.
    assert (brightness(host), brightness(other)) == ([[1]], [[3]])
    host.gate.set()
    await asyncio.gather(*tasks)
    assert (brightness(host), brightness(other)) == ([[1], [2]], [[3]])


async def test_the_way_to_a_device_counts_when_it_is_chosen() -> None:
    near, far = FakeDevice(id="near"), FakeDevice(id="far", delay=5.0)
    scheduler = make_scheduler(far, near)
    await scheduler.run(ticket(), photo(1))
    assert (brightness(near), brightness(far)) == ([[1]], [])


@pytest.mark.parametrize(("delay", "learnt"), [(0.0, 1.0), (0.75, 0.25)])
def test_what_a_batch_waited_on_its_way_is_not_learnt_as_the_device_s_time(delay: float, learnt: float) -> None:
    async def play() -> None:
        latencies = LatencyModel(1e-12, now)
        scheduler = Scheduler(batch_cost=SMALL.cost, latencies=latencies, metrics=Metrics(), clock=now)
        scheduler.attach(FakeDevice(seconds=1.0, delay=delay))
        await scheduler.run(ticket(), photo(1))
        assert latencies.predict(("fake", "fake@1"), (32, 32), SMALL.cost) == pytest.approx(learnt)

    run_virtually(play())
