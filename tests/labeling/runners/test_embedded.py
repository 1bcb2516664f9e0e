"""Worker processes, and the photos and circumstances that kill them."""

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import psutil
import pytest

from labeling.errors import FailureRateExceeded, JobError
from labeling.job import Job
from labeling.progress import Progress
from labeling.runners import embedded
from labeling.runners.embedded import EmbeddedRunner
from labeling.shard import Unit
from labeling.store import Store
from labeling.worker import WorkerSettings
from tests.labeling.drawings import draw_folder
from tests.labeling.jobs import planned, rows
from tests.labeling.processes import command, environment
from tests.labeling.serving import serving
from tests.service.gateway import PATIENCE


def run(job: Job, store: Store, url: str, *, workers: int = 1, max_failure_rate: float | None = None) -> Progress:
    """Label everything with a service: such workers start quickly, for they need no torch."""
    progress = Progress(job.rows, max_failure_rate=max_failure_rate, shown=False)
    settings = WorkerSettings(endpoint=url)
    EmbeddedRunner(workers).run(job, store.uri, settings, [Unit(shard) for shard in job.shards], progress)
    assert not psutil.Process().children(recursive=True) or all(
        "spawn_main" not in " ".join(child.cmdline()) for child in psutil.Process().children(recursive=True)
    )
    return progress


def test_workers_share_the_shards(photos: Path, tmp_path: Path) -> None:
    with serving() as (url, labels):
        job, store = planned(photos, tmp_path / "out", shard_rows=2, labels=labels)
        progress = run(job, store, url, workers=3)
    assert [row["error_code"] for row in rows(store)] == ["damaged-image", *[None] * 7]
    assert (progress.counts.ok, dict(progress.counts.errors)) == (7, {"damaged-image": 1})


