"""OpenTelemetry traces: a span a request, one below it for each stage, and W3C trace context in and out.

Nothing of OpenTelemetry is imported before `Tracing` is made, which only a setting does. Its own OTEL_* variables hold
for all that is not said here, such as OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER and OTEL_EXPORTER_OTLP_HEADERS.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

    from service.telemetry.span_ids import SpanIds

# Ending the process must not wait for a collector that is away.
_EXPORT_SECONDS = 2


class TracingNotInstalled(ValueError):
    """The extra `tracing` is missing."""


class Trace:
    """The span of one request."""

    def __init__(self, tracer: "Tracer", span: "Span", ids: "SpanIds") -> None:
        self._tracer, self._span, self._ids = tracer, span, ids
        # Whoever infers elsewhere is told below which span, before it is known when that began.
        self._infer_id = ids.generate_span_id()

    @property
    def trace_id(self) -> str:
        return f"{self._span.get_span_context().trace_id:032x}"

    @property
    def traceparent(self) -> str:
        """W3C trace context for whoever infers elsewhere: of the stage `infer`."""
        context = self._span.get_span_context()
        return f"00-{context.trace_id:032x}-{self._infer_id:016x}-{context.trace_flags:02x}"

    @property
    def tracestate(self) -> str:
        """What other tracers on the way of the request have noted."""
        return self._span.get_span_context().trace_state.to_header()

    @property
    def exemplar(self) -> dict[str, str] | None:
        """What ties a measurement to this trace; None where the trace is not kept."""
        return {"trace_id": self.trace_id} if self._span.get_span_context().trace_flags.sampled else None

    def add_stages(self, timing: Mapping[str, float]) -> None:
        """The stages of a photo and their seconds, laid end to end: the last one ends now."""
        from opentelemetry.trace import set_span_in_context

        start = time.time_ns() - round(sum(timing.values()) * 1e9)
        for name, seconds in timing.items():
            if name == "infer":
                self._ids.keep(self._infer_id)
            span = self._tracer.start_span(name, context=set_span_in_context(self._span), start_time=start)
            start += round(seconds * 1e9)
            span.end(start)

    def describe(self, name: str, attributes: Mapping[str, str | int], *, failed: bool) -> None:
        """What became of the request. failed: the service could not do what was asked."""
        from opentelemetry.trace import StatusCode

        self._span.update_name(name)
        self._span.set_attributes(attributes)
        if failed:
            self._span.set_status(StatusCode.ERROR)


class Tracing:
    """Sends spans to a collector, in the background. A collector that is away costs spans, and no request anything."""

    def __init__(self, endpoint: str) -> None:
        """endpoint: base URL of a collector that takes OTLP over HTTP. Raises TracingNotInstalled."""
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor

            from service.telemetry.span_ids import SpanIds
        except ModuleNotFoundError as error:
            raise TracingNotInstalled(
                f"an OTLP endpoint is set, but there is no {error.name}: pip install 'segserve[tracing]'"
            ) from error
        self._ids = SpanIds()
        service = os.environ.get("OTEL_SERVICE_NAME", "segserve")
        self._provider = TracerProvider(resource=Resource.create({"service.name": service}), id_generator=self._ids)
        exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=_EXPORT_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("segserve")

    @contextmanager
    def request(self, name: str, headers: Mapping[str, str]) -> Iterator[Trace]:
        """A span below the one that `traceparent` in the headers names, or the first of a trace."""
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        parent = TraceContextTextMapPropagator().extract(headers, context=Context())
        span = self._tracer.start_span(name, context=parent, kind=SpanKind.SERVER)
        try:
            yield Trace(self._tracer, span, self._ids)
        finally:
            span.end()

    def stop(self) -> None:
        """Send what has ended. Blocks for some seconds at most."""
        self._provider.shutdown()
