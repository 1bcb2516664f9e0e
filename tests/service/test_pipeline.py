"""Limits on the way of a photo: what is refused, what is dropped, what fails, and what that costs the others."""

import asyncio
import logging
import math
import threading
from collections.abc import AsyncIterator

import numpy as np
import pytest

import service.pipeline
from images import decode
from service.backends.base import Photo
from service.errors import RETRY_JITTER
from tests import photos
from tests.service.fakes import FakeBackend, FakeDevice, brightness_labels
from tests.service.gateway import Gateway, eventually, gateway
from tests.service.problems import problem_of

STREET = photos.street(48, 80)
PHOTO = photos.png(STREET)
BAD_STREET = np.full((48, 80, 3), 77, np.uint8)
BAD_PHOTO = photos.png(BAD_STREET)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The bodies that were decoded."""
    seen: list[bytes] = []

    def decode_and_tell(data: bytes, *, max_pixels: int) -> Photo:
        seen.append(data)
        return decode(data, max_pixels=max_pixels)

    monkeypatch.setattr(service.pipeline, "decode", decode_and_tell)
    return seen


@pytest.fixture
async def slow(backend: FakeBackend) -> AsyncIterator[Gateway]:
    """It has learned that a photo, alone in its batch, takes 50 s; now it takes until the gate opens.

    Such seconds do not pass: they are many so that those which do are few beside them.
    """
    backend.device.claims = 50.0
    async with gateway(
        backend, codec_threads=1, batch_pixels=64 * 96, timeout_ms=340_000, max_timeout_ms=340_000
    ) as running:
        backend.device.claims = None
        backend.device.gate.clear()
        yield running
        backend.device.gate.set()


async def admitted(served: Gateway, count: int) -> None:
    await served.until("segserve_admitted_total", count, model="fake@2", priority="normal")


async def test_a_deadline_that_cannot_be_met_is_refused_before_decoding(served: Gateway, decoded: list[bytes]) -> None:
    problem = problem_of(await served.segment(PHOTO, timeout_ms=1), 429, "overloaded")
    assert "timeout_ms" in problem["detail"]
    assert "even on an idle service" in problem["detail"]
    assert decoded == []
    assert served.metric("segserve_refused_total", reason="deadline") == 1
    assert served.metric("segserve_admitted_total", model="fake@2", priority="normal") == 0


async def test_a_busy_service_refuses_and_says_when_to_come_back(
    slow: Gateway, device: FakeDevice, decoded: list[bytes]
) -> None:
    waiting = [asyncio.create_task(slow.segment(PHOTO)) for _ in range(6)]
    await admitted(slow, 6)
    response = await slow.segment(PHOTO)
    problem = problem_of(response, 429, "overloaded")
    assert "busy" in problem["detail"]
    # Six of 50 s and its own, less what is gone already, and a margin.
    assert 0 < problem["retry_after_ms"] <= 50_000
    seconds = problem["retry_after_ms"] / 1000
    assert math.ceil(seconds) <= int(response.headers["retry-after"]) <= math.ceil(seconds * (1 + RETRY_JITTER))
    assert slow.metric("segserve_demand_pixels_total", model="fake@2", outcome="refused") == 64 * 96
    assert slow.metric("segserve_demand_pixels_total", model="fake@2", outcome="admitted") == 6 * 64 * 96
    device.gate.set()
    assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [200] * 6
    assert len(decoded) == 6
    assert (await slow.segment(PHOTO)).status_code == 200


async def test_a_large_first_photo_is_priced_as_a_photo_and_not_as_a_batch(slow: Gateway) -> None:
    # Damaged: what counts is that it was admitted and decoded.
    problem_of(await slow.segment(photos.png_claiming(5000, 4000)), 400, "damaged-image")


async def test_small_photos_do_not_make_large_ones_look_slow(backend: FakeBackend) -> None:
    dot = photos.png(photos.street(1, 1))
    # By the pixel it would seem to take half an hour. As it is, minutes at most, should a small one be held up.
    async with gateway(backend, timeout_ms=600_000, max_timeout_ms=600_000) as served:
        for _ in range(40):
            assert (await served.segment(dot)).status_code == 200
        problem_of(await served.segment(photos.png_claiming(5000, 4000)), 400, "damaged-image")


async def test_photos_that_need_more_memory_than_there_is_are_refused_before_decoding(
    backend: FakeBackend, decoded: list[bytes]
) -> None:
    backend.device.gate.set()
    async with gateway(backend, max_memory_bytes=100_000) as served:
        backend.device.gate.clear()
        first = asyncio.create_task(served.segment(PHOTO))
        await admitted(served, 1)
        problem = problem_of(await served.segment(PHOTO), 429, "overloaded")
        assert "memory" in problem["detail"]
        assert served.metric("segserve_refused_total", reason="memory") == 1
        backend.device.gate.set()
        assert (await first).status_code == 200
        assert len(decoded) == 1
        assert (await served.segment(PHOTO)).status_code == 200


async def test_what_a_network_needs_for_a_large_input_counts(backend: FakeBackend) -> None:
    """A small file may ask for a large input, and two of them for more memory than there is."""
    backend.bytes_per_padded_pixel = 72
    large = photos.png(photos.street(300, 512))
    backend.device.gate.set()
    async with gateway(backend, batch_pixels=10_000, max_memory_bytes=20_000_000) as served:
        backend.device.gate.clear()
        first = asyncio.create_task(served.segment(large, long_side=512))
        await admitted(served, 1)
        assert served.metric("segserve_memory_reserved_bytes") > 72 * 100_000
        problem = problem_of(await served.segment(large, long_side=512), 429, "overloaded")
        assert "memory" in problem["detail"]
        # What goes in an ordinary batch costs no more than its pixels.
        small = asyncio.create_task(served.segment(PHOTO))
        await admitted(served, 2)
        backend.device.gate.set()
        assert [(await one).status_code for one in (first, small)] == [200, 200]
        assert served.metric("segserve_memory_reserved_bytes") == 0


async def test_past_its_deadline_a_photo_is_dropped_from_the_queue(served: Gateway, device: FakeDevice) -> None:
    device.gate.clear()
    running = asyncio.create_task(served.segment(PHOTO))
    await eventually(lambda: device.running == 1)
    problem = problem_of(await served.segment(BAD_PHOTO, timeout_ms=300), 504, "deadline-exceeded")
    assert "300 ms" in problem["detail"]
    await served.until("segserve_queue_photos", 0)
    assert served.metric("segserve_dropped_total", reason="expired") == 1
    device.gate.set()
    assert (await running).status_code == 200
    await served.segment(PHOTO)
    assert not any(np.array_equal(photo, BAD_STREET) for _, batch in device.batches for photo in batch)


async def test_past_its_deadline_a_photo_is_not_decoded(backend: FakeBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded, finish = [], threading.Event()

    def decode_slowly(data: bytes, *, max_pixels: int) -> Photo:
        decoded.append(data)
        finish.wait()
        return decode(data, max_pixels=max_pixels)

    async with gateway(backend, codec_threads=1) as served:
        monkeypatch.setattr(service.pipeline, "decode", decode_slowly)
        first = asyncio.create_task(served.segment(PHOTO))
        await admitted(served, 1)
        problem_of(await served.segment(BAD_PHOTO, timeout_ms=300), 504, "deadline-exceeded")
        finish.set()
        assert (await first).status_code == 200
        assert decoded == [PHOTO]


async def test_a_deadline_above_the_ceiling_is_clamped(backend: FakeBackend) -> None:
    async with gateway(backend, max_timeout_ms=300) as served:
        backend.device.gate.clear()
        problem = problem_of(await served.segment(PHOTO, timeout_ms=10**12), 504, "deadline-exceeded")
        assert "300 ms" in problem["detail"]
        backend.device.gate.set()


async def test_the_settings_give_the_deadline_of_a_request_that_sets_none(backend: FakeBackend) -> None:
    async with gateway(backend, timeout_ms=300) as served:
        backend.device.gate.clear()
        problem = problem_of(await served.segment(PHOTO), 504, "deadline-exceeded")
        assert "300 ms" in problem["detail"]
        backend.device.gate.set()


async def test_the_deadline_counts_from_the_last_byte_of_the_body(served: Gateway) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        yield PHOTO[:100]
        await asyncio.sleep(3.2)
        yield PHOTO[100:]

    response = await served.client.post("/segment?timeout_ms=3000", content=slowly())
    assert response.status_code == 200


async def test_a_photo_that_the_device_fails_on_fails_alone(
    served: Gateway, device: FakeDevice, caplog: pytest.LogCaptureFixture
) -> None:
    warm = len(device.batches)
    device.fails_on = lambda photo: bool((photo == 77).all())
    device.gate.clear()
    waiting = [asyncio.create_task(served.segment(photo)) for photo in (PHOTO, PHOTO, BAD_PHOTO, PHOTO)]
    await served.until("segserve_queue_photos", 3)
    with caplog.at_level(logging.ERROR, "segserve"):
        device.gate.set()
        *mates, bad, last = await asyncio.gather(*waiting)
    problem = problem_of(bad, 500, "inference-failed")
    assert "log" in problem["detail"]
    assert "out of paint" in caplog.text
    assert [answer.status_code for answer in (*mates, last)] == [200] * 3
    assert served.metric("segserve_dropped_total", reason="failed") == 1
    assert max(len(batch) for _, batch in device.batches[warm:]) == 3


async def test_a_device_that_answers_too_little(served: Gateway, device: FakeDevice) -> None:
    device.spoil = lambda results: results[1:]
    problem_of(await served.segment(PHOTO), 500, "inference-failed")
    device.spoil = lambda results: results
    assert (await served.segment(PHOTO)).status_code == 200


async def test_damage_that_only_decoding_finds_costs_no_device_time(served: Gateway, device: FakeDevice) -> None:
    before = len(device.batches)
    problem_of(await served.segment(photos.corrupt_middle_jpeg()), 400, "damaged-image")
    assert len(device.batches) == before


async def test_every_model_is_warmed_on_every_device(backend: FakeBackend) -> None:
    backend.waiting = [FakeDevice(id="fake-0"), FakeDevice(id="fake-1")]
    async with gateway(backend):
        for device in backend.waiting:
            assert {key.model for key, _ in device.batches} == {"fake@1", "fake@2"}


async def test_several_devices_share_the_photos(backend: FakeBackend) -> None:
    backend.waiting = [FakeDevice(id=f"fake-{i}") for i in range(3)]
    async with gateway(backend) as served:
        for device in backend.waiting:
            device.batches.clear()
            device.gate.clear()
        streets = [photos.street(32, 32 + i, seed=i) for i in range(12)]
        asked = [asyncio.create_task(served.segment(photos.png(street))) for street in streets]
        await eventually(lambda: all(device.running for device in backend.waiting))
        for device in backend.waiting:
            device.gate.set()
        answers = await asyncio.gather(*asked)
    for street, answer in zip(streets, answers, strict=True):
        counts = np.bincount(brightness_labels(street).ravel(), minlength=11)
        assert {entry["id"]: entry["pixels"] for entry in answer.json()["classes"]} == {
            i: count for i, count in enumerate(counts) if count
        }
