"""Workers as processes of this machine, each with an engine of its own, fed from here one unit at a time."""

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from labeling.errors import JobError
from labeling.job import Job
from labeling.progress import Counts, Progress
from labeling.runners.base import MAX_DEATHS, MAX_FAILED_STARTS, STORE_ATTEMPTS
from labeling.worker import Task, WorkerSettings

_SECONDS_BETWEEN_REPORTS = 0.2


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
        self._store_failures: Counter[Task] = Counter()
        self._failed_starts = 0

    def work_off(self, workers: int) -> None:
        try:
            for device in range(min(workers, len(self._waiting))):
                self._start(device)
            while self._waiting or any(process.task for process in self._processes):
                for pipe in wait([process.pipe for process in self._processes]):
                    process = next(process for process in self._processes if process.pipe is pipe)
                    try:
                        self._hear(process, *process.pipe.recv())
                    except (EOFError, OSError):
                        self._bury(process)
        finally:
            for process in self._processes:
                process.process.kill()
            for process in self._processes:
                process.process.join()
                process.pipe.close()

    def _start(self, device: int) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        gpu = device % self._gpus if self._gpus else None
        process = context.Process(target=_work, args=(theirs, gpu, *self._start_arguments), daemon=True)
        process.start()
        # Only the worker holds its end now, so that its death closes the pipe.
        theirs.close()
        self._processes.append(_Process(process, ours, device))

    def _hear(self, process: _Process, message: str, content: Counts | str | None) -> None:
        if message == "rows":
            assert isinstance(content, Counts)
            process.counts.ok += content.ok
            process.counts.errors += content.errors
            self._progress.advance(content)
            return
        if message == "broken":
            raise JobError(str(content))
        if message == "store failed":
            assert process.task
            self._store_failures[process.task] += 1
            if self._store_failures[process.task] == STORE_ATTEMPTS:
                raise JobError(f"the results cannot be read or written: {content}. Run the same command again later")
            self._progress.take_back(process.counts)
            self._waiting.append(process.task)
        process.ready, process.task, process.counts = True, None, Counts()
        self._failed_starts = 0
        if self._waiting:
            process.task = self._waiting.popleft()
            process.pipe.send(process.task)

    def _bury(self, process: _Process) -> None:
        """Give what a dead worker had to another one."""
        process.process.join()
        process.pipe.close()
        self._processes.remove(process)
        code = process.process.exitcode
        if not process.ready:
            self._failed_starts += 1
            if self._failed_starts == MAX_FAILED_STARTS:
                raise JobError(f"the workers end before they are ready (exit code {code}): is there enough memory?")
        elif process.task:
            self._progress.take_back(process.counts)
            self._deaths[process.task] += 1
            if self._deaths[process.task] == MAX_DEATHS:
                raise JobError(f"{MAX_DEATHS} workers died at {process.task} (exit code {code})")
            self._progress.note(f"a worker died (exit code {code}) at {process.task}: another one takes over")
            self._waiting.appendleft(process.task)
        self._start(process.device)


def _work(pipe: Connection, gpu: int | None, job: Job, store_uri: str, settings: WorkerSettings) -> None:
    """The worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which decides.
    tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(pipe, tasks), daemon=True).start()
    # Read when the libraries are imported.
    os.environ["OMP_NUM_THREADS"] = str(settings.threads)
    if gpu is not None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[gpu] if visible else str(gpu)
    from labeling.worker import Worker

    try:
        worker = Worker(job, store_uri, settings)
    except JobError as error:
        pipe.send(("broken", str(error)))
        return
    pipe.send(("ready", None))
    reports = _Reports(pipe)
    while True:
        task = tasks.get()
        try:
            worker.do(task, reports.add)
            reports.flush()
            pipe.send(("done", None))
        except JobError as error:
            pipe.send(("broken", str(error)))
        except OSError as error:
            reports.drop()
            pipe.send(("store failed", f"{type(error).__name__}: {error}"))


def _listen(pipe: Connection, tasks: "queue.SimpleQueue[Task]") -> None:
    try:
        while True:
            tasks.put(pipe.recv())
    except (EOFError, OSError):
        # The parent is gone: nobody is left to work for, and a half-done shard is safe to leave.
        os._exit(1)


class _Reports:
    """Rows are told a few times a second, not one by one."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._counts = Counts()
        self._sent = 0.0

    def add(self, code: str | None) -> None:
        self._counts.add(code)
        if time.monotonic() > self._sent + _SECONDS_BETWEEN_REPORTS:
            self.flush()

    def flush(self) -> None:
        if self._counts.done:
            self._pipe.send(("rows", self._counts))
        self.drop()

    def drop(self) -> None:
        self._counts, self._sent = Counts(), time.monotonic()
