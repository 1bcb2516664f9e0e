"""The gateway's Prometheus metrics; docs/metrics.md lists them for the people who run it."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

from service.backends.base import ModelInfo
from service.scheduling.priority import Priority

# Series beside each counter and histogram that only tell when it was made.
disable_created_metrics()  # type: ignore[no-untyped-call]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_PHOTOS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)


class Metrics:
    """One set a gateway, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        self.requests = Counter(
            "segserve_requests", "Requests answered.", ("route", "model", "status"), registry=registry
        )
        self.request_seconds = Histogram(
            "segserve_request_seconds",
            "From the first byte of a request's header to the last of its answer.",
            ("route", "model"),
            buckets=_SECONDS,
            registry=registry,
        )
        self.in_flight = Gauge("segserve_requests_in_flight", "Requests being answered.", registry=registry)
        self.stage_seconds = Histogram(
            "segserve_stage_seconds",
            "Time of a photo in a stage: decode, queue, infer or encode.",
            ("stage", "model"),
            buckets=_SECONDS,
            registry=registry,
        )
        self.batch_photos = Histogram(
            "segserve_batch_photos", "Photos a batch.", ("model",), buckets=_PHOTOS, registry=registry
        )
        self.batch_fill = Histogram(
            "segserve_batch_fill_ratio",
            "Photos of a batch to those that would fit.",
            ("model",),
            buckets=(0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0),
            registry=registry,
        )
        self.device_seconds = Histogram(
            "segserve_device_seconds",
            "Time of a device on a batch.",
            ("kind", "model"),
            buckets=_SECONDS,
            registry=registry,
        )
        self.answer_seconds = Histogram(
            "segserve_answer_seconds",
            "From the last byte of a photo to its labels, of the photos that were answered.",
            ("model", "priority"),
            buckets=_SECONDS,
            registry=registry,
        )
        self.prediction_ratio = Histogram(
            "segserve_latency_prediction_ratio",
            "Time that an answer took to the time that was predicted when it was admitted.",
            ("model",),
            buckets=(0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 4.0),
            registry=registry,
        )
        self.devices = Gauge("segserve_devices", "Devices that take batches.", ("kind",), registry=registry)
        self.capacity = Gauge(
            "segserve_capacity_pixels_per_second",
            "Padded pixels a second that the devices manage in full batches.",
            ("model",),
            registry=registry,
        )
        self.demand = Counter(
            "segserve_demand_pixels",
            "Padded pixels asked for, admitted or refused: its rate to the capacity is what to scale on.",
            ("model", "outcome"),
            registry=registry,
        )
        self.queue_photos = Gauge("segserve_queue_photos", "Photos that wait for a device.", registry=registry)
        self.queue_pixels = Gauge("segserve_queue_pixels", "Padded pixels that wait for a device.", registry=registry)
        self.memory_bytes = Gauge(
            "segserve_memory_reserved_bytes", "Memory reserved for bodies, photos and results.", registry=registry
        )
        self.admitted = Counter("segserve_admitted", "Photos admitted.", ("model", "priority"), registry=registry)
        self.refused = Counter(
            "segserve_refused",
            "Photos refused: deadline (they would miss it) or memory (none is left).",
            ("reason",),
            registry=registry,
        )
        self.retried = Counter(
            "segserve_retried",
            "Photos given to a second device, for the first was lost with them.",
            ("model",),
            registry=registry,
        )
        self.key_limited = Counter(
            "segserve_key_limited", "Photos refused because their API key has its limit.", ("key",), registry=registry
        )
        self.dropped = Counter(
            "segserve_dropped",
            "Admitted photos given up: cancelled (the client hung up), expired (the deadline passed) or failed.",
            ("reason",),
            registry=registry,
        )
        self.ready = Gauge("segserve_ready", "1 while the models are loaded and warm.", registry=registry)
        self.model_info = Gauge(
            "segserve_model_info",
            "1 for each model that is served.",
            ("model", "label_set", "engine", "sha256", "licence"),
            registry=registry,
        )

        # Series that begin with their first event hide it from rate(): these are those that alerts and scaling look at.
        for reason in ("deadline", "memory"):
            self.refused.labels(reason)
        for reason in ("cancelled", "expired", "failed"):
            self.dropped.labels(reason)
        for route in ("/segment", "/models/{name}"):
            self.requests.labels(route, "", 503)

    def _begin(self, model: str) -> None:
        """The same of a model, once it is known."""
        for status in (200, 500, 503, 504):
            self.requests.labels("/segment", model, status)
        for outcome in ("admitted", "refused"):
            self.demand.labels(model, outcome)
        for priority in Priority:
            self.admitted.labels(model, priority.name.lower())
            self.answer_seconds.labels(model, priority.name.lower())
        self.stage_seconds.labels("queue", model)
        self.prediction_ratio.labels(model)

    def render(self, models: Sequence[ModelInfo], accept: str = "") -> tuple[bytes, str]:
        """All metrics and their media type: OpenMetrics, which has exemplars, where `accept` names it, or text.

        models: what is served now.
        """
        self.model_info.clear()
        for model in models:
            self._begin(model.id)
            self.model_info.labels(model.id, model.label_set, model.engine, model.sha256, model.licence).set(1)
        encode, media_type = choose_encoder(accept)
        return encode(self.registry), media_type
