"""Who goes next: by class, by deadline inside a class, and a share for batch."""

import heapq
import math
from collections.abc import Callable, Iterator
from itertools import count

from service.backends.base import BatchKey
from service.scheduling.job import Job
from service.scheduling.priority import BATCH_SHARE, Priority

# How full others may make an interactive photo's batch: it waits for them, and the device gains little from the rest.
_INTERACTIVE_FILL = 0.75
# Padded pixels of work after which what a class got counts for a third: some dozens of batches.
_SHARE_MEMORY = float(1 << 26)


class Queue:
    """Waiting jobs: for each class and key a heap by deadline."""

    def __init__(self) -> None:
        self._heaps: dict[Priority, dict[BatchKey, list[tuple[float, int, Job]]]] = {p: {} for p in Priority}
        self._arrivals = count()
        self._served = dict.fromkeys(Priority, 0.0)

    def __iter__(self) -> Iterator[Job]:
        return (job for heaps in self._heaps.values() for heap in heaps.values() for *_, job in heap)

    def push(self, job: Job) -> None:
        """Add a job."""
        heap = self._heaps[job.ticket.priority].setdefault(job.ticket.key, [])
        heapq.heappush(heap, (job.ticket.deadline, next(self._arrivals), job))

    def pop_batch(self, now: float, batch_cost: int, can_run: Callable[[str], bool] = lambda _: True) -> list[Job]:
        """The most urgent job and others of its key up to `batch_cost` padded pixels; empty if none waits.

        can_run: which models count, by id. Jobs that can no longer be in time fail here with TimeoutError.

        Most urgent: of the best rank (`Ticket.rank`), then of the earliest deadline; a batch job while that class has
        had less than its share. Jobs of other classes fill what room is left, beside an interactive one a part of it:
        the device's overhead is paid already.
        """
        first = self._first(now, can_run)
        if first is None:
            return []
        room = max(1, batch_cost // first.ticket.key.cost)
        fill = math.ceil(room * _INTERACTIVE_FILL) if first.ticket.priority == Priority.INTERACTIVE else room
        batch: list[Job] = []
        for priority in sorted(Priority, key=lambda p: (p != first.ticket.priority, p)):
            limit = room if priority == first.ticket.priority else fill
            while len(batch) < limit and (job := self._pop(priority, first.ticket.key, now)):
                batch.append(job)
        self._account(batch)
        return batch

    def prune(self) -> None:
        """Drop the jobs that nobody waits for any more."""
        for heaps in self._heaps.values():
            for key in tuple(heaps):
                if any(job.future.done() for *_, job in heaps[key]):
                    heaps[key] = [entry for entry in heaps[key] if not entry[2].future.done()]
                    heapq.heapify(heaps[key])
                if not heaps[key]:
                    del heaps[key]

    def _first(self, now: float, can_run: Callable[[str], bool]) -> Job | None:
        for priority, heaps in self._heaps.items():
            for key in tuple(heaps):
                self._drop_lost_heads(priority, key, now)
        waiting = {p: [h[0] for key, h in heaps.items() if can_run(key.model)] for p, heaps in self._heaps.items()}
        heads = {p: min(first)[2] for p, first in waiting.items() if first}
        if Priority.BATCH in heads and self._served[Priority.BATCH] < BATCH_SHARE * sum(self._served.values()):
            return heads[Priority.BATCH]
        return min(heads.values(), key=lambda job: (job.ticket.rank(now), job.ticket.deadline), default=None)

    def _pop(self, priority: Priority, key: BatchKey, now: float) -> Job | None:
        heap = self._heaps[priority].get(key)
        if not heap:
            return None
        *_, job = heapq.heappop(heap)
        self._drop_lost_heads(priority, key, now)
        return job

    def _drop_lost_heads(self, priority: Priority, key: BatchKey, now: float) -> None:
        """Afterwards somebody waits for the first job of this heap and may get it in time, or the heap is gone."""
        heap = self._heaps[priority][key]
        while heap:
            heap[0][2].give_up_if_hopeless(now)
            if not heap[0][2].future.done():
                return
            heapq.heappop(heap)
        del self._heaps[priority][key]

    def _account(self, batch: list[Job]) -> None:
        fade = max(0.0, 1 - sum(job.ticket.key.cost for job in batch) / _SHARE_MEMORY)
        for priority in Priority:
            self._served[priority] *= fade
        for job in batch:
            self._served[job.ticket.priority] += job.ticket.key.cost
