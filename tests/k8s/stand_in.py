"""Families that this machine's own processes cannot show: those of a GPU, and those of a batch job that goes on."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server


def stand_in() -> CollectorRegistry:
    """Named and labelled as a worker with one GPU and `segserve label --metrics-port` have them."""
    registry = CollectorRegistry()
    gpu: dict[str, float] = {
        "segserve_worker_gpu_utilisation_ratio": 0.8,
        "segserve_worker_gpu_memory_used_bytes": 6e9,
        "segserve_worker_gpu_memory_total_bytes": 24e9,
        "segserve_worker_gpu_temperature_celsius": 71,
    }
    for name, value in gpu.items():
        Gauge(name, "Of a GPU.", ("gpu",), registry=registry).labels("0").set(value)
    photos = Counter("segserve_label_photos", "Photos that are done.", ("status", "error_code"), registry=registry)
    photos.labels("ok", "").inc(1000)
    photos.labels("failed", "damaged-image").inc(3)
    shards = Gauge("segserve_label_shards", "Shards, by state.", ("state",), registry=registry)
    for state, count in {"done": 4, "running": 2, "waiting": 10}.items():
        shards.labels(state).set(count)
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