class Killer:
    """A photo that kills whoever reads it: a pipe, whose other end waits for readers and ends them."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self.kills = 0
        self._stopped = False
        self._thread = threading.Thread(target=self._wait_for_readers)
        self._thread.start()

    def stop(self) -> None:
        self._stopped = True
        self._thread.join()

    def _wait_for_readers(self) -> None:
        # For both, and for as long as there are readers: none may wait for a writer, or meet the end of the photo.
        pipe = os.open(self.path, os.O_RDWR)
        while not self._stopped:
            self._kill_readers()
            time.sleep(0.01)  # Descriptors notify nobody.
        os.close(pipe)

    def _kill_readers(self) -> None:
        for child in psutil.Process().children(recursive=True):
            if self._is_read_by(child):
                child.send_signal(signal.SIGKILL)
                # Its parent, not this thread, asks how it ended.
                while self._is_read_by(child):
                    time.sleep(0.01)
                self.kills += 1

    def _is_read_by(self, process: psutil.Process) -> bool:
        try:
            return any(os.readlink(link) == str(self.path) for link in Path(f"/proc/{process.pid}/fd").iterdir())
        except OSError:
            return False


def test_a_photo_that_kills_its_worker_is_found_and_marked(tmp_path: Path) -> None:
    photos = draw_folder(tmp_path / "photos", 20)
    (photos / "00007.jpg").unlink()
    killer = Killer(photos / "00007.jpg")
    try:
        with serving() as (url, labels):
            job, store = planned(photos, tmp_path / "out", shard_rows=10, labels=labels)
            progress = run(job, store, url, workers=2)
    finally:
        killer.stop()
    found = rows(store)
    assert [row["error_code"] for row in found] == [None] * 7 + ["killed-worker"] + [None] * 12
    assert (found[7]["attempts"], "alone" in found[7]["message"]) == (2, True)
    # 10 rows, then 5, 3 (or 2), 2, 1 and once more.
    assert 4 <= killer.kills <= 7
    assert progress.counts.done == 20
    assert list(store.list("working")) == []


def test_a_shard_at_which_all_workers_die_stops_the_job_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "MAX_DEATHS", 2)
    photos = draw_folder(tmp_path / "photos", 8)
    (photos / "00005.jpg").unlink()
    killer = Killer(photos / "00005.jpg")
    try:
        with serving() as (url, labels):
            job, store = planned(photos, tmp_path / "out", shard_rows=4, labels=labels)
            with pytest.raises(
                JobError, match=r"died at shard 1 \(killed by SIGKILL\): where memory is short, let fewer"
            ):
                run(job, store, url)
    finally:
        killer.stop()


def test_what_nobody_foresaw_stops_the_job_with_its_cause(photos: Path, tmp_path: Path) -> None:
    with serving() as (url, labels):
        job, store = planned(photos, tmp_path / "out", labels=labels)
        store.write(job.manifest_path(1), b"no table")
        with pytest.raises(JobError, match=r"shard 1 fails each time \(ArrowInvalid: .*please report it"):
            run(job, store, url)
    assert len(rows(store)) == 4


def test_who_stops_a_job_blames_no_photo(tmp_path: Path) -> None:
    """What was in flight in the worker that is stopped is not suspect afterwards."""
    photos = draw_folder(tmp_path / "photos", 110)
    for number in range(100):
        (photos / f"{number:05}.jpg").write_bytes(b"broken")
    os.mkfifo(photos / "zz.jpg")  # Reading it waits for a writer.
    with serving() as (url, labels):
        job, store = planned(photos, tmp_path / "out", shard_rows=55, labels=labels)
        with pytest.raises(FailureRateExceeded):
            run(job, store, url, workers=2, max_failure_rate=0.05)
    assert list(store.list("working")) == []
    assert list(store.leftovers()) == []


def test_too_many_failures_stop_the_job_and_keep_what_is_done(tmp_path: Path) -> None:
    photos = draw_folder(tmp_path / "photos", 150)
    for number in range(100, 150):
        (photos / f"{number:05}.jpg").write_bytes(b"broken")
    with serving() as (url, labels):
        job, store = planned(photos, tmp_path / "out", shard_rows=10, labels=labels)
        with pytest.raises(FailureRateExceeded, match=r"more than --max-failure-rate 0.05\): not-an-image \d+\."):
            run(job, store, url, max_failure_rate=0.05)
        assert len(rows(store)) >= 100
        run(job, store, url, max_failure_rate=0.5)
    assert len(rows(store)) == 150


def test_few_photos_are_not_judged(photos: Path, tmp_path: Path) -> None:
    with serving() as (url, labels):
        job, store = planned(photos, tmp_path / "out", labels=labels)
        run(job, store, url, max_failure_rate=0)
    assert len(rows(store)) == 8


def test_workers_that_cannot_work_stop_the_job(photos: Path, tmp_path: Path) -> None:
    with serving() as (url, labels):
        job, store = planned(photos, tmp_path / "out", labels=labels)
    with pytest.raises(JobError, match="does not answer"):
        run(job, store, url, workers=2)


def test_a_store_that_is_gone_stops_the_job(photos: Path, tmp_path: Path) -> None:
    with serving() as (url, labels):
        job, store = planned(photos, tmp_path / "out", labels=labels)
        (tmp_path / "out/status").write_bytes(b"in the way")
        with pytest.raises(JobError, match=r"cannot be read or written.*again later"):
            run(job, store, url)


def test_who_cannot_be_told_of_rows_is_not_taken_for_a_dead_worker(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise BrokenPipeError("nobody listens")

    monkeypatch.setattr(Progress, "advance", fail)
    with serving() as (url, labels):
        job, store = planned(photos, tmp_path / "out", labels=labels)
        with pytest.raises(BrokenPipeError):
            run(job, store, url)


def test_a_job_goes_on_when_nobody_is_left_to_see_how_far_it_is(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with serving() as (url, _):
        arguments = (photos, "--out", out, "--model", "fake", "--endpoint", url, "--shard-rows", 1)
        with subprocess.Popen(
            command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
        ) as process:
            assert process.stderr
            process.stderr.readline()
            process.stderr.close()
            try:
                told, _ = process.communicate(timeout=PATIENCE)
            finally:
                process.kill()
    assert b"7 of 8 photos labelled" in told
    assert process.returncode == 0
    assert (out / "_SUCCESS").exists()
