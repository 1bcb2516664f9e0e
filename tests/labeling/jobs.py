"""Jobs planned and worked off in this process, and what their results say."""

import asyncio
import io
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labeling import status
from labeling.job import Job, Labels
from labeling.labeler import Labeler
from labeling.photos import PhotoReader
from labeling.plan import plan
from labeling.progress import Progress
from labeling.shard import Report, Unit, label_shard
from labeling.store import Store, open_store
from labeling.worker import Task, WorkerSettings
from tests.labeling.brightness import LABELS, BrightnessLabeler

ATTEMPT_COLUMNS = ("seconds", "attempts", "tar")
"""What may differ between two runs of one job."""


def planned(source: object, out: object, *, shard_rows: int = 4, labels: Labels = LABELS) -> tuple[Job, Store]:
    store = open_store(str(out))
    return plan(store, str(source), labels, shard_rows), store


def label_unit(job: Job, store: Store, unit: Unit, labeler: Labeler | None = None, report: Report = print) -> bool:
    async def run() -> bool:
        reader = PhotoReader()
        try:
            return await label_shard(job, store, unit, labeler or BrightnessLabeler(), reader, report)
        finally:
            await reader.close()

    return asyncio.run(run())


def label_all(job: Job, store: Store, labeler: Labeler | None = None) -> None:
    for shard in job.shards:
        label_unit(job, store, Unit(shard), labeler)


class RunHere:
    """A runner without workers, for jobs of brightness."""

    def run(
        self,
        job: Job,
        store_uri: str,
        settings: WorkerSettings,  # noqa: ARG002 (the runners' signature)
        tasks: Sequence[Task],
        progress: Progress,  # noqa: ARG002
    ) -> None:
        from labeling.exports.shard import export_shard

        store = open_store(store_uri)
        for task in tasks:
            if isinstance(task, Unit):
                label_unit(job, store, task)
            else:
                export_shard(job, store, task)


def rows(store: Store) -> list[dict[str, Any]]:
    """Every photo's newest row, in the manifest's order."""
    return [row for _, shard_rows in status.all_rows(store) for row in shard_rows]


def results(out: object) -> dict[str, tuple[dict[str, Any], bytes | None]]:
    """image_id -> (row without what attempts may change, bytes of the label PNG). A photo seen twice is an error."""
    store = open_store(str(out))
    found = {}
    for row in rows(store):
        png = store.read(row["tar"], row["png_offset"], row["png_size"]) if row["status"] == "ok" else None
        kept = {name: value for name, value in row.items() if name not in ATTEMPT_COLUMNS}
        assert row["image_id"] not in found
        found[row["image_id"]] = (kept, png)
    return found


def members(store: Store, tar: str) -> dict[str, bytes]:
    """The files in a tar, by name, in their order."""
    with tarfile.open(fileobj=io.BytesIO(store.read(tar))) as archive:
        files = {}
        for member in archive:
            content = archive.extractfile(member)
            assert content is not None
            files[member.name] = content.read()
        return files


def files(folder: Path) -> list[str]:
    """All files below a folder, hidden ones included."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
