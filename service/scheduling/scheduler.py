"""Photos to devices, in batches: when a device frees it takes what is there, never waiting on purpose.

All on one event loop and without locks: the queue changes only between awaits.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from service.backends.base import BatchKey, Device, Photo, Segmentation
from service.scheduling.cost_model import CostModel
from service.telemetry.metrics import Metrics


class BatchFailed(Exception):
    """The device could not run this photo, not even alone; its own error is the cause."""


@dataclass(frozen=True, slots=True)
class Result:
    """A photo's segmentation, and the seconds it waited for a device and the device took."""

    segmentation: Segmentation
    queue_seconds: float
    infer_seconds: float


@dataclass(slots=True, eq=False)
class Job:
    """A photo that waits or runs. submitted: on the scheduler's clock."""

    photo: Photo
    submitted: float
    future: asyncio.Future[Result]


class Scheduler:
    """The one queue in front of all devices. A batch holds photos of one key, oldest first, up to `batch_cost`."""

    def __init__(
        self, *, batch_cost: int, costs: CostModel, metrics: Metrics, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """batch_cost: padded pixels a batch; a photo that costs more still goes, alone. costs: learns device times."""
        self._batch_cost, self._costs, self._metrics, self._clock = batch_cost, costs, metrics, clock
        self._queues: dict[BatchKey, deque[Job]] = {}
        self._devices: list[Device] = []
        self._idle: list[Device] = []
        self._running: set[asyncio.Task[None]] = set()

    @property
    def devices(self) -> Sequence[Device]:
        return self._devices

    def attach(self, device: Device) -> None:
        """Take a device into service."""
        self._devices.append(device)
        self._idle.append(device)
        self._dispatch()

    async def run(self, key: BatchKey, photo: Photo) -> Result:
        """Queue a photo (uint8, H x W x 3, RGB) and wait for its result; cancel, at a deadline say, to take it back.

        Raises BatchFailed if the device fails on it.
        """
        job = Job(photo, self._clock(), asyncio.get_running_loop().create_future())
        self._queues.setdefault(key, deque()).append(job)
        self._dispatch()
        try:
            return await job.future
        except asyncio.CancelledError:
            # Its memory is accounted as free from here on.
            self._dispatch()
            raise

    async def stop(self) -> None:
        """Wait until no batch runs."""
        while self._running:
            await asyncio.gather(*self._running)

    def _dispatch(self) -> None:
        self._prune()
        while self._idle and (batch := self._next_batch()):
            task = asyncio.get_running_loop().create_task(self._run(self._idle.pop(), *batch))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        self._metrics.queue_photos.set(sum(map(len, self._queues.values())))
        self._metrics.queue_pixels.set(sum(key.cost * len(jobs) for key, jobs in self._queues.items()))

    def _next_batch(self) -> tuple[BatchKey, list[Job]] | None:
        """The bucket whose head has waited longest, so that none starves."""
        if not self._queues:
            return None
        key = min(self._queues, key=lambda k: self._queues[k][0].submitted)
        jobs = self._queues[key]
        size = min(len(jobs), max(1, self._batch_cost // key.cost))
        batch = [jobs.popleft() for _ in range(size)]
        if not jobs:
            del self._queues[key]
        return key, batch

    def _prune(self) -> None:
        """Drop what nobody waits for any more."""
        for key in tuple(self._queues):
            wanted = deque(job for job in self._queues[key] if not job.future.done())
            if wanted:
                self._queues[key] = wanted
            else:
                del self._queues[key]

    async def _run(self, device: Device, key: BatchKey, jobs: list[Job]) -> None:
        try:
            await self._run_isolated(device, key, jobs)
        finally:
            self._idle.append(device)
            self._dispatch()

    async def _run_isolated(self, device: Device, key: BatchKey, jobs: list[Job]) -> None:
        """Run a batch; where it fails, its halves, so that one bad photo fails alone."""
        started = self._clock()
        try:
            segmentations = await device.run(key, [job.photo for job in jobs])
            if len(segmentations) != len(jobs):
                raise RuntimeError(f"{device.id} answered {len(jobs)} photos with {len(segmentations)} results")
        except Exception as error:
            if len(jobs) > 1:
                middle = len(jobs) // 2
                await self._run_isolated(device, key, jobs[:middle])
                await self._run_isolated(device, key, jobs[middle:])
            elif not jobs[0].future.done():
                failure = BatchFailed(f"{device.id} failed on a photo: {error}")
                failure.__cause__ = error
                jobs[0].future.set_exception(failure)
            return
        seconds = self._clock() - started
        self._costs.observe((device.kind, key.model), (key.height, key.width), key.cost * len(jobs), seconds)
        self._metrics.batch_photos.labels(key.model).observe(len(jobs))
        for job, segmentation in zip(jobs, segmentations, strict=True):
            if not job.future.done():
                job.future.set_result(Result(segmentation, started - job.submitted, seconds))
