import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from service.backends.base import BatchKey, DeviceLost, Photo, Ran
from service.roster import Roster
from service.scheduling.latency import LatencyModel
from service.scheduling.scheduler import Scheduler
from service.telemetry.metrics import Metrics
from tests.service.fakes import FakeBackend, FakeDevice, model_info


class Changing(FakeBackend):
    """Whose devices come and go as a test says."""

    def show(self, *devices: FakeDevice) -> None:
        self.devices[:] = devices
        self.on_change()

    async def start(self, on_change: object) -> None:
        assert callable(on_change)
        self.on_change = on_change
        self.devices.extend(self.waiting)


class Broken(FakeDevice):
    """Fails on whatever it is warmed up with."""

    async def run(self, key: BatchKey, photos: Sequence[Photo]) -> Ran:  # noqa: ARG002 (the protocol's)
        raise RuntimeError("out of paint")


@asynccontextmanager
async def following(backend: Changing) -> AsyncIterator[Scheduler]:
    latencies = LatencyModel(1e-8)
    scheduler = Scheduler(batch_cost=10**6, latencies=latencies, metrics=Metrics())
    roster = Roster(backend, scheduler, latencies, batch_cost=10**6, on_change=lambda: None)
    await roster.start()
    try:
        yield scheduler
    finally:
        roster.stop()


async def ids(scheduler: Scheduler) -> list[str]:
    # All that happens here takes turns of the loop, and no time.
    for _ in range(200):
        await asyncio.sleep(0)
    return sorted(device.id for device in scheduler.devices)


def changing(*devices: FakeDevice) -> Changing:
    return Changing(models=[model_info()], waiting=devices)


async def test_a_device_that_fails_on_a_black_photo_keeps_no_other_out(caplog: pytest.LogCaptureFixture) -> None:
    broken = Broken(id="broken")
    async with following(changing(broken, FakeDevice(id="well"))) as scheduler:
        assert await ids(scheduler) == ["well"]
    assert "broken takes no photos: fake@1 failed on a black one" in caplog.text


async def test_where_all_fail_that_there_are_at_once_nobody_waits_for_others() -> None:
    with pytest.raises(RuntimeError, match="out of paint"):
        async with following(changing(Broken(id="one"), Broken(id="two"))):
            pass


async def test_nobody_waits_for_a_device_that_hangs_while_it_is_warmed_up() -> None:
    backend = changing(FakeDevice(id="first"))
    async with following(backend) as scheduler:
        hangs, well = FakeDevice(id="hangs"), FakeDevice(id="well")
        hangs.gate.clear()
        backend.show(hangs, well)
        assert await ids(scheduler) == ["well"]
        backend.show(hangs)
        assert await ids(scheduler) == []
        backend.show(hangs, well)
        assert await ids(scheduler) == ["well"]
        hangs.gate.set()
        assert await ids(scheduler) == ["hangs", "well"]


async def test_a_device_that_is_lost_while_it_is_warmed_up_is_tried_again_when_it_is_back() -> None:
    lost = FakeDevice(id="lost")
    backend = changing(FakeDevice(id="first"))

    def dies(_: Photo) -> bool:
        backend.show()
        backend.show(lost)
        lost.fails_on = lambda _: False
        raise DeviceLost("worker-0 died")

    async with following(backend) as scheduler:
        lost.fails_on = dies
        backend.show(lost)
        assert await ids(scheduler) == ["lost"]


async def test_a_model_that_a_device_gets_later_is_warmed_up_too() -> None:
    device = FakeDevice(id="one")
    backend = changing(device)
    async with following(backend) as scheduler:
        before = len(device.batches)
        backend.models = [model_info(), model_info("other")]
        backend.show(device)
        assert await ids(scheduler) == ["one"]
        assert {key.model for key, _ in device.batches[before:]} == {"other@1"}
