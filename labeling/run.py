"""A job from its first shard to _SUCCESS. Everything here may be interrupted anywhere and run again."""

import json
from collections.abc import Sequence

from labeling import in_progress, retry_round, shard, status
from labeling.exports.shard import exports_left
from labeling.job import Job
from labeling.metrics import JobMetrics
from labeling.progress import Progress
from labeling.report import write_report
from labeling.runners.base import Runner
from labeling.shard import Unit
from labeling.store import Store
from labeling.summary import Summary, describe, summarise
from labeling.worker import WorkerSettings

SUCCESS = "_SUCCESS"

_OF_UNITS = (shard.FOLDER, status.FOLDER, in_progress.FOLDER)
_ABANDONED_SECONDS = 3600.0
"""After which a half-written file elsewhere has no writer any more: an export, a plan, a report."""


def label(
    job: Job,
    store: Store,
    runner: Runner,
    settings: WorkerSettings,
    *,
    shards: Sequence[int],
    max_failure_rate: float,
    metrics: JobMetrics | None = None,
) -> None:
    """Label those of `shards` that are not done. Raises JobError, with FailureRateExceeded among them."""
    done = status.committed(store)
    left = [Unit(number) for number in shards if number not in done]
    total = sum(job.shard_size(number) for number in shards)
    before = total - sum(job.shard_size(unit.shard) for unit in left)
    if metrics:
        metrics.begin(photos=total, shards=len(shards), committed=len(shards) - len(left))
    progress = Progress(total, max_failure_rate=max_failure_rate, done=before, metrics=metrics)
    _run(job, store, runner, settings, left, progress)


def retry_failed(
    job: Job,
    store: Store,
    runner: Runner,
    settings: WorkerSettings,
    *,
    shards: Sequence[int],
    metrics: JobMetrics | None = None,
) -> None:
    """Label the rows in error of finished shards once more. Raises JobError."""
    done = status.committed(store)
    wanted = set(shards)
    round_of = retry_round.join(store, done, wanted)
    if round_of:
        # What it vouches for is about to change.
        store.delete(SUCCESS)
    units = [Unit(number, retry) for number, retry in round_of.items() if number in wanted and done[number] < retry]
    photos = sum(retry_round.failed(store, unit.shard, done[unit.shard]) for unit in units)
    if metrics:
        metrics.begin(photos=photos, shards=len(units), committed=0)
    _run(job, store, runner, settings, units, Progress(photos, metrics=metrics))


def export(
    job: Job, store: Store, runner: Runner, settings: WorkerSettings, *, shards: Sequence[int], formats: tuple[str, ...]
) -> None:
    """Make what is missing of the exports of those shards that are done. Raises JobError."""
    done = status.committed(store)
    tasks = exports_left(store, formats, {number: done[number] for number in shards if number in done})
    if tasks:
        runner.run(job, store.uri, settings, tasks, Progress(0, shown=False))


def finish(job: Job, store: Store, formats: tuple[str, ...] = ()) -> Summary | str:
    """Sweep, and write summary.json, report.html and, last, _SUCCESS; or what is still to be done, also by others."""
    done = status.committed(store)
    if left := len(set(job.shards) - done.keys()):
        return f"{left:,} of {len(job.shards):,} shards are open"
    if left := len(retry_round.left(store, done)):
        return f"{left:,} of {len(job.shards):,} shards wait for their turn in this round of --retry-failed"
    if left := len(exports_left(store, formats, done)):
        return f"{left:,} of {len(formats) * len(done):,} exports are open"
    retry_round.end(store)
    _sweep(job, store, done)
    summary = summarise(job, store)
    store.write("summary.json", json.dumps(describe(job, summary), indent=2).encode())
    write_report(job, store, summary)
    store.flush()
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
    for leftover, wanted, age in store.leftovers():
        folder, _, rest = wanted.partition("/")
        unit = rest.partition("/")[0] if folder == in_progress.FOLDER else _unit_name(wanted)
        if unit in units if folder in _OF_UNITS else age > _ABANDONED_SECONDS:
            store.delete(leftover)
    for entry in store.list("manifest"):
        if not entry.path.startswith(f"{job.manifest}/"):
            store.delete(entry.path)
    store.remove_empty_folders(in_progress.FOLDER, units)


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
