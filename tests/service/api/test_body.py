"""How a photo comes in: as the raw body or in a form, within limits of size, time and memory."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest

from tests import photos
from tests.service.fakes import FakeBackend, FakeDevice
from tests.service.gateway import Gateway, gateway
from tests.service.problems import problem_of

PHOTO = photos.png(photos.street(30, 40))


async def in_chunks(data: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    """Sent without a Content-Length."""
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def stalled(data: bytes) -> AsyncIterator[bytes]:
    yield data
    await asyncio.Event().wait()


def form(name: str = "image", data: bytes = PHOTO) -> dict[str, Any]:
    return {"files": {name: ("photo.png", data, "image/png")}}


async def test_a_body_without_a_content_length(served: Gateway) -> None:
    response = await served.client.post("/segment", content=in_chunks(PHOTO, 7))
    assert response.json()["width"] == 40


async def test_the_part_image_of_a_form(served: Gateway) -> None:
    response = await served.client.post("/segment", **form(), data={"note": "a street"})
    assert response.json()["width"] == 40


async def test_a_large_form_needs_no_disk(served: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (800, 800, 3), np.uint8)
    photo = photos.png(noise)
    assert len(photo) > 1_500_000
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    response = await served.client.post("/segment?output=labels", **form(data=photo))
    assert response.status_code == 200


@pytest.mark.parametrize(
    "request_parts",
    [
        form("photo"),
        {"files": {"note": (None, "a street")}},
        {"files": {"image": (None, "the photo's name")}},
        {"content": b"--x--\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
    ],
    ids=["another name", "a field", "a field called image", "nothing"],
)
async def test_a_form_without_the_photo(served: Gateway, request_parts: dict[str, Any]) -> None:
    problem = problem_of(await served.client.post("/segment", **request_parts), 422, "bad-parameter")
    assert "'image'" in problem["detail"]


@pytest.mark.parametrize(
    "request_parts",
    [
        {"content": PHOTO, "headers": {"Content-Type": "multipart/form-data"}},
        {"content": PHOTO, "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
        {"content": b"--x\r\nContent", "headers": {"Content-Type": "Multipart/Form-Data; boundary=x"}},
        {"files": [("image", ("1.png", PHOTO)), ("image", ("2.png", PHOTO))]},
        {"files": {"image": ("photo.png", PHOTO)}, "data": {f"field-{i}": "" for i in range(17)}},
    ],
    ids=["no boundary", "no form", "cut off", "two photos", "many fields"],
)
async def test_a_form_that_cannot_be_parsed(served: Gateway, request_parts: dict[str, Any]) -> None:
    response = await served.client.post("/segment", **request_parts)
    assert response.status_code in (400, 422)
    problem = problem_of(
        response, response.status_code, {400: "malformed-body", 422: "bad-parameter"}[response.status_code]
    )
    assert "send the photo" in problem["detail"]


@pytest.mark.parametrize("content", [b"x" * 101, in_chunks(b"x" * 101, 30)], ids=["announced", "chunked"])
async def test_a_body_over_the_limit(backend: FakeBackend, content: Any) -> None:
    async with gateway(backend, max_body_bytes=100) as served:
        response = await served.client.post("/segment", content=content)
        problem = problem_of(response, 413, "body-too-large")
        assert "100 bytes" in problem["detail"]
        assert response.headers["connection"] == "close"
        assert served.pipeline.memory.held == 0


async def test_a_body_at_the_limit(backend: FakeBackend) -> None:
    async with gateway(backend, max_body_bytes=len(PHOTO)) as served:
        assert (await served.segment(PHOTO)).status_code == 200
        assert (await served.client.post("/segment", content=in_chunks(PHOTO))).status_code == 200


async def test_a_body_that_comes_too_slowly(backend: FakeBackend) -> None:
    async with gateway(backend, body_timeout_ms=100) as served:
        response = await served.client.post("/segment", content=stalled(PHOTO[:50]))
        problem = problem_of(response, 408, "body-too-slow")
        assert "100 ms" in problem["detail"]
        assert response.headers["connection"] == "close"
        assert served.pipeline.memory.held == 0


async def test_bodies_share_the_memory(backend: FakeBackend) -> None:
    async with gateway(backend, max_memory_bytes=1000) as served:
        first = asyncio.create_task(served.client.post("/segment", content=stalled(b"x" * 600)))
        await served.until("segserve_memory_reserved_bytes", 600)
        response = await served.segment(b"x" * 600)
        problem = problem_of(response, 429, "overloaded")
        assert "memory" in problem["detail"]
        assert response.headers["connection"] == "close"
        assert served.metric("segserve_refused_total", reason="memory") == 1
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert served.pipeline.memory.held == 0


@pytest.mark.parametrize("parts", [{"content": PHOTO}, form()], ids=["raw", "form"])
async def test_a_photo_larger_than_the_ceiling_goes_alone(
    backend: FakeBackend, device: FakeDevice, parts: dict[str, Any]
) -> None:
    async with gateway(backend, max_memory_bytes=len(PHOTO) + 1000) as served:
        device.gate.clear()
        first = asyncio.create_task(served.client.post("/segment", **parts))
        await served.until("segserve_admitted_total", 1, model="fake@2", priority="normal")
        problem_of(await served.client.post("/segment", **parts), 429, "overloaded")
        device.gate.set()
        assert (await first).status_code == 200
        assert (await served.client.post("/segment", **parts)).status_code == 200


async def test_memory_is_held_until_the_answer(served: Gateway, device: FakeDevice) -> None:
    device.gate.clear()
    answering = asyncio.create_task(served.segment(PHOTO))
    await served.until("segserve_admitted_total", 1, model="fake@2", priority="normal")
    assert served.metric("segserve_memory_reserved_bytes") > len(PHOTO) + 30 * 40 * 3
    device.gate.set()
    assert (await answering).status_code == 200
    assert served.metric("segserve_memory_reserved_bytes") == 0


async def test_an_error_gives_the_memory_back(served: Gateway) -> None:
    for bad in (b"", b"text", photos.truncated_jpeg(), photos.png_claiming(40_000, 40_000)):
        response: httpx.Response = await served.segment(bad)
        assert response.status_code in (400, 413)
        assert served.metric("segserve_memory_reserved_bytes") == 0
