"""The one unit of work: label a shard, and make that visible all at once or not at all.

It may run any number of times, at the same time or after one another, on any machine. Readers go by the status table
alone, which is written last and of which there can be only one; what other attempts leave behind is swept at the end.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa

from labeling import status
from labeling.finishing import finished
from labeling.in_progress import InProgress
from labeling.job import Job, part
from labeling.labeler import Labeler, LabelMap
from labeling.shard_tar import ShardTar
from labeling.status import Row, Tar
from labeling.store import Store
from labeling.tables import from_parquet
from labeling.window import Reader, Result, Window
from models import labelsets
from models.labelsets import LabelSet

FOLDER = "labels"

Report = Callable[[Row], None]
"""Called for each photo with what became of it."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A shard to label: in the first pass (retry 0), or its failed rows once more."""

    shard: int
    retry: int = 0

    @property
    def name(self) -> str:
        return part(self.shard) + (f".r{self.retry}" if self.retry else "")

    def __str__(self) -> str:
        return f"shard {self.shard}" + (f", retry {self.retry}" if self.retry else "")


async def label_shard(job: Job, store: Store, unit: Unit, labeler: Labeler, reader: Reader, report: Report) -> bool:
    """Label a shard's photos and commit it. False where it was committed before, or by another process meanwhile.

    At most `labeler.window` photos are in memory. Raises OSError where the store fails; the shard can then be labelled
    again, as it can after any death of the process. Cancelled, it blames no photo for its end.
    """
    if await asyncio.to_thread(_is_committed, store, unit):
        return False
    photos = await asyncio.to_thread(_photos, job, store, unit)
    attempt = secrets.token_hex(4)
    progress = InProgress(store, unit.name, attempt)
    leave = progress.end
    try:
        await finished(progress.recover)
        window = Window(photos.select(["image_id", "uri"]).to_pylist(), labeler, reader, progress)
        await window.try_suspects()
        return await _label_and_commit(job, store, unit, attempt, photos, window, labeler.engine, report)
    except asyncio.CancelledError:
        leave = progress.stop
        raise
    finally:
        await finished(leave)


async def _label_and_commit(
    job: Job,
    store: Store,
    unit: Unit,
    attempt: str,
    photos: pa.Table,
    window: Window,
    engine: str | None,
    report: Report,
) -> bool:
    label_set = labelsets.load(job.labels.label_set)
    name = f"{FOLDER}/{unit.name}.{attempt}.tar"
    rows: list[Row] = []
    async with _in_thread(store.new_file(name)) as file:
        with ShardTar(file) as tar:
            async with aclosing(window.in_order()) as results:
                async for photo, result in results:
                    rows.append(_row(photo, result, tar, job, label_set))
                    report(rows[-1])
    table = status.table(rows, job, photos, label_set, Tar(name, tar.size, tar.sha256), engine)
    won = await finished(store.create, status.path(unit.shard, unit.retry), table)
    if not won:
        await finished(store.delete, name)
    return won


def _is_committed(store: Store, unit: Unit) -> bool:
    try:
        status.read(store, unit.shard, unit.retry, ["status"])
    except FileNotFoundError:
        return False
    return True


def _photos(job: Job, store: Store, unit: Unit) -> pa.Table:
    """The rows of the manifest that the unit is about."""
    photos = from_parquet(store.read(job.manifest_path(unit.shard)))
    if not unit.retry:
        return photos
    newest = status.newest(store, unit.shard, unit.retry - 1, ["status"])
    return photos.filter(pa.array([row["status"] == "error" for row in newest]))


def _row(photo: dict[str, Any], result: Result, tar: ShardTar, job: Job, label_set: LabelSet) -> Row:
    """The photo's row; its labels go into the tar."""
    row = Row(photo["image_id"], photo["uri"], attempts=result.attempts, seconds=result.seconds)
    outcome = result.outcome
    if not isinstance(outcome, LabelMap):
        row.status, row.error_code, row.message = "error", outcome.code, str(outcome)
        return row
    row.width, row.height, row.confidence = outcome.width, outcome.height, outcome.confidence
    row.shares = [pixels / (outcome.width * outcome.height) for pixels in outcome.pixels]
    facts = {
        "image_id": row.image_id,
        "model_version": job.labels.model,
        "width": row.width,
        "height": row.height,
        "pixels": {label.name: outcome.pixels[label.id] for label in label_set.classes if outcome.pixels[label.id]},
        "confidence": round(outcome.confidence, 6),
    }
    row.offset, row.size = tar.add(row.image_id, outcome.png, facts), len(outcome.png)
    return row


@asynccontextmanager
async def _in_thread(manager: AbstractContextManager[BinaryIO]) -> AsyncIterator[BinaryIO]:
    """The same context; entering and leaving, which write and upload, keep the event loop free."""
    try:
        yield await finished(manager.__enter__)
    except BaseException as error:
        # Also where it was cancelled while it entered; one that could not be entered has nothing to leave.
        await finished(manager.__exit__, type(error), error, error.__traceback__)
        raise
    await finished(manager.__exit__, None, None, None)
