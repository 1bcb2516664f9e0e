"""The handler in this process, called as TorchServe calls it; tests/service/backends/torchserve has the whole way."""

import json
import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from images import decode
from models.engine.engine import Engine
from models.engine.loading import find, load_engine
from models.torchserve import tracing
from models.torchserve.handler import Handler
from models.torchserve.tracing import ENDPOINT
from models.torchserve.wire import (
    CANNOT_LABEL,
    EncodedPhoto,
    Labelled,
    Request,
    Unreadable,
    pack_request,
    unpack_response,
)
from tests import photos
from tests.service.gateway import PATIENCE
from tests.service.telemetry.collector import collector

AN_ILLEGAL_ACCESS = torch.AcceleratorError("an illegal memory access")


@pytest.fixture(autouse=True)
def _loggers_as_they_were() -> Iterator[None]:
    names = (None, "segserve.worker", "ts.metrics")
    levels = [logging.getLogger(name).level for name in names]
    yield
    for name, level in zip(names, levels, strict=True):
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def handler(checkpoint_dir: Path) -> Handler:
    made = Handler()
    made.initialize(Context(checkpoint_dir))
    return made


@pytest.fixture(scope="module")
def engine(checkpoint_dir: Path) -> Engine:
    return load_engine(find("tiny", checkpoint_dir))


class Context:
    """What TorchServe tells a handler, and what it lets it say. (Importing its own leaves a file open.)"""

    def __init__(self, model_dir: Path) -> None:
        self.system_properties = {"model_dir": str(model_dir), "gpu_id": None}
        self.statuses: dict[int, int] = {}
        self.content_types: dict[int, str] = {}

    def set_response_status(self, code: int, phrase: str, index: int) -> None:
        assert phrase
        self.statuses[index] = code

    def set_response_content_type(self, index: int, value: str) -> None:
        self.content_types[index] = value


def request(*bodies: bytes, confidence: bool = False) -> dict[str, bytearray]:
    encoded = [EncodedPhoto(body, f"id-{i}", f"trace-{i}") for i, body in enumerate(bodies)]
    return {"body": bytearray(pack_request(Request(encoded, 160, confidence, 10**6)))}


def test_labels_are_the_engines(handler: Handler, engine: Engine, checkpoint_dir: Path) -> None:
    body = photos.oriented(photos.street(90, 130), 6, "JPEG")
    [answer] = handler.handle([request(body, confidence=True)], Context(checkpoint_dir))
    response = unpack_response(answer)
    [result] = response.results
    [expected] = engine.run([decode(body, max_pixels=10**6)], confidence=True, long_side=160)
    assert response.engine == engine.network.kind == "compiled"
    assert isinstance(result, Labelled)
    assert expected.confidence is not None
    assert result.confidence is not None
    assert np.array_equal(result.labels, expected.labels)
    assert np.array_equal(result.pixels, expected.pixels)
    assert np.array_equal(result.confidence, expected.confidence)


def test_calls_that_torchserve_batched_are_answered_one_by_one(handler: Handler, checkpoint_dir: Path) -> None:
    calls = [request(photos.png(photos.street(40, 50))), request(photos.png(photos.street(60, 70)))]
    answers = handler.handle(calls, Context(checkpoint_dir))
    shapes = [result.labels.shape for answer in answers for result in unpack_response(answer).results]  # type: ignore[union-attr]
    assert shapes == [(40, 50), (60, 70)]


def test_a_damaged_photo_fails_alone(handler: Handler, checkpoint_dir: Path) -> None:
    good = photos.png(photos.street(40, 50))
    [answer] = handler.handle([request(good, photos.truncated_jpeg(), good)], Context(checkpoint_dir))
    first, damaged, last = unpack_response(answer).results
    assert isinstance(damaged, Unreadable)
    assert damaged.cause == "DamagedImage"
    assert isinstance(first, Labelled)
    assert isinstance(last, Labelled)


def test_what_is_no_request_is_refused(handler: Handler, checkpoint_dir: Path) -> None:
    given = Context(checkpoint_dir)
    [answer] = handler.handle([{"body": bytearray(b"a photo, as curl would post it")}], given)
    assert given.statuses == {0: 400}
    assert b"one version" in answer


