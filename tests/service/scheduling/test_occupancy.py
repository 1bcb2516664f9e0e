"""Batches that are sent ahead of the one that a device far away still runs, in virtual time."""

import asyncio

import pytest

from loadtests.virtual_time import now, run_virtually
from service.backends.base import DeviceLost, Photo
from service.scheduling.latency import LatencyModel
from service.scheduling.scheduler import Scheduler
from service.telemetry.metrics import Metrics
from tests.service.fakes import FakeDevice
from tests.service.scheduling.schedulers import brightness, submit
from tests.service.scheduling.tickets import SMALL

WAY = 0.2
RUN = 1.0


class FarAway(FakeDevice):
    """A batch takes WAY to get there and back, and RUN once those before it are done."""

    def __init__(self, way: float = WAY, run: float = RUN) -> None:
        super().__init__(seconds=way + run, delay=way)


def scheduler(device: FakeDevice, predicted: float = RUN) -> Scheduler:
    latencies = LatencyModel(1e-8, now)
    latencies.prime((device.kind, SMALL.model), (SMALL.height, SMALL.width), (1.0, predicted), (1e6, predicted))
    made = Scheduler(batch_cost=4 * SMALL.cost, latencies=latencies, metrics=Metrics(), clock=now)
    made.attach(device)
    return made


@pytest.mark.parametrize("way", [0.0, WAY])
def test_the_next_batch_leaves_as_long_before_the_answer_as_the_way_takes(way: float) -> None:
    async def play() -> None:
        device = FarAway(way)
        seen: list[float] = []
        tasks = submit(scheduler(device), *range(9))
        while len(seen) < 3:
            if len(device.batches) > len(seen):
                seen.append(now())
            await asyncio.sleep(0.01)
        await asyncio.gather(*tasks)
        assert seen == pytest.approx([0.0, RUN, 2 * RUN], abs=0.03)
        assert brightness(device) == [[0], [1, 2, 3, 4], [5, 6, 7, 8]]

    run_virtually(play())


def test_no_third_batch_is_sent_to_one_that_takes_longer_than_predicted() -> None:
    async def play() -> None:
        device = FarAway(run=30.0)
        tasks = submit(scheduler(device), *range(12))
        await asyncio.sleep(10)
        assert len(device.batches) == device.running == 2
        await asyncio.gather(*tasks)
        assert len(device.batches) == 4

    run_virtually(play())


def test_an_idle_device_goes_before_one_that_should_be_done_by_now() -> None:
    async def play() -> None:
        hung, idle = FarAway(run=30.0), FakeDevice(id="idle", kind="slow", seconds=5.0)
        devices = scheduler(hung)
        tasks = submit(devices, 1)
        await asyncio.sleep(2)
        devices.attach(idle)
        tasks += submit(devices, 2)
        await asyncio.sleep(0.01)
        assert (brightness(hung), brightness(idle)) == ([[1]], [[2]])
        await asyncio.gather(*tasks)

    run_virtually(play())


def test_nobody_is_sent_after_a_photo_whose_first_device_was_lost() -> None:
    async def play() -> None:
        device = FarAway(run=30.0)
        far = scheduler(device)

        def lost(_: Photo) -> bool:
            device.fails_on = lambda _: False
            raise DeviceLost("worker-0 died")

        device.fails_on = lost
        tasks = submit(far, 1)
        await asyncio.sleep(31)
        tasks += submit(far, 2)
        await asyncio.sleep(20)
        assert brightness(device) == [[1], [1]]
        await asyncio.gather(*tasks)
        assert brightness(device) == [[1], [1], [2]]

    run_virtually(play())


def test_the_first_device_is_free_when_the_next_batch_may_be_sent() -> None:
    async def play() -> None:
        busy = scheduler(FarAway())
        tasks = submit(busy, 1)
        await asyncio.sleep(0)
        assert busy.busy_until(SMALL.model) == pytest.approx(now() + RUN)
        await asyncio.gather(*tasks)
        assert busy.busy_until(SMALL.model) <= now()

    run_virtually(play())


def test_one_that_leaves_and_comes_back_still_runs_what_it_had() -> None:
    async def play() -> None:
        device = FarAway()
        far = scheduler(device)
        tasks = submit(far, *range(5))
        await asyncio.sleep(0.5)
        far.detach(device)
        far.attach(device)
        await asyncio.sleep(0.4)
        assert brightness(device) == [[0]]
        await asyncio.gather(*tasks)
        assert brightness(device) == [[0], [1, 2, 3, 4]]

    run_virtually(play())
