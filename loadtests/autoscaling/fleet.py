"""A gateway's real admission and scheduler, in front of workers that start, work and go as an autoscaler tells them."""

import asyncio
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np

from loadtests.virtual_time import now
from service.backends.base import BatchKey, Photo, Ran
from service.scheduling.admission import Admission, Refused
from service.scheduling.latency import LatencyModel
from service.scheduling.priority import Priority
from service.scheduling.scheduler import Scheduler
from service.telemetry.metrics import Metrics

KEY = BatchKey("fake@1", 256, 256, 256, False)
ROOM = 2
"""Photos in a full batch."""
SLOW_SECONDS = 1.0
"""As in the alerts' objective of latency."""
DEADLINE_SECONDS = 10.0
"""The service's default."""
_PHOTO = np.zeros((1, 1, 3), np.uint8)


def batch_seconds(photos: int) -> float:
    """As a device behaves that is slow enough to play a day of."""
    return 0.4 + 0.3 * photos


CAPACITY = ROOM / batch_seconds(ROOM)
"""Photos a second of a worker with full batches."""


@dataclass(eq=False)
class Worker:
    """One device, which only takes time."""

    id: str
    kind: str = "virtual"
    models: Container[str] = frozenset({KEY.model})
    delay: float = 0.0
    busy_seconds: float = 0.0

    async def run(self, key: BatchKey, photos: Sequence[Photo]) -> Ran:  # noqa: ARG002 (the protocol's)
        seconds = batch_seconds(len(photos))
        await asyncio.sleep(seconds)
        self.busy_seconds += seconds
        results: list[Any] = [None] * len(photos)
        return Ran(results, seconds)


@dataclass
class Fleet:
    """start_seconds: from a worker's pod being made to its first batch. metrics: the gateway's own."""

    start_seconds: float
    metrics: Metrics = field(default_factory=Metrics)
    answered: int = 0
    refused: int = 0
    late: int = 0
    slow: int = 0
    """Answered after a wait of more than SLOW_SECONDS."""

    def __post_init__(self) -> None:
        latencies = LatencyModel(1e-9, now)
        sizes = (1, ROOM)
        latencies.prime(("virtual", KEY.model), None, *((float(KEY.cost * n), batch_seconds(n)) for n in sizes))
        for family in ("decode", "encode"):
            latencies.prime(family, None, *((float(KEY.cost * n), 1e-4 * n) for n in sizes))
        self._scheduler = scheduler = Scheduler(
            batch_cost=ROOM * KEY.cost, latencies=latencies, metrics=self.metrics, clock=now
        )
        self._admission = Admission(
            latencies,
            batch_cost=ROOM * KEY.cost,
            codec_threads=2,
            devices=lambda: scheduler.devices,
            busy_until=scheduler.busy_until,
            guard=scheduler.guard,
            clock=now,
        )
        self._ids = count()
        self._ready: list[Worker] = []
        self._starting: list[asyncio.Task[None]] = []
        self._gone_busy_seconds = 0.0

    @property
    def replicas(self) -> int:
        """Pods, those that still start included: they cost as much."""
        return len(self._ready) + len(self._starting)

    @property
    def ready(self) -> int:
        return len(self._ready)

    @property
    def busy_seconds(self) -> float:
        return self._gone_busy_seconds + sum(worker.busy_seconds for worker in self._ready)

    def add_ready(self, workers: int) -> None:
        """Some that have long been there."""
        for _ in range(workers):
            self._attach()

    def scale(self, replicas: int) -> None:
        """Make or end pods. Those that are not ready end first, as a ReplicaSet does it."""
        while self.replicas < replicas:
            self._starting.append(asyncio.create_task(self._start()))
        while self.replicas > replicas:
            if self._starting:
                self._starting.pop().cancel()
                continue
            worker = self._ready.pop()
            self._gone_busy_seconds += worker.busy_seconds
            # The batch that it runs is finished: that is its drain.
            self._scheduler.detach(worker)

    async def ask(self) -> None:
        """One photo, from somebody who does not come back when refused."""
        metrics = self.metrics
        try:
            ticket = self._admission.admit(KEY, KEY.cost, "image/png", Priority.NORMAL, DEADLINE_SECONDS)
        except Refused:
            metrics.demand.labels(KEY.model, "refused").inc(KEY.cost)
            self.refused += 1
            return
        metrics.demand.labels(KEY.model, "admitted").inc(KEY.cost)
        with ticket:
            ticket.decode_seconds = 0.0
            try:
                async with asyncio.timeout_at(ticket.deadline):
                    result = await self._scheduler.run(ticket, _PHOTO)
            except TimeoutError:
                self.late += 1
                return
        metrics.stage_seconds.labels("queue", KEY.model).observe(result.queue_seconds)
        self.answered += 1
        self.slow += result.queue_seconds > SLOW_SECONDS

    async def _start(self) -> None:
        await asyncio.sleep(self.start_seconds)
        task = asyncio.current_task()
        assert task is not None
        self._starting.remove(task)
        self._attach()

    def _attach(self) -> None:
        worker = Worker(f"worker-{next(self._ids)}")
        self._ready.append(worker)
        self._scheduler.attach(worker)
