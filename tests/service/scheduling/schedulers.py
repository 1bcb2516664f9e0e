"""A scheduler with devices that label by brightness, and what they were given."""

import asyncio

from service.backends.base import BatchKey
from service.scheduling.job import Result
from service.scheduling.latency import LatencyModel
from service.scheduling.priority import Priority
from service.scheduling.scheduler import Scheduler
from service.telemetry.metrics import Metrics
from tests.service.fakes import FakeDevice
from tests.service.scheduling.tickets import SMALL, photo, ticket


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
