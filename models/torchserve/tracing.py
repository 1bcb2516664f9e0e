"""A worker's part in the traces of its photos. OpenTelemetry is imported only where the settings ask for it."""

import os
import time
from typing import Literal

from models.torchserve.wire import Request

ENDPOINT = "SEGSERVE_WORKER_OTLP_ENDPOINT"
"""Variable of the environment: base URL of a collector that takes OTLP over HTTP."""
_EXPORT_SECONDS = 2

Stage = Literal["decode", "engine"]


class Stages:
    """When the stages of a batch ended, one after the other."""

    def __init__(self) -> None:
        self.started = time.time_ns()
        self.ended: list[tuple[Stage, int]] = []

    def end(self, stage: Stage) -> None:
        self.ended.append((stage, time.time_ns()))


class WorkerTracing:
    """Sends spans to a collector, in the background."""

    def __init__(self, endpoint: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        self._provider = TracerProvider(resource=Resource.create({"service.name": "segserve-worker"}))
        exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=_EXPORT_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("segserve")

    def add(self, request: Request, model: str, stages: Stages) -> None:
        """For each photo of the batch a span below that of its request, with the batch's stages below it."""
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        for photo in request.photos:
            parent = TraceContextTextMapPropagator().extract({"traceparent": photo.traceparent}, context=Context())
            attributes = {"segserve.request_id": photo.request_id, "segserve.model": model}
            span = self._tracer.start_span(
                "handler",
                parent,
                SpanKind.SERVER,
                attributes | {"segserve.batch_photos": str(len(request.photos))},
                start_time=stages.started,
            )
            start = stages.started
            for name, end in stages.ended:
                self._tracer.start_span(name, set_span_in_context(span), start_time=start).end(end)
                start = end
            span.end()

    def stop(self) -> None:
        """Send what has ended. Blocks for some seconds at most."""
        self._provider.shutdown()


def from_environment() -> WorkerTracing | None:
    """None where nobody asked for traces."""
    endpoint = os.environ.get(ENDPOINT)
    return WorkerTracing(endpoint) if endpoint else None
