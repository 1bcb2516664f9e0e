"""What only shows on a real connection: clients that hang up, dawdle, or wait to be asked."""

import asyncio
import gc
import json
import logging
from collections.abc import AsyncIterator

import numpy as np
import pytest

from service.connection import Connection as ServedConnection
from service.telemetry.requests import CLIENT_CLOSED_REQUEST
from tests import photos
from tests.service.connection import Connection, connection
from tests.service.fakes import FakeBackend, FakeDevice
from tests.service.gateway import Gateway, eventually, on_a_socket

PHOTO = photos.png(photos.street(48, 80))
OTHER_STREET = np.full((48, 80, 3), 77, np.uint8)
SEGMENT = {"route": "/segment", "model": "fake@2"}
MIB = 2**20


@pytest.fixture
async def served(backend: FakeBackend) -> AsyncIterator[Gateway]:
    async with on_a_socket(backend, max_body_bytes=MIB, body_timeout_ms=10_000) as running:
        yield running


@pytest.fixture
async def caller(served: Gateway) -> AsyncIterator[Connection]:
    async with connection(served.client.base_url) as opened:
        yield opened


async def hung_up(served: Gateway, count: int = 1) -> None:
    await served.until("segserve_requests_total", count, **SEGMENT, status=CLIENT_CLOSED_REQUEST)
    assert served.metric("segserve_requests_in_flight") == 0
    assert served.metric("segserve_memory_reserved_bytes") == 0


async def test_a_good_photo_on_a_connection_that_stays(caller: Connection) -> None:
    for _ in range(3):
        await caller.post(PHOTO)
        reply = await caller.reply()
        assert (reply.status, json.loads(reply.body)["width"]) == (200, 80)
        assert "connection" not in reply.headers


async def test_a_client_that_hangs_up_half_way_through_its_body(served: Gateway) -> None:
    async with connection(served.client.base_url) as caller:
        await caller.post(PHOTO[:100], length=len(PHOTO))
        await served.until("segserve_memory_reserved_bytes", 100)
    await hung_up(served)
    assert served.metric("segserve_admitted_total", model="fake@2", priority="normal") == 0


async def test_a_client_that_hangs_up_while_its_photo_waits_frees_the_place(
    served: Gateway, device: FakeDevice
) -> None:
    device.gate.clear()
    first = asyncio.create_task(served.segment(PHOTO))
    await eventually(lambda: device.running == 1)
    async with connection(served.client.base_url) as caller:
        await caller.post(photos.png(OTHER_STREET))
        await served.until("segserve_queue_photos", 1)
    await served.until("segserve_queue_photos", 0)
    await served.until("segserve_dropped_total", 1, reason="cancelled")
    device.gate.set()
    assert (await first).status_code == 200
    await hung_up(served)
    assert not any(np.array_equal(photo, OTHER_STREET) for _, batch in device.batches for photo in batch)


async def test_a_client_that_hangs_up_while_its_photo_runs(served: Gateway, device: FakeDevice) -> None:
    device.gate.clear()
    warm = len(device.batches)
    async with connection(served.client.base_url) as caller:
        await caller.post(PHOTO)
        await eventually(lambda: len(device.batches) > warm)
    await hung_up(served)
    device.gate.set()
    assert (await served.segment(PHOTO)).status_code == 200


async def test_many_clients_that_hang_up_leave_nothing_behind(served: Gateway, device: FakeDevice) -> None:
    device.gate.clear()

    async def come_and_go(i: int) -> None:
        async with connection(served.client.base_url) as caller:
            await caller.post(PHOTO if i % 2 else PHOTO[:200], length=len(PHOTO))
            await asyncio.sleep(0.01 * (i % 5))

    await asyncio.gather(*(come_and_go(i) for i in range(30)))
    device.gate.set()
    await served.until("segserve_requests_in_flight", 0)
    assert served.metric("segserve_queue_photos") == 0
    assert served.metric("segserve_memory_reserved_bytes") == 0
    assert (await served.segment(PHOTO)).status_code == 200


