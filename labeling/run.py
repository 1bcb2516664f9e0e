"""A job from its first shard to _SUCCESS. Everything here may be interrupted anywhere and run again."""

import json
from collections.abc import Sequence

from labeling import in_progress, shard, status
from labeling.exports.shard import exports_left
from labeling.job import Job
from labeling.progress import Progress
from labeling.report import write_report
from labeling.runners.base import Runner
from labeling.shard import Unit
from labeling.store import Store
from labeling.summary import Summary, describe, summarise
from labeling.worker import WorkerSettings

SUCCESS = "_SUCCESS"


def label(
    job: Job,
    store: Store,
    runner: Runner,
    settings: WorkerSettings,
    *,
    shards: Sequence[int],
    max_failure_rate: float,
) -> None:
    """Label those of `shards` that are not done. Raises JobError, with FailureRateExceeded among them."""
    done = status.committed(store)
    left = [Unit(number) for number in shards if number not in done]
    total = sum(job.shard_size(number) for number in shards)
    before = total - sum(job.shard_size(unit.shard) for unit in left)
    _run(job, store, runner, settings, left, Progress(total, max_failure_rate=max_failure_rate, done=before))


def retry_failed(job: Job, store: Store, runner: Runner, settings: WorkerSettings, *, shards: Sequence[int]) -> None:
    """Label the rows in error of finished shards once more. Raises JobError."""
    wanted, units, photos = set(shards), [], 0
    for number, newest in sorted(status.committed(store).items()):
        if number in wanted:
            failed = sum(row["status"] == "error" for row in status.newest(store, number, newest, ["status"]))
            photos += failed
            units += [Unit(number, newest + 1)] if failed else []
    if units:
        # What it vouches for is about to change.
        store.delete(SUCCESS)
    _run(job, store, runner, settings, units, Progress(photos))


def export(
    job: Job, store: Store, runner: Runner, settings: WorkerSettings, *, shards: Sequence[int], formats: tuple[str, ...]
) -> None:
    """Make what is missing of the exports of those shards that are done. Raises JobError."""
    done = status.committed(store)
    tasks = exports_left(store, formats, {number: done[number] for number in shards if number in done})
    if tasks:
        runner.run(job, store.uri, settings, tasks, Progress(0, shown=False))


def finish(job: Job, store: Store) -> Summary | None:
    """Sweep, and write summary.json, report.html and, last, _SUCCESS; None where shards are still to be done."""
    done = status.committed(store)
    if not done.keys() >= set(job.shards):
        return None
    _sweep(job, store, done)
    summary = summarise(job, store)
    store.write("summary.json", json.dumps(describe(job, summary), indent=2).encode())
    write_report(job, store, summary)
    store.write(SUCCESS, b"")
    return summary


def _sweep(job: Job, store: Store, done: dict[int, int]) -> None:
    """Delete what attempts left behind that were killed, or that another one was faster than.

    Units that are not committed keep their files: a retry may be at work on them.
    """
    units = {Unit(number, retry).name for number, newest in done.items() for retry in range(newest + 1)}
    vouched_for = set()
    for number, newest in done.items():
        for retry in range(newest + 1):
            vouched_for.update(status.read(store, number, retry, ["tar"])["tar"].unique().to_pylist())
    for entry in store.list(shard.FOLDER):
        if entry.path not in vouched_for and _unit_name(entry.path) in units:
            store.delete(entry.path)
    for entry in store.list(in_progress.FOLDER):
        if entry.path.split("/")[1] in units:
            store.delete(entry.path)
    for folder in (shard.FOLDER, status.FOLDER):
        for leftover, wanted in store.leftovers(folder):
            if _unit_name(wanted) in units:
                store.delete(leftover)
    for entry in store.list("manifest"):
        if not entry.path.startswith(f"{job.manifest}/"):
            store.delete(entry.path)


def _unit_name(path: str) -> str:
    """Of labels/UNIT.ATTEMPT.tar or status/UNIT.parquet."""
    name = path.rpartition("/")[2]
    return name.removesuffix(".parquet") if name.endswith(".parquet") else name.removesuffix(".tar").rpartition(".")[0]


def _run(
    job: Job, store: Store, runner: Runner, settings: WorkerSettings, units: Sequence[Unit], progress: Progress
) -> None:
    try:
        if units:
            runner.run(job, store.uri, settings, units, progress)
    finally:
        progress.close()
