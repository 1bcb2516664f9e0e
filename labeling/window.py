"""A shard's photos on their way: download, decoding, inference and encoding overlap, in a window of bounded size."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from labeling.errors import PhotoError
from labeling.finishing import finished
from labeling.in_progress import InProgress
from labeling.labeler import Labeler, LabelMap
from labeling.retrying import retrying

MANY_DEATHS = 8
"""After so many at one shard, photos go to the labeler one at a time."""


class Reader(Protocol):
    async def read(self, uri: str) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a photo. seconds: from the start of its download."""

    outcome: LabelMap | PhotoError
    attempts: int
    seconds: float


class Window:
    """The photos (rows of a manifest) of one attempt at a shard."""

    def __init__(
        self, photos: Sequence[dict[str, Any]], labeler: Labeler, reader: Reader, progress: InProgress
    ) -> None:
        self._photos = photos
        self._labeler = labeler
        self._reader = reader
        self._progress = progress
        # Always the same photos share a batch, whatever arrives first: so a repeated shard has the same labels.
        self._batch = labeler.batch if progress.deaths < MANY_DEATHS else 1
        self._groups = max(1, (labeler.window >> min(progress.deaths, 16)) // self._batch)

    async def try_suspects(self) -> None:
        """Label the photos that earlier attempts died at, half by half, to see whether this one dies too."""
        suspects = self._progress.suspects()
        while rows := await finished(next, suspects, None):
            photos = range(*rows)
            # Together in flight, but never more in one batch than ever: that would be another amount of memory.
            batches = (photos[first : first + self._batch] for first in range(0, len(photos), self._batch))
            await asyncio.gather(*(self._label(batch) for batch in batches))

    async def in_order(self) -> AsyncGenerator[tuple[dict[str, Any], Result], None]:
        """Every photo with what became of it, in the manifest's order."""
        pending: deque[tuple[range, asyncio.Task[list[Result]]]] = deque()
        written_down = 0
        try:
            for first in range(0, len(self._photos), self._batch):
                group = range(first, min(first + self._batch, len(self._photos)))
                if len(pending) == self._groups:
                    async for result in self._oldest(pending):
                        yield result
                if group.stop > written_down:
                    written_down = min(first + self._groups * self._batch, len(self._photos))
                    oldest = pending[0][0].start if pending else first
                    await finished(self._progress.enter, (oldest, written_down))
                pending.append((group, asyncio.create_task(self._label(group))))
            while pending:
                async for result in self._oldest(pending):
                    yield result
        finally:
            for _, task in pending:
                task.cancel()
            await asyncio.gather(*(task for _, task in pending), return_exceptions=True)

    async def _oldest(
        self, pending: deque[tuple[range, asyncio.Task[list[Result]]]]
    ) -> AsyncIterator[tuple[dict[str, Any], Result]]:
        group, task = pending[0]
        results = await task
        pending.popleft()
        for index, result in zip(group, results, strict=True):
            yield self._photos[index], result

    async def _label(self, group: range) -> list[Result]:
        started = time.perf_counter()
        photos = await asyncio.gather(*(self._read(index) for index in group))
        good = [data for data, _ in photos if isinstance(data, bytes)]
        labelled = iter(await self._labeler.label(good) if good else [])
        results = []
        for data, attempts in photos:
            outcome = next(labelled) if isinstance(data, bytes) else data
            if isinstance(data, bytes):
                attempts += outcome.attempts - 1
            results.append(Result(outcome, attempts, time.perf_counter() - started))
        return results

    async def _read(self, index: int) -> tuple[bytes | PhotoError, int]:
        if deaths := self._progress.killers.get(index):
            message = f"The process ended {deaths} times while this photo was alone in it: a crash, or out of memory."
            return PhotoError("killed-worker", message), deaths
        uri = self._photos[index]["uri"]
        try:
            return await retrying(lambda: self._reader.read(uri))
        except PhotoError as error:
            return error, error.attempts