def test_a_failing_engine_is_told_from_a_dead_worker(
    handler: Handler, checkpoint_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("out of paint")

    monkeypatch.setattr(Engine, "run", fail)
    given = Context(checkpoint_dir)
    [answer] = handler.handle([request(photos.png(photos.street(40, 50)))], given)
    assert given.statuses == {0: CANNOT_LABEL}
    assert b"out of paint" in answer


def test_a_broken_device_ends_the_process(
    handler: Handler, checkpoint_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AN_ILLEGAL_ACCESS

    monkeypatch.setattr(Engine, "run", fail)
    with pytest.raises(SystemExit):
        handler.handle([request(photos.png(photos.street(40, 50)))], Context(checkpoint_dir))


def test_each_photo_is_one_line_with_its_ids(
    handler: Handler, checkpoint_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photo = photos.png(photos.street(40, 50))
    handler.handle([request(photo, photo)], Context(checkpoint_dir))
    lines = [json.loads(record.message) for record in caplog.records if record.name == "segserve.worker"]
    assert [(line["request_id"], line["traceparent"]) for line in lines] == [("id-0", "trace-0"), ("id-1", "trace-1")]
    assert {(line["message"], line["model"], line["batch_photos"]) for line in lines} == {("labelled", "tiny@1", 2)}


def test_a_photos_trace_goes_on_in_the_worker_and_its_engine(
    checkpoint_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    body = photos.png(photos.street(40, 50))
    traced = EncodedPhoto(body, "id-0", f"00-{trace}-{parent}-01", "vendor=1")
    kept_by_nobody = EncodedPhoto(body, "id-1", f"00-{trace}-{parent}-00")
    batch = bytearray(pack_request(Request([traced, kept_by_nobody], 160, False, 10**6)))
    with collector() as traces:
        monkeypatch.setenv(ENDPOINT, traces.url)
        monkeypatch.setattr(tracing, "_EXPORT_SECONDS", PATIENCE)
        handler = Handler()
        handler.initialize(Context(checkpoint_dir))
        handler.handle([{"body": batch}], Context(checkpoint_dir))
        assert handler.tracing is not None
        handler.tracing.stop()
    (handled,) = traces.named("handler")
    assert (handled.trace_id, handled.parent, handled.service) == (trace, parent, "segserve-worker")
    assert handled.state == "vendor=1"
    assert not handled.failed
    assert handled.attributes == {
        "segserve.request_id": "id-0",
        "segserve.model": "tiny@1",
        "segserve.batch_photos": "2",
    }
    (decoded,), (ran,) = traces.named("decode"), traces.named("engine")
    assert decoded.parent == ran.parent == handled.span_id
    assert handled.start_ns == decoded.start_ns <= decoded.end_ns == ran.start_ns <= ran.end_ns <= handled.end_ns


@pytest.mark.parametrize(
    ("failure", "end"), [(RuntimeError("out of paint"), nullcontext()), (AN_ILLEGAL_ACCESS, pytest.raises(SystemExit))]
)
def test_a_call_that_fails_is_in_the_trace_up_to_where_it_failed(
    checkpoint_dir: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception, end: AbstractContextManager[object]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise failure

    with collector() as traces:
        monkeypatch.setenv(ENDPOINT, traces.url)
        monkeypatch.setattr(tracing, "_EXPORT_SECONDS", PATIENCE)
        handler = Handler()
        handler.initialize(Context(checkpoint_dir))
        monkeypatch.setattr(Engine, "run", fail)
        with end:
            handler.handle([request(photos.png(photos.street(40, 50)))], Context(checkpoint_dir))
        assert handler.tracing is not None
        handler.tracing.stop()
    (handled,), (decoded,), (ran,) = (traces.named(name) for name in ("handler", "decode", "engine"))
    assert handled.failed
    assert decoded.parent == ran.parent == handled.span_id
    assert decoded.end_ns == ran.start_ns <= ran.end_ns <= handled.end_ns


def test_without_being_asked_a_worker_keeps_no_trace(handler: Handler) -> None:
    assert handler.tracing is None
