import asyncio
import logging
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from service.telemetry import tracing
from tests import photos
from tests.cli.blocked import segserve
from tests.service.fakes import FakeBackend, FakeDevice
from tests.service.gateway import eventually, gateway
from tests.service.telemetry.collector import Collector, Span, collector

PHOTO = photos.png(photos.street(8, 8))
TRACE_ID, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
STAGES = ["decode", "queue", "infer", "encode"]


def stages_of(request: Span, traces: Collector) -> list[Span]:
    """The spans below it, in their order."""
    return sorted((span for span in traces.spans if span.parent == request.span_id), key=lambda span: span.start_ns)


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    # After which a span that a busy machine is slow to take is sent again, or lost.
    monkeypatch.setattr(tracing, "_EXPORT_SECONDS", 30)
    with collector() as running:
        yield running


async def test_a_request_is_a_span_with_its_stages_below(
    backend: FakeBackend, device: FakeDevice, traces: Collector
) -> None:
    device.seconds = 0.05
    async with gateway(backend, otlp_endpoint=traces.url) as served:
        began = time.time_ns()
        answer = await served.segment(PHOTO)
        ended = time.time_ns()
    (request,) = traces.named("POST /segment")
    assert request.service == "segserve"
    assert request.parent == ""
    assert not request.failed
    assert request.attributes == {
        "http.request.method": "POST",
        "url.path": "/segment",
        "http.route": "/segment",
        "http.response.status_code": 200,
        "segserve.request_id": answer.headers["x-request-id"],
        "segserve.model": "fake@2",
    }
    stages = [span for name in STAGES for span in traces.named(name)]
    assert len(stages) == len(traces.spans) - 1 == 4
    for earlier, later in pairwise(stages):
        assert earlier.end_ns <= later.start_ns
    for span in stages:
        assert (span.trace_id, span.parent) == (request.trace_id, request.span_id)
        assert began <= request.start_ns <= span.start_ns <= span.end_ns <= request.end_ns <= ended
    timing = answer.json()["timing_ms"]
    assert stages[2].seconds * 1000 == pytest.approx(timing["infer"], abs=0.1)
    assert stages[2].seconds >= 0.05


async def test_it_goes_on_with_the_callers_trace(backend: FakeBackend, traces: Collector) -> None:
    headers = {"traceparent": f"00-{TRACE_ID}-{PARENT}-01", "tracestate": "vendor=1"}
    async with gateway(backend, otlp_endpoint=traces.url) as served:
        await served.client.post("/segment", content=PHOTO, headers=headers)
    (request,) = traces.named("POST /segment")
    assert (request.trace_id, request.parent, request.state) == (TRACE_ID, PARENT, "vendor=1")


@pytest.mark.parametrize(
    "given", ["", "nonsense", "00-0-0-01", f"00-{'0' * 32}-{PARENT}-01", "00-" + "z" * 32 + "-1-01"]
)
async def test_a_context_that_is_none_begins_a_trace(backend: FakeBackend, traces: Collector, given: str) -> None:
    async with gateway(backend, otlp_endpoint=traces.url) as served:
        answer = await served.client.post("/segment", content=PHOTO, headers={"traceparent": given})
    assert answer.status_code == 200
    (request,) = traces.named("POST /segment")
    assert request.parent == ""


async def test_a_caller_that_keeps_no_trace_decides_for_us(backend: FakeBackend, traces: Collector) -> None:
    headers = {"traceparent": f"00-{TRACE_ID}-{PARENT}-00"}
    async with gateway(backend, otlp_endpoint=traces.url) as served:
        await served.client.post("/segment", content=PHOTO, headers=headers)
        openmetrics = await served.client.get("/metrics", headers={"Accept": "application/openmetrics-text"})
    assert traces.spans == []
    assert TRACE_ID not in openmetrics.text


async def test_what_fails_is_marked_and_what_is_refused_is_not(
    backend: FakeBackend, device: FakeDevice, traces: Collector
) -> None:
    device.fails_on = lambda photo: bool(photo.any())
    async with gateway(backend, otlp_endpoint=traces.url) as served:
        await served.segment(PHOTO)
        await served.segment(b"text")
    assert [(s.attributes["http.response.status_code"], s.failed) for s in traces.named("POST /segment")] == [
        (500, True),
        (400, False),
    ]


