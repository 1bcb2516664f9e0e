"""Photos to devices, in batches: when a device frees it takes what is there, never waiting on purpose.

All on one event loop and without locks: the queue changes only between awaits.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import chain

from service.backends.base import BatchKey, Device, DeviceLost, EncodedPhoto, Photo
from service.scheduling.job import Job, Result, Ticket
from service.scheduling.latency import LatencyModel
from service.scheduling.occupancy import Occupancy
from service.scheduling.queue import Queue
from service.scheduling.sojourn import SojournGuard
from service.telemetry.metrics import Metrics


class BatchFailed(Exception):
    """The device could not run this photo, not even alone; its own error is the cause."""


class Scheduler:
    """The one queue in front of all devices. A batch holds photos of one key, up to `batch_cost` padded pixels."""

    def __init__(
        self,
        *,
        batch_cost: int,
        latencies: LatencyModel,
        metrics: Metrics,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """batch_cost: a photo that costs more still goes, alone. latencies: learns how long devices take."""
        self._batch_cost, self._latencies, self._metrics, self._clock = batch_cost, latencies, metrics, clock
        self._queue = Queue()
        self._occupancy = Occupancy(self._dispatch, clock)
        self._retries: deque[Job] = deque()
        self._abandoned = False
        self._running: dict[asyncio.Task[None], list[Job]] = {}
        self.guard = SojournGuard()

    @property
    def devices(self) -> Sequence[Device]:
        return self._occupancy.devices

    def busy_until(self, model: str) -> float:
        """When the first device that hosts `model` is predicted to be free, on the clock; in the past if one is."""
        return self._occupancy.free_from(model)

    def attach(self, device: Device) -> None:
        """Take a device into service."""
        self._occupancy.attach(device)
        self._metrics.devices.labels(device.kind).inc()
        self._dispatch()

    def detach(self, device: Device) -> None:
        """Give a device no more batches; one that it runs is still waited for."""
        self._occupancy.detach(device)
        self._metrics.devices.labels(device.kind).dec()

    async def run(self, ticket: Ticket, photo: Photo | EncodedPhoto) -> Result:
        """Queue a photo and wait for its result; cancel, at a deadline say, to take it back.

        Raises BatchFailed if the device fails on it, or two devices are lost with it; and what of `images` the device
        gives for a photo that cannot be decoded.
        """
        job = Job(ticket, photo, self._clock(), asyncio.get_running_loop().create_future())
        self._queue.push(job)
        self._dispatch()
        try:
            return await job.future
        except asyncio.CancelledError:
            # Its memory counts as free from here on. Many may hang up at once: the queue is gone through once for all.
            if not self._abandoned:
                self._abandoned = True
                asyncio.get_running_loop().call_soon(self._prune)
            raise

    async def stop(self) -> None:
        """Wait for the batches that somebody waits for; give up the others."""
        while self._running:
            for task, jobs in self._running.items():
                if all(job.future.done() for job in jobs):
                    task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    def _prune(self) -> None:
        if self._abandoned:
            self._abandoned = False
            self._queue.prune()
            self._retries = deque(job for job in self._retries if not job.future.done())
            self._measure_queue()

    def _dispatch(self) -> None:
        self._prune()
        now = self._clock()
        while jobs := self._next_batch(now):
            device = self._fastest(jobs)
            suspect = jobs[0].retried
            self._occupancy.take(device, self._predict(device, jobs[0].ticket.key, len(jobs)), alone=suspect)
            for job in jobs:
                job.ticket.dispatched = now
                self.guard.observe(now, now - job.ticket.start)
            task = asyncio.get_running_loop().create_task(self._run(device, jobs))
            self._running[task] = jobs
            task.add_done_callback(self._running.pop)
        self._measure_queue()

    def _next_batch(self, now: float) -> list[Job]:
        """Photos whose device was lost go first and alone: one of them may be what it died of."""
        idle, free = self._occupancy.idle, self._occupancy.free
        for job in tuple(self._retries):
            if job.future.done():
                self._retries.remove(job)
            elif any(job.ticket.key.model in device.models for device in idle):
                self._retries.remove(job)
                return [job]
        if not free:
            return []
        return self._queue.pop_batch(
            now, self._batch_cost, lambda model: any(model in device.models for device in free)
        )

    def _fastest(self, jobs: Sequence[Job]) -> Device:
        """An idle one, if there is: of another it is not known for sure when it ends."""
        key = jobs[0].ticket.key
        for devices in (self._occupancy.idle, self._occupancy.free):
            if hosts := [device for device in devices if key.model in device.models]:
                return min(hosts, key=lambda device: self._predict(device, key, len(jobs)))
        raise LookupError(f"no device is free for {key.model}")

    def _measure_queue(self) -> None:
        waiting = [job.ticket.key.cost for job in chain(self._retries, self._queue)]
        self._metrics.queue_photos.set(len(waiting))
        self._metrics.queue_pixels.set(sum(waiting))

    def _predict(self, device: Device, key: BatchKey, photos: int) -> float:
        return device.delay + self._latencies.predict(
            (device.kind, key.model), (key.height, key.width), key.cost * photos
        )

    async def _run(self, device: Device, jobs: list[Job]) -> None:
        try:
            outcomes = await self._run_isolated(device, jobs)
        except DeviceLost as loss:
            outcomes = self._retry(jobs, loss)
        self._occupancy.release(device)
        # First the device, then whoever waits for what it made: it must not idle while answers are written.
        self._dispatch()
        for job, outcome in zip(jobs, outcomes, strict=True):
            if outcome is None or job.future.done():
                continue
            if isinstance(outcome, Exception):
                job.future.set_exception(outcome)
            else:
                job.future.set_result(outcome)

    def _retry(self, jobs: list[Job], loss: DeviceLost) -> "list[Result | Exception | None]":
        """Photos can be run again without harm: each gets one more device, and its outcome is still open (None)."""
        outcomes: list[Result | Exception | None] = []
        for job in jobs:
            if job.retried:
                failure = BatchFailed(f"two devices were lost with a photo: {loss}")
                failure.__cause__ = loss
                outcomes.append(failure)
                continue
            job.retried = True
            self._retries.append(job)
            self._metrics.retried.labels(job.ticket.key.model).inc()
            outcomes.append(None)
        return outcomes

    async def _run_isolated(self, device: Device, jobs: list[Job]) -> "list[Result | Exception | None]":
        """Run a batch; where it fails, its halves, so that one bad photo fails alone. One outcome a job, in order.

        Raises DeviceLost.
        """
        key = jobs[0].ticket.key
        started = self._clock()
        try:
            ran = await device.run(key, [job.photo for job in jobs])
            if len(ran.results) != len(jobs):
                raise RuntimeError(f"{device.id} answered {len(jobs)} photos with {len(ran.results)} results")
        except DeviceLost:
            raise
        except (Exception, asyncio.CancelledError) as error:
            if _is_cancelled():
                raise
            failure = BatchFailed(f"{device.id} failed on a photo: {error!r}")
            failure.__cause__ = error
            if len(jobs) == 1:
                return [failure]
        else:
            seconds = self._clock() - started
            self._learn(device, key, len(jobs), ran.seconds)
            return [
                result if isinstance(result, Exception) else Result(result, started - job.submitted, seconds)
                for job, result in zip(jobs, ran.results, strict=True)
            ]
        middle = len(jobs) // 2
        first = await self._run_isolated(device, jobs[:middle])
        return first + await self._run_isolated(device, jobs[middle:])

    def _learn(self, device: Device, key: BatchKey, photos: int, seconds: float) -> None:
        family, bucket = (device.kind, key.model), (key.height, key.width)
        self._latencies.observe(family, bucket, key.cost * photos, seconds)
        size = max(1, self._batch_cost // key.cost)
        full = self._latencies.predict(family, bucket, key.cost * size)
        hosts = sum(key.model in host.models for host in self.devices)
        self._metrics.batch_photos.labels(key.model).observe(photos)
        self._metrics.batch_fill.labels(key.model).observe(photos / size)
        self._metrics.device_seconds.labels(device.kind, key.model).observe(seconds)
        self._metrics.capacity.labels(key.model).set(hosts * key.cost * size / full)


def _is_cancelled() -> bool:
    """Whether it is us that are to stop, and not something that a device waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
