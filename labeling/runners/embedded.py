"""Workers as processes of this machine, each with an engine of its own, fed from here one unit at a time."""

import multiprocessing
import os
import signal
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from labeling.counts import Counts
from labeling.errors import JobError
from labeling.job import Job
from labeling.progress import Progress
from labeling.runners.base import ATTEMPTS, DEATHS_ADVICE, MAX_DEATHS, MAX_FAILED_STARTS, fails_for_good
from labeling.runners.process import LEAVE_SECONDS, work
from labeling.worker import Task, WorkerSettings


def cores() -> int:
    """Those to share among workers: OMP_NUM_THREADS, by which a container says how many it has; else all there are."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdecimal() and int(given) else len(os.sched_getaffinity(0))


@dataclass(slots=True)
class _Process:
    process: SpawnProcess
    pipe: Connection
    device: int
    ready: bool = False
    task: Task | None = None
    counts: Counts = field(default_factory=Counts)
    """Of the task, as far as it is reported."""


class EmbeddedRunner:
    """workers: processes; gpus: how many of this machine's to share among them, each worker seeing one."""

    def __init__(self, workers: int, gpus: int = 0) -> None:
        self._workers = workers
        self._gpus = gpus

    def run(
        self, job: Job, store_uri: str, settings: WorkerSettings, tasks: Sequence[Task], progress: Progress
    ) -> None:
        """Work off all tasks; a task whose worker dies is given to another. Raises JobError."""
        _Run(job, store_uri, settings, tasks, progress, self._gpus).work_off(self._workers)


class _Run:
    def __init__(
        self,
        job: Job,
        store_uri: str,
        settings: WorkerSettings,
        tasks: Sequence[Task],
        progress: Progress,
        gpus: int,
    ) -> None:
        self._start_arguments = (job, store_uri, settings)
        self._gpus = gpus
        self._waiting = deque(tasks)
        self._progress = progress
        self._processes: list[_Process] = []
        self._deaths: Counter[Task] = Counter()
        self._failures: Counter[Task] = Counter()
        self._failed_starts = 0

    def work_off(self, workers: int) -> None:
        try:
            for device in range(min(workers, len(self._waiting))):
                self._start(device)
            while self._waiting or any(process.task for process in self._processes):
                for pipe in wait([process.pipe for process in self._processes]):
                    process = next(process for process in self._processes if process.pipe is pipe)
                    try:
                        told = process.pipe.recv()
                    except (EOFError, OSError):
                        self._bury(process)
                    else:
                        self._hear(process, *told)
        finally:
            self._stop()

    def _stop(self) -> None:
        for process in self._processes:
            # It hears that, and takes back what it wrote down of photos in flight: they do not kill it.
            process.pipe.close()
        patience = time.monotonic() + LEAVE_SECONDS
        for process in self._processes:
            process.process.join(max(0, patience - time.monotonic()))
        for process in self._processes:
            process.process.kill()
            process.process.join()

    def _start(self, device: int) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        gpu = device % self._gpus if self._gpus else None
        process = context.Process(target=work, args=(theirs, gpu, *self._start_arguments), daemon=True)
        process.start()
        # Only the worker holds its end now, so that its death closes the pipe.
        theirs.close()
        self._processes.append(_Process(process, ours, device))

    def _hear(self, process: _Process, message: str, content: Counts | str | None) -> None:
        if message == "rows":
            assert isinstance(content, Counts)
            process.counts += content
            self._progress.advance(content)
            return
        if message == "broken":
            raise JobError(str(content))
        if message in ("store failed", "failed"):
            assert process.task
            self._failures[process.task] += 1
            if self._failures[process.task] == ATTEMPTS:
                raise fails_for_good(message, process.task, str(content))
            self._progress.take_back(process.counts)
            self._waiting.append(process.task)
        if message == "done":
            self._progress.commit()
        process.ready, process.task, process.counts = True, None, Counts()
        self._failed_starts = 0
        if self._waiting:
            process.task = self._waiting.popleft()
            # One that has just died is buried when its pipe is read.
            with suppress(OSError):
                process.pipe.send(process.task)

    def _bury(self, process: _Process) -> None:
        """Give what a dead worker had to another one."""
        process.pipe.close()
        # It may only have fallen silent; but one that is ending should say itself how it ends.
        process.process.join(LEAVE_SECONDS)
        process.process.kill()
        process.process.join()
        self._processes.remove(process)
        end = _end(process.process.exitcode)
        if not process.ready:
            self._failed_starts += 1
            if self._failed_starts == MAX_FAILED_STARTS:
                raise JobError(f"the workers end before they are ready ({end}): is there enough memory?")
        elif process.task:
            self._progress.take_back(process.counts)
            self._deaths[process.task] += 1
            if self._deaths[process.task] == MAX_DEATHS:
                raise JobError(f"{MAX_DEATHS} workers died at {process.task} ({end}): {DEATHS_ADVICE}")
            self._progress.note(f"a worker died ({end}) at {process.task}: another one takes over")
            self._waiting.appendleft(process.task)
        self._start(process.device)


def _end(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    # Mostly the kernel's, for want of memory.
    return f"killed by {signal.Signals(-code).name}"
