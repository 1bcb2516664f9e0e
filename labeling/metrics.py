"""How far a job is, for Prometheus, served by the process that runs it for as long as it does."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

from prometheus_client import CollectorRegistry, Metric, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from labeling.counts import Counts
from labeling.errors import JobError
from labeling.job import Job


class JobMetrics:
    """A collector of prometheus_client's, fed by Progress, of the part of a job that this process has.

    Its counters never go back: a photo that is done again, for its worker died, counts again. Shards do not.
    """

    def __init__(self, job: Job, engine: Literal["local", "endpoint"]) -> None:
        self._info = [job.labels.model, job.labels.label_set, job.labels.sha256, engine]
        self._counts = Counts()
        self._photos = self._planned = self._committed = 0

    def begin(self, *, photos: int, shards: int, committed: int) -> None:
        """photos and shards: of the part. committed: of those the shards that were done before."""
        self._photos, self._planned, self._committed = photos, shards, committed

    def add(self, counts: Counts) -> None:
        self._counts += counts

    def commit(self) -> None:
        """One more shard is done."""
        self._committed += 1

    def collect(self) -> Iterable[Metric]:
        """Called in a thread of the server's."""
        info = GaugeMetricFamily(
            "segserve_label_info", "1, with what labels.", labels=["model", "label_set", "sha256", "engine"]
        )
        info.add_metric(self._info, 1)
        shards = GaugeMetricFamily("segserve_label_shards", "Shards by state: planned are all.", labels=["state"])
        shards.add_metric(["planned"], self._planned)
        shards.add_metric(["committed"], self._committed)
        done = CounterMetricFamily("segserve_label_photos", "Photos done.", labels=["status", "error_code"])
        done.add_metric(["ok", ""], self._counts.ok)
        for code, count in dict(self._counts.errors).items():
            done.add_metric(["error", code], count)
        yield info
        yield shards
        yield done
        yield GaugeMetricFamily("segserve_label_manifest_photos", "Photos that are to be done.", self._photos)
        yield CounterMetricFamily("segserve_label_pixels", "Pixels of photos with labels.", self._counts.pixels)
        yield CounterMetricFamily(
            "segserve_label_photo_seconds",
            "Seconds from the start of a photo's download to its labels, which overlap.",
            self._counts.seconds,
        )


@contextmanager
def served(metrics: JobMetrics, port: int) -> Iterator[None]:
    """At /metrics, to every interface, while the context lasts. Raises JobError where the port is taken."""
    registry = CollectorRegistry()
    registry.register(metrics)
    try:
        server, thread = start_http_server(port, registry=registry)
    except OSError as error:
        raise JobError(f"no metrics at port {port} ({error.strerror}): choose another --metrics-port") from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
