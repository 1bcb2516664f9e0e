"""Workers as actors of a Ray cluster: one engine an actor, placed by GPUs where there are any, or else by cores."""

import asyncio
import logging
import math
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import ray
from ray.exceptions import ActorUnschedulableError, NodeDiedError, OutOfMemoryError, RayActorError

from labeling.counts import Counts
from labeling.errors import JobError
from labeling.job import Job
from labeling.locations import scheme
from labeling.progress import Progress
from labeling.runners.base import ATTEMPTS, DEATHS_ADVICE, MAX_DEATHS, MAX_FAILED_STARTS, fails_for_good
from labeling.runners.process import LEAVE_SECONDS
from labeling.status import Row
from labeling.worker import Task, Worker, WorkerSettings

_SECONDS_BETWEEN_REPORTS = 1.0
_SECONDS_TO_A_PLACE = 120.0
"""After which somebody may wonder why no actor begins: nodes that are being started take that long."""
_DEATHS = (RayActorError, OutOfMemoryError, NodeDiedError, ActorUnschedulableError)
"""What a task or a start ends with whose actor is no more; Ray gives them no base of their own."""


class RayRunner:
    """address: of the cluster; None starts one on this machine. workers: actors; None for as many as fit."""

    def __init__(self, address: str | None, workers: int | None) -> None:
        self._address = address
        self._workers = workers

    def run(
        self, job: Job, store_uri: str, settings: WorkerSettings, tasks: Sequence[Task], progress: Progress
    ) -> None:
        """Work off all tasks; one whose actor dies is given to another. Raises JobError."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            ray.init(address=self._address, logging_level=logging.ERROR, log_to_driver=False)
        except (ConnectionError, RuntimeError) as error:
            advice = "is --ray-address right, and RAY_AUTH_TOKEN that cluster's token, if it asks for one?"
            raise JobError(f"the Ray cluster {self._address or ''} cannot be reached ({error}): {advice}") from error
        try:
            cluster = ray.cluster_resources()
            cores, gpus = int(cluster.get("CPU", 1)), 0 if settings.endpoint else int(cluster.get("GPU", 0))
            threads = cores_beside_a_gpu(ray.nodes()) if gpus else 1
            actor = ray.remote(max_concurrency=3, num_cpus=threads, num_gpus=1 if gpus else 0)(RayWorker)
            arguments = (job, store_uri, replace(settings, threads=threads))
            workers = self._workers or gpus or cores
            wanted = f"{threads} CPU" + (" and 1 GPU" if gpus else "")
            local = self._address and not scheme(store_uri)
            hint = f"; {store_uri} must be a folder that all nodes share, or --out a bucket" if local else ""
            _Run(actor, wanted, arguments, tasks, progress, hint).work_off(min(workers, len(tasks)))
        finally:
            ray.shutdown()


def cores_beside_a_gpu(nodes: Sequence[Mapping[str, Any]]) -> int:
    """As many as every GPU finds on its own node, for that is where its actor's must be. nodes: as Ray lists them."""
    resources = [node["Resources"] for node in nodes if node["Alive"]]
    # A node with GPUs and no core at all has a place for nobody.
    shares = [int(has["CPU"] // has["GPU"]) for has in resources if has.get("GPU") and has.get("CPU")]
    return max(1, min(shares, default=1))


class RayWorker:
    """The actor. `do`, `take_counts` and `stop` run side by side, each in a thread."""

    def __init__(self, job: Job, store_uri: str, settings: WorkerSettings) -> None:
        self._worker = Worker(job, store_uri, settings)
        self._lock = threading.Lock()
        self._counts = Counts()

    def ready(self) -> None:
        """Returns once the actor has its place."""

    def do(self, task: Task) -> tuple[str, str]:
        """("done" or "stopped", ""), or ("store failed", "failed" or "broken", why)."""
        try:
            self._worker.do(task, self._add)
        except JobError as error:
            return "broken", str(error)
        except OSError as error:
            return "store failed", f"{type(error).__name__}: {error}"
        except asyncio.CancelledError:
            return "stopped", ""
        except Exception as error:
            return "failed", f"{type(error).__name__}: {error}"
        return "done", ""

    def stop(self) -> None:
        """End what is being done, as if it had never begun."""
        self._worker.stop()

    def take_counts(self) -> Counts:
        """What was labelled since the last call."""
        with self._lock:
            counts, self._counts = self._counts, Counts()
        return counts

    def _add(self, row: Row) -> None:
        with self._lock:
            row.count(self._counts)


@dataclass(eq=False, slots=True)
class _Actor:
    handle: Any
    ready: bool = False
    task: Task | None = None
    counts: Counts = field(default_factory=Counts)
    """Of the task, as far as it is reported."""


class _Run:
    def __init__(
        self,
        actor: Any,
        wanted: str,
        arguments: tuple[Job, str, WorkerSettings],
        tasks: Sequence[Task],
        progress: Progress,
        hint: str,
    ) -> None:
        self._actor = actor
        self._wanted = wanted
        """By each actor, of one node."""
        self._arguments = arguments
        self._waiting = deque(tasks)
        self._progress = progress
        self._hint = hint
        """What to look at where results cannot be read or written."""
        self._actors: dict[Any, _Actor] = {}
        """By what is waited for: the actor's start or its task."""
        self._idle: list[_Actor] = []
        self._deaths: Counter[Task] = Counter()
        self._failures: Counter[Task] = Counter()
        self._failed_starts = 0

    def work_off(self, workers: int) -> None:
        try:
            for _ in range(workers):
                self._start()
            reported = time.monotonic()
            wonders_at = reported + _SECONDS_TO_A_PLACE
            while self._waiting or any(actor.task for actor in self._actors.values()):
                finished, _ = ray.wait(list(self._actors), timeout=_SECONDS_BETWEEN_REPORTS)
                for reference in finished:
                    self._hear(reference)
                if time.monotonic() > reported + _SECONDS_BETWEEN_REPORTS:
                    self._report(list(self._actors.values()))
                    reported = time.monotonic()
                if reported > wonders_at:
                    self._wonder()
                    wonders_at = math.inf
        finally:
            self._stop()

    def _stop(self) -> None:
        busy = {reference: actor for reference, actor in self._actors.items() if actor.task}
        for actor in busy.values():
            # It takes back what it wrote down of photos in flight: they do not kill it.
            actor.handle.stop.remote()
        if busy:
            ray.wait(list(busy), num_returns=len(busy), timeout=LEAVE_SECONDS)
        for actor in [*self._actors.values(), *self._idle]:
            ray.kill(actor.handle)

    def _wonder(self) -> None:
        """Say what there is, once, where no actor has come to work: only people can mend that."""
        if self._idle or any(actor.ready for actor in self._actors.values()):
            return
        has, free = ray.cluster_resources(), ray.available_resources()
        there_is = " and ".join(f"{has.get(name, 0):g} {name} ({free.get(name, 0):g} free)" for name in ("CPU", "GPU"))
        self._progress.note(
            f"no actor has a place yet: the cluster has {there_is}, and each actor wants {self._wanted} of one node"
        )

    def _start(self) -> None:
        handle = self._actor.remote(*self._arguments)
        self._actors[handle.ready.remote()] = _Actor(handle)

    def _hear(self, reference: Any) -> None:
        actor = self._actors.pop(reference)
        try:
            answer = ray.get(reference)
        except _DEATHS as error:
            self._bury(actor, error)
            return
        self._report([actor])
        if answer is not None:
            self._finish(actor, *answer)
        actor.ready, actor.task, actor.counts = True, None, Counts()
        self._failed_starts = 0
        self._idle.append(actor)
        self._hand_out()

    def _hand_out(self) -> None:
        while self._idle and self._waiting:
            idle = self._idle.pop()
            idle.task = self._waiting.popleft()
            self._actors[idle.handle.do.remote(idle.task)] = idle

    def _finish(self, actor: _Actor, outcome: str, why: str) -> None:
        assert actor.task
        if outcome == "broken":
            raise JobError(why)
        if outcome in ("store failed", "failed"):
            self._progress.take_back(actor.counts)
            self._failures[actor.task] += 1
            if self._failures[actor.task] == ATTEMPTS:
                raise fails_for_good(outcome, actor.task, why, self._hint)
            self._waiting.append(actor.task)
        elif outcome == "done":
            self._progress.commit()

    def _bury(self, actor: _Actor, error: Exception) -> None:
        """Give what a dead actor had to another one."""
        # It may only be out of reach; its shard is safe either way, but its place is needed.
        ray.kill(actor.handle)
        if not actor.ready:
            self._failed_starts += 1
            if self._failed_starts == MAX_FAILED_STARTS:
                raise JobError(f"the actors end before they are ready: {error}")
        elif actor.task:
            self._progress.take_back(actor.counts)
            self._deaths[actor.task] += 1
            if self._deaths[actor.task] == MAX_DEATHS:
                raise JobError(f"{MAX_DEATHS} actors died at {actor.task} ({error}): {DEATHS_ADVICE}")
            self._progress.note(f"an actor died at {actor.task}: another one takes over")
            self._waiting.appendleft(actor.task)
        self._start()
        # The new one may have to wait for the very place that an idle one holds.
        self._hand_out()

    def _report(self, actors: Sequence[_Actor]) -> None:
        asked = {actor.handle.take_counts.remote(): actor for actor in actors if actor.task}
        answered, _ = ray.wait(list(asked), num_returns=len(asked), timeout=5) if asked else ([], [])
        for reference in answered:
            try:
                counts = ray.get(reference)
            except _DEATHS:
                continue  # Its task's own reference tells.
            asked[reference].counts += counts
            self._progress.advance(counts)
