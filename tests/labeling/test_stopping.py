"""A worker that is stopped: what it is writing it finishes, and what it has begun it takes back."""

import asyncio
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from labeling.errors import PhotoError
from labeling.labeler import LabelMap
from labeling.photos import PhotoReader
from labeling.shard import Unit, label_shard
from labeling.store import DiskStore
from labeling.worker import Worker, WorkerSettings
from tests.labeling.brightness import BrightnessLabeler
from tests.labeling.jobs import planned
from tests.service.gateway import PATIENCE, eventually

FIRST = Unit(0)


@pytest.mark.parametrize("moment", ["the tar's", "the table's"])
async def test_who_is_stopped_while_it_writes_leaves_nothing_half_written(
    moment: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, store = planned(photos, tmp_path / "out")
    synced: list[str] = []

    def slow(handle: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        time.sleep(0.3)  # As a busy disk: who does not wait for it is done long before.

    def at_the_moment() -> bool:
        return any(moment == {".tar": "the tar's", ".parquet": "the table's"}.get(Path(p).suffix) for p in synced)

    monkeypatch.setattr(os, "fsync", slow)
    reader = PhotoReader()
    work = asyncio.create_task(label_shard(job, store, FIRST, BrightnessLabeler(), reader, print))
    await eventually(at_the_moment)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    await reader.close()
    assert list(store.leftovers()) == []
    assert list(store.list("working")) == []


def test_who_is_told_twice_to_stop_still_takes_back_its_record(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, store = planned(photos, tmp_path / "out")
    begun, deleting, deleted = threading.Event(), threading.Event(), threading.Event()

    class Endless(BrightnessLabeler):
        async def label(self, photos: Sequence[bytes]) -> list[LabelMap | PhotoError]:  # noqa: ARG002
            begun.set()
            never: asyncio.Future[list[LabelMap | PhotoError]] = asyncio.get_running_loop().create_future()
            return await never

    def slow(self: DiskStore, path: str) -> None:  # noqa: ARG001
        deleting.set()
        time.sleep(0.3)  # As a bucket: the second word to stop comes meanwhile.
        deleted.set()

    monkeypatch.setattr(DiskStore, "delete", slow)
    monkeypatch.setattr("labeling.worker._labeler", lambda *_: Endless())
    worker = Worker(job, store.uri, WorkerSettings())

    def stop() -> None:
        begun.wait(PATIENCE)
        worker.stop()
        deleting.wait(PATIENCE)
        worker.stop()

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(asyncio.CancelledError):
        worker.do(FIRST, print)
    assert deleted.is_set()
    thread.join()
    worker.close()
