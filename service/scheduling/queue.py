"""Who goes next: by class, by deadline inside a class, and a share for batch."""

import heapq
from collections.abc import Iterator
from itertools import count

from service.backends.base import BatchKey
from service.scheduling.job import Job
from service.scheduling.priority import BATCH_SHARE, Priority

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

    def pop_batch(self, now: float, batch_cost: int) -> list[Job]:
        """The most urgent job and others of its key up to `batch_cost` padded pixels; empty if none waits.

        Most urgent: of the best rank (`Ticket.rank`), then of the earliest deadline; a batch job while that class has
        had less than its share. Jobs of other classes fill what room is left: the device's overhead is paid already.
        """
        first = self._first(now)
        if first is None:
            return []
        room = max(1, batch_cost // first.ticket.key.cost)
        batch: list[Job] = []
        for priority in sorted(Priority, key=lambda p: (p != first.ticket.priority, p)):
            while len(batch) < room and (job := self._pop(priority, first.ticket.key)):
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

    def _first(self, now: float) -> Job | None:
        for priority, heaps in self._heaps.items():
            for key in tuple(heaps):
                self._drop_abandoned_head(priority, key)
        heads = {p: min(heap[0] for heap in heaps.values())[2] for p, heaps in self._heaps.items() if heaps}
        if Priority.BATCH in heads and self._served[Priority.BATCH] < BATCH_SHARE * sum(self._served.values()):
            return heads[Priority.BATCH]
        return min(heads.values(), key=lambda job: (job.ticket.rank(now), job.ticket.deadline), default=None)

    def _pop(self, priority: Priority, key: BatchKey) -> Job | None:
        heap = self._heaps[priority].get(key)
        if not heap:
            return None
        *_, job = heapq.heappop(heap)
        self._drop_abandoned_head(priority, key)
        return job

    def _drop_abandoned_head(self, priority: Priority, key: BatchKey) -> None:
        """Afterwards somebody waits for the first job of this heap, or the heap is gone."""
        heap = self._heaps[priority][key]
        while heap and heap[0][2].future.done():
            heapq.heappop(heap)
        if not heap:
            del self._heaps[priority][key]

    def _account(self, batch: list[Job]) -> None:
        fade = max(0.0, 1 - sum(job.ticket.key.cost for job in batch) / _SHARE_MEMORY)
        for priority in Priority:
            self._served[priority] *= fade
        for job in batch:
            self._served[job.ticket.priority] += job.ticket.key.cost
