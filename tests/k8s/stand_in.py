"""What the dashboard's queries need and no machine of the tests has: a GPU, and a batch job that goes on and on."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import httpx
from prometheus_client import CollectorRegistry, start_http_server

from labeling.counts import Counts
from labeling.job import Job
from labeling.metrics import JobMetrics
from tests.labeling.brightness import LABELS
from tests.worker.fake_nvml import FakeNvml, Gpu
from worker.gpu_metrics import GpuMetrics


def stand_in() -> CollectorRegistry:
    """The metrics of a worker with one GPU and of a job under way, by what makes them there."""
    registry = CollectorRegistry()
    with patch.dict(sys.modules, {"pynvml": FakeNvml([Gpu("GPU-one")])}):
        registry.register(GpuMetrics())
    job = JobMetrics(Job("key", "photos", "manifest/key", rows=16_000, shard_rows=1000, labels=LABELS), "local")
    job.begin(photos=16_000, shards=16, committed=3)
    counts = Counts()
    for code in (None, None, None, "damaged-image"):
        counts.add(code)
    job.add(counts)
    registry.register(job)
    return registry


@contextmanager
def exporter() -> Iterator[httpx.URL]:
    server, thread = start_http_server(0, "127.0.0.1", stand_in())
    try:
        yield httpx.URL(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