async def test_a_chunked_body(caller: Connection) -> None:
    await caller.send(b"POST /segment HTTP/1.1\r\nHost: segserve\r\nTransfer-Encoding: chunked\r\n\r\n")
    for at in range(0, len(PHOTO), 1000):
        chunk = PHOTO[at : at + 1000]
        await caller.send(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
    await caller.send(b"0\r\n\r\n")
    assert (await caller.reply()).status == 200


async def test_a_chunked_body_over_the_limit(caller: Connection) -> None:
    await caller.send(b"POST /segment HTTP/1.1\r\nHost: segserve\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(17):
        await caller.send(b"10000\r\n" + bytes(0x10000) + b"\r\n")
    await caller.send(b"0\r\n\r\n")
    reply = await caller.reply()
    assert (reply.status, reply.headers["connection"]) == (413, "close")
    assert await caller.closed()


async def test_a_body_over_the_limit_gets_its_answer_although_it_is_still_being_sent(caller: Connection) -> None:
    await caller.post(bytes(2 * MIB))
    reply = await caller.reply()
    assert (reply.status, json.loads(reply.body)["type"]) == (413, "urn:segserve:problem:body-too-large")
    assert await caller.closed()


async def test_a_body_over_the_limit_that_never_comes_is_not_waited_for_long(caller: Connection) -> None:
    await caller.post(b"", length=MIB + 1)
    async with asyncio.timeout(20):
        assert (await caller.reply()).status == 413
    assert await caller.closed()


async def test_a_body_without_end_is_not_read_without_end(caller: Connection) -> None:
    await caller.send(b"POST /segment HTTP/1.1\r\nHost: segserve\r\nTransfer-Encoding: chunked\r\n\r\n")

    async def send_for_ever() -> None:
        while True:
            await caller.send(b"10000\r\n" + bytes(0x10000) + b"\r\n")

    async with asyncio.timeout(20):
        with pytest.raises(ConnectionError):
            await send_for_ever()


async def test_a_client_that_waits_to_be_asked_for_its_body(caller: Connection) -> None:
    await caller.post(b"", "Expect: 100-continue", length=len(PHOTO))
    assert (await caller.reply()).status == 100
    await caller.send(PHOTO)
    assert (await caller.reply()).status == 200


async def test_a_body_over_the_limit_is_not_asked_for(caller: Connection) -> None:
    await caller.post(b"", "Expect: 100-continue", length=MIB + 1)
    reply = await caller.reply()
    assert (reply.status, reply.headers["connection"]) == (413, "close")
    assert await caller.closed()


@pytest.mark.parametrize(
    ("path", "header", "status"),
    [("/segment?model=other", "", 404), ("/segment", "X-Priority: none", 422), ("/segment/", "", 404)],
)
async def test_an_answer_before_the_body_was_asked_for_ends_the_connection(
    caller: Connection, path: str, header: str, status: int
) -> None:
    await caller.post(b"", "Expect: 100-continue", *filter(None, [header]), path=path, length=len(PHOTO))
    reply = await caller.reply()
    assert (reply.status, reply.headers["connection"]) == (status, "close")
    assert await caller.closed()


async def test_connection_close(caller: Connection) -> None:
    await caller.post(PHOTO, "Connection: close")
    reply = await caller.reply()
    assert (reply.status, reply.headers["connection"]) == (200, "close")
    assert await caller.closed()


async def test_one_byte_at_a_time(backend: FakeBackend) -> None:
    async with on_a_socket(backend, body_timeout_ms=1000) as served, connection(served.client.base_url) as caller:
        await caller.post(b"", length=len(PHOTO))

        async def drip() -> None:
            for byte in PHOTO:
                await caller.send(bytes([byte]))
                await asyncio.sleep(0.1)

        dripping = asyncio.create_task(drip())
        reply = await caller.reply()
        dripping.cancel()
        assert (reply.status, json.loads(reply.body)["type"]) == (408, "urn:segserve:problem:body-too-slow")
        assert await caller.closed()
        assert served.metric("segserve_memory_reserved_bytes") == 0


async def test_an_unknown_model_leaves_the_connection_usable(caller: Connection) -> None:
    await caller.post(PHOTO, path="/segment?model=other")
    assert (await caller.reply()).status == 404
    await caller.post(PHOTO)
    assert (await caller.reply()).status == 200


async def test_an_error_of_our_own_is_in_the_log(
    served: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delattr(FakeBackend, "batch_key")
    with caplog.at_level(logging.ERROR):
        assert (await served.segment(PHOTO)).status_code == 500
    assert "batch_key" in caplog.text


async def test_answers_while_photos_are_in_work(served: Gateway, device: FakeDevice) -> None:
    device.gate.clear()
    waiting = [asyncio.create_task(served.segment(PHOTO)) for _ in range(20)]
    await served.until("segserve_admitted_total", 20, model="fake@2", priority="normal")
    for path in ("/livez", "/readyz", "/metrics", "/models"):
        assert (await served.client.get(path)).status_code == 200
    device.gate.set()
    assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {200}


async def test_who_says_nothing_or_half_a_header_is_not_waited_for(
    served: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connection(served.client.base_url) as caller:
        await caller.post(PHOTO)
        assert (await caller.reply()).status == 200
        monkeypatch.setattr("service.connection.HEADER_SECONDS", 1)
        await caller.send(b"POST /segment HTT")
        assert await caller.closed()
    for words in (b"", b"POST /segment HTTP/1.1\r\nHost: seg"):
        async with connection(served.client.base_url) as caller:
            await caller.send(words)
            assert await caller.closed()


async def test_a_connection_that_is_reset_leaves_nothing(served: Gateway) -> None:
    def kept() -> int:
        gc.collect()
        return sum(isinstance(one, ServedConnection) for one in gc.get_objects())

    before = kept()
    for _ in range(5):
        async with connection(served.client.base_url) as caller:
            await caller.post(PHOTO)
            assert (await caller.reply()).status == 200
            caller.reset()
    await eventually(lambda: kept() <= before)


async def test_who_does_not_read_its_answer_loses_it(backend: FakeBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else answers, of which no limit knows any more, would be kept as long as the client likes."""
    monkeypatch.setattr("service.connection.STALL_SECONDS", 0.3)
    noise = photos.png(np.random.default_rng(0).integers(0, 256, (1500, 2000, 3), np.uint8))
    async with on_a_socket(backend) as served, connection(served.client.base_url) as caller:
        await caller.post(noise, "Accept: image/png", path="/segment?output=overlay")
        await served.until("segserve_requests_total", 1, **SEGMENT, status=200)
        await asyncio.sleep(3)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await caller.reply()


async def test_a_slow_reader_is_waited_for(backend: FakeBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    # Of 18 MB the system takes 4 at once and more each half second: about four seconds pass until it has all.
    monkeypatch.setattr("service.connection.STALL_SECONDS", 3)
    noise = photos.png(np.random.default_rng(0).integers(0, 256, (3000, 2000, 3), np.uint8))
    async with on_a_socket(backend) as served, connection(served.client.base_url) as caller:
        await caller.post(noise, "Accept: image/png", path="/segment?output=overlay")
        reply = await caller.reply(pace=0.075)
        assert (reply.status, len(reply.body)) == (200, int(reply.headers["content-length"]))
