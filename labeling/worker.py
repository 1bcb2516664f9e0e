"""What a runner places on a machine: an engine, or the client of one, that works off units one at a time."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from labeling.exports.shard import ExportUnit, export_shard
from labeling.job import Job
from labeling.labeler import Labeler
from labeling.photos import PhotoReader
from labeling.shard import Report, Unit, label_shard
from labeling.store import open_store

Task = Unit | ExportUnit


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How a job's photos are labelled; the labels do not depend on it."""

    model_dir: Path | None = None
    endpoint: str | None = None
    """URL of a running service; None for the engine in the worker."""
    api_key: str | None = None
    """For the service."""
    threads: int = 1
    """Of the engine, and of decoding and encoding beside it."""


class Worker:
    """Not thread-safe: one unit at a time."""

    def __init__(self, job: Job, store_uri: str, settings: WorkerSettings) -> None:
        self._job = job
        self._settings = settings
        self._store = open_store(store_uri)
        self._loop = asyncio.Runner()
        self._reader = PhotoReader()
        self._labeler: Labeler | None = None
        self._stopped = False
        self._labelling: asyncio.Task[bool] | None = None

    def do(self, task: Task, report: Report) -> None:
        """Finish the unit. Raises OSError where the store fails: the unit can be done again. Raises JobError.

        Raises CancelledError when it is stopped.
        """
        if isinstance(task, ExportUnit):
            export_shard(self._job, self._store, task)
            return
        # Exports need no engine.
        self._labeler = self._labeler or _labeler(self._job, self._settings)
        self._loop.run(self._label(task, self._labeler, report))

    def stop(self) -> None:
        """For another thread, or a signal: end what is being done, as if it had never begun."""
        self._stopped = True
        if labelling := self._labelling:
            labelling.get_loop().call_soon_threadsafe(_cancel_once, labelling)

    async def _label(self, unit: Unit, labeler: Labeler, report: Report) -> None:
        self._labelling = asyncio.ensure_future(
            label_shard(self._job, self._store, unit, labeler, self._reader, report)
        )
        if self._stopped:
            self._labelling.cancel()
        try:
            await self._labelling
        finally:
            self._labelling = None

    def close(self) -> None:
        self._loop.run(self._reader.close())
        if self._labeler:
            self._loop.run(self._labeler.close())
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _cancel_once(labelling: asyncio.Task[bool]) -> None:
    # Signal and closed pipe come together: a second one would cut off what the first makes it clean up.
    if not labelling.cancelling():
        labelling.cancel()


def _labeler(job: Job, settings: WorkerSettings) -> Labeler:
    # Imported where it is needed: a client of a service needs no torch.
    if settings.endpoint:
        from labeling.endpoint_labeler import EndpointLabeler

        return EndpointLabeler(job.labels, settings.endpoint, settings.api_key)
    from labeling.local_labeler import LocalLabeler

    return LocalLabeler(job.labels, settings.model_dir, settings.threads)
