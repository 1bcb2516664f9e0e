"""The embedded runner's worker process: through a pipe it hears of tasks, and tells what became of them."""

import asyncio
import os
import queue
import signal
import threading
import time
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection

from labeling.counts import Counts
from labeling.errors import JobError
from labeling.job import Job
from labeling.status import Row
from labeling.worker import Task, Worker, WorkerSettings

LEAVE_SECONDS = 5.0
"""For a worker to take back its record of what is in flight, when somebody stops the job."""

_SECONDS_BETWEEN_REPORTS = 0.2


def work(pipe: Connection, gpu: int | None, job: Job, store_uri: str, settings: WorkerSettings) -> None:
    """Work off tasks until the other end of the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which decides.
    # Read when the libraries are imported.
    os.environ["OMP_NUM_THREADS"] = str(settings.threads)
    if gpu is not None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[gpu] if visible else str(gpu)
    try:
        worker = Worker(job, store_uri, settings)
    except JobError as error:
        _tell(pipe, "broken", str(error))
        return
    tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
    signal.signal(signal.SIGTERM, lambda *_: _leave(worker, tasks))
    threading.Thread(target=_listen, args=(pipe, tasks, worker), daemon=True).start()
    _tell(pipe, "ready")
    reports = _Reports(pipe)
    with suppress(asyncio.CancelledError):
        while task := tasks.get():
            _do(worker, task, pipe, reports)
    # Threads that still wait for a photo, or for a network to load, are not waited for.
    os._exit(0)


def _do(worker: Worker, task: Task, pipe: Connection, reports: "_Reports") -> None:
    try:
        worker.do(task, reports.add)
    except JobError as error:
        _tell(pipe, "broken", str(error))
    except OSError as error:
        reports.drop()
        _tell(pipe, "store failed", f"{type(error).__name__}: {error}")
    except Exception as error:
        traceback.print_exc()
        reports.drop()
        _tell(pipe, "failed", f"{type(error).__name__}: {error}")
    else:
        reports.flush()
        _tell(pipe, "done")


def _tell(pipe: Connection, message: str, content: Counts | str | None = None) -> None:
    # If nobody listens any more, `_listen` hears of it too.
    with suppress(ConnectionError):
        pipe.send((message, content))


def _listen(pipe: Connection, tasks: "queue.SimpleQueue[Task | None]", worker: Worker) -> None:
    try:
        while True:
            tasks.put(pipe.recv())
    except (EOFError, OSError):
        # The parent wants no more, or is gone: a half-done shard is safe to leave.
        _leave(worker, tasks)


def _leave(worker: Worker, tasks: "queue.SimpleQueue[Task | None]") -> None:
    last_resort = threading.Timer(LEAVE_SECONDS, os._exit, (1,))
    last_resort.daemon = True
    last_resort.start()
    tasks.put(None)
    worker.stop()


class _Reports:
    """Rows are told a few times a second, not one by one."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._counts = Counts()
        self._sent = 0.0

    def add(self, row: Row) -> None:
        row.count(self._counts)
        if time.monotonic() > self._sent + _SECONDS_BETWEEN_REPORTS:
            self.flush()

    def flush(self) -> None:
        if self._counts.done:
            _tell(self._pipe, "rows", self._counts)
        self.drop()

    def drop(self) -> None:
        self._counts, self._sent = Counts(), time.monotonic()