async def test_what_fails_shows_the_stages_up_to_where_it_failed(
    backend: FakeBackend, device: FakeDevice, traces: Collector
) -> None:
    device.fails_on = lambda photo: bool(photo.any())
    async with gateway(backend, otlp_endpoint=traces.url) as served:
        assert (await served.segment(PHOTO)).status_code == 500
    (request,) = traces.named("POST /segment")
    assert [span.name for span in stages_of(request, traces)] == ["decode", "queue", "infer"]


async def test_what_is_late_shows_where_it_was(backend: FakeBackend, device: FakeDevice, traces: Collector) -> None:
    async with gateway(backend, otlp_endpoint=traces.url) as served:
        device.gate.clear()
        running = asyncio.create_task(served.segment(PHOTO, timeout_ms=4000))
        await eventually(lambda: device.running == 1)
        queued = asyncio.create_task(served.segment(PHOTO, timeout_ms=3900))
        assert [(await answer).status_code for answer in (running, queued)] == [504, 504]
        device.gate.set()
    waited, inferred = sorted((stages_of(request, traces) for request in traces.named("POST /segment")), key=len)
    assert [span.name for span in waited] == ["decode", "queue"]
    assert [span.name for span in inferred] == ["decode", "queue", "infer"]
    assert waited[1].seconds > 0.4
    assert inferred[2].seconds > 0.4


async def test_probes_leave_no_trace(backend: FakeBackend, traces: Collector) -> None:
    async with gateway(backend, otlp_endpoint=traces.url) as served:
        for path in ("/livez", "/readyz", "/metrics"):
            await served.client.get(path)
        await served.client.get("/nowhere")
    assert [span.name for span in traces.spans] == ["GET unmatched"]


async def test_latencies_and_log_lines_name_their_trace(
    backend: FakeBackend, traces: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "segserve.request")
    async with gateway(backend, otlp_endpoint=traces.url) as served:
        await served.segment(PHOTO)
        openmetrics = await served.client.get("/metrics", headers={"Accept": "application/openmetrics-text"})
        plain = await served.client.get("/metrics")
    (request,) = traces.named("POST /segment")
    for name in ("segserve_request_seconds", "segserve_answer_seconds", "segserve_stage_seconds"):
        assert re.search(
            rf'^{name}_bucket{{.*}} 1.0 # {{trace_id="{request.trace_id}"}}', openmetrics.text, re.MULTILINE
        )
    assert openmetrics.headers["content-type"].startswith("application/openmetrics-text")
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert request.trace_id not in plain.text
    (line,) = [r for r in caplog.records if r.name == "segserve.request"]
    assert vars(line)["trace_id"] == request.trace_id


async def test_a_collector_that_is_away_holds_up_neither_answers_nor_the_end(backend: FakeBackend) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
    began = time.monotonic()
    async with gateway(backend, otlp_endpoint=nobody) as served:
        assert (await served.segment(PHOTO)).status_code == 200
    assert time.monotonic() - began < 15


def test_what_is_missing_is_said() -> None:
    asked = segserve("serve", "--otlp-endpoint", "http://127.0.0.1:1", blocked=("opentelemetry.sdk",))
    assert asked.returncode == 1
    assert "pip install 'segserve[tracing]'" in asked.stderr
    assert "Traceback" not in asked.stderr


async def test_switched_off_nothing_is_kept(backend: FakeBackend) -> None:
    async with gateway(backend) as served:
        answer = await served.client.post(
            "/segment", content=PHOTO, headers={"traceparent": f"00-{TRACE_ID}-{PARENT}-01"}
        )
        assert answer.status_code == 200
        assert b"trace_id" not in served.pipeline.metrics.render([], "application/openmetrics-text")[0]


def test_switched_off_nothing_of_it_is_loaded() -> None:
    # FastAPI itself looks for the API, which does nothing without these.
    parts = ("opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry.proto", "google.protobuf")
    loaded = f"import sys, service.app; print([name for name in sys.modules if name.startswith({parts})])"
    printed = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
