"""A worker's part in the traces of its photos. OpenTelemetry is imported only where the settings ask for it."""

import os
import time

from models.torchserve.wire import Request

ENDPOINT = "SEGSERVE_WORKER_OTLP_ENDPOINT"
"""Variable of the environment: base URL of a collector that takes OTLP over HTTP."""
_EXPORT_SECONDS = 2

STAGES = ("decode", "engine")


class Stages:
    """When the stages of a batch ended, one after the other, and whether it failed in the last one of them."""

    def __init__(self) -> None:
        self.started = time.time_ns()
        self.ended: list[int] = []
        self.failed = False

    def end(self) -> None:
        """Of the one that runs."""
        self.ended.append(time.time_ns())

    def fail(self) -> None:
        """In the one that runs; or, where none does, in what follows them."""
        self.failed = True
        self.end()


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
        """For each photo of the batch a span below the one that its context names, with the batch's stages below it."""
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        for photo in request.photos:
            carrier = {"traceparent": photo.traceparent, "tracestate": photo.tracestate}
            parent = TraceContextTextMapPropagator().extract(carrier, context=Context())
            attributes = {"segserve.request_id": photo.request_id, "segserve.model": model}
            span = self._tracer.start_span(
                "handler",
                parent,
                SpanKind.SERVER,
                attributes | {"segserve.batch_photos": str(len(request.photos))},
                start_time=stages.started,
            )
            start = stages.started
            for name, end in zip(STAGES, stages.ended, strict=False):
                self._tracer.start_span(name, set_span_in_context(span), start_time=start).end(end)
                start = end
            if stages.failed:
                span.set_status(StatusCode.ERROR)
            span.end()

    def stop(self) -> None:
        """Send what has ended. Blocks for some seconds at most."""
        self._provider.shutdown()


def from_environment() -> WorkerTracing | None:
    """None where nobody asked for traces."""
    endpoint = os.environ.get(ENDPOINT)
    return WorkerTracing(endpoint) if endpoint else None
