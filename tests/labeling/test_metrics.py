"""What a batch job shows of itself while it runs."""

import os
import time
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry

from cli.main import main
from labeling.counts import Counts
from labeling.errors import JobError
from labeling.job import Job
from labeling.metrics import JobMetrics, served
from labeling.progress import Progress
from loadtests.loopback import HOST, free_port
from tests.k8s.prometheus import running_prometheus
from tests.labeling.brightness import LABELS
from tests.labeling.processes import label_process
from tests.labeling.serving import serving
from tests.service.gateway import PATIENCE

JOB = Job("key", "photos", "manifest/key", rows=9, shard_rows=4, labels=LABELS)


def counts(*codes: str | None) -> Counts:
    """Photos of 100 pixels and half a second each."""
    made = Counts()
    for code in codes:
        made.add(code, 0 if code else 100, 0.5)
    return made


class Shown:
    """What a job's metrics say, by name and labels."""

    def __init__(self, metrics: JobMetrics) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(metrics)

    def __call__(self, name: str, **labels: str) -> float | None:
        return self._registry.get_sample_value(f"segserve_label_{name}", labels)


def test_they_count_what_the_bar_counts() -> None:
    metrics = JobMetrics(JOB, "local")
    shown, progress = Shown(metrics), Progress(9, shown=False, metrics=metrics)
    metrics.begin(photos=9, shards=3, committed=1)
    assert shown("photos_total", status="ok", error_code="") == 0
    progress.advance(counts(None, "not-found", None))
    progress.advance(counts("not-found", "damaged-image"))
    progress.commit()
    assert shown("photos_total", status="ok", error_code="") == 2
    assert shown("photos_total", status="error", error_code="not-found") == 2
    assert shown("photos_total", status="error", error_code="damaged-image") == 1
    assert shown("manifest_photos") == 9
    assert (shown("shards", state="planned"), shown("shards", state="committed")) == (3, 2)
    assert (shown("pixels_total"), shown("photo_seconds_total")) == (200, 2.5)
    info = {"model": "brightness@1", "label_set": "camvid11", "sha256": "0" * 64, "engine": "local"}
    assert shown("info", **info) == 1


def test_counters_never_go_back() -> None:
    metrics = JobMetrics(JOB, "local")
    shown, progress = Shown(metrics), Progress(9, shown=False, metrics=metrics)
    for _ in range(2):
        progress.advance(counts(None, "not-found"))
        progress.take_back(counts(None, "not-found"))
    assert shown("photos_total", status="ok", error_code="") == 2
    assert shown("photos_total", status="error", error_code="not-found") == 2
    assert progress.counts.done == 0


def test_prometheus_takes_them(tmp_path: Path) -> None:
    metrics = JobMetrics(JOB, "endpoint")
    metrics.begin(photos=9, shards=3, committed=1)
    metrics.add(counts(None, "not-found"))
    port = free_port()
    with running_prometheus(tmp_path) as prometheus, served(metrics, port):
        prometheus.scrape({"job": httpx.URL(f"http://{HOST}:{port}")})
        prometheus.wait_for("segserve_label_manifest_photos == 9")
        prometheus.wait_for('segserve_label_photos_total{status="error",error_code="not-found"} == 1')
        prometheus.wait_for('segserve_label_shards{state="committed"} == 1')


def test_a_job_shows_how_far_it_is(photos: Path, tmp_path: Path) -> None:
    (photos / "cam9").mkdir()
    os.mkfifo(photos / "cam9/zz.jpg")  # Reading it waits for a writer, so that the last shard is never done.
    port = free_port()
    with serving() as (url, _):
        arguments = (photos, "--out", tmp_path / "out", "--endpoint", url, "--model", "fake", "--shard-rows", 4)
        with label_process(tmp_path / "log", *arguments, "--metrics-port", port) as process:
            shown = ""
            end = time.monotonic() + PATIENCE
            while 'segserve_label_shards{state="committed"} 2.0' not in shown:
                assert process.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < end, shown
                try:
                    shown = httpx.get(f"http://{HOST}:{port}/metrics", timeout=PATIENCE, trust_env=False).text
                except httpx.TransportError:
                    time.sleep(0.1)
    lines = shown.splitlines()
    assert 'segserve_label_photos_total{error_code="",status="ok"} 7.0' in lines
    assert 'segserve_label_photos_total{error_code="damaged-image",status="error"} 1.0' in lines
    assert 'segserve_label_shards{state="planned"} 3.0' in lines
    assert "segserve_label_manifest_photos 9.0" in lines


def test_a_port_that_is_taken_is_told() -> None:
    port = free_port()
    told = pytest.raises(JobError, match=f"no metrics at port {port} .*: choose another --metrics-port")
    with served(JobMetrics(JOB, "local"), port), told, served(JobMetrics(JOB, "local"), port):
        pass
    with served(JobMetrics(JOB, "local"), port):
        pass  # What was served before has let go of it.


def test_a_port_that_is_none_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["label", ".", "--out", str(tmp_path / "out"), "--metrics-port", "70000"])
    assert result.exit_code == 2
    assert "--metrics-port" in result.stderr
