"""A photo is one trace, from its caller through the gateway to the engine in a real TorchServe."""

from tests import photos
from tests.service.backends.torchserve.conftest import StartGateway
from tests.service.gateway import eventually
from tests.service.telemetry.collector import Collector, Span

TRACE_ID, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADERS = {"traceparent": f"00-{TRACE_ID}-{PARENT}-01", "tracestate": "vendor=1"}
BODY = photos.png(photos.street(60, 80))


def named(traces: Collector, name: str, service: str) -> list[Span]:
    return [s for s in traces.named(name) if (s.trace_id, s.service) == (TRACE_ID, service)]


async def handled(traces: Collector) -> Span:
    """Once the worker has sent it, which it does every few seconds."""
    await eventually(lambda: bool(named(traces, "handler", "segserve-worker")))
    (span,) = named(traces, "handler", "segserve-worker")
    return span


async def test_the_worker_goes_on_below_infer(gateway_of: StartGateway, traces: Collector) -> None:
    traces.spans.clear()
    async with gateway_of(otlp_endpoint=traces.url) as served:
        assert (await served.client.post("/segment", content=BODY, headers=HEADERS)).status_code == 200
    (request,) = named(traces, "POST /segment", "segserve")
    (infer,) = named(traces, "infer", "segserve")
    handler = await handled(traces)
    assert request.parent == PARENT
    assert infer.parent == request.span_id
    assert handler.parent == infer.span_id
    assert request.state == handler.state == "vendor=1"
    for stage in ("decode", "engine"):
        (span,) = named(traces, stage, "segserve-worker")
        assert span.parent == handler.span_id
    assert request.start_ns <= handler.start_ns <= handler.end_ns <= request.end_ns


async def test_a_gateway_that_keeps_none_hands_the_callers_on(gateway_of: StartGateway, traces: Collector) -> None:
    traces.spans.clear()
    async with gateway_of() as served:
        assert (await served.client.post("/segment", content=BODY, headers=HEADERS)).status_code == 200
    handler = await handled(traces)
    assert (handler.parent, handler.state) == (PARENT, "vendor=1")
