import asyncio
from itertools import pairwise

import pytest

from loadtests.client import Client, closed_loop, open_loop
from loadtests.loopback import free_port
from loadtests.requests import Request, post
from tests.loadtests.answering import OK, REFUSAL, answering

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
PLAIN = Request(post("/x", b"body"))


async def test_a_request_carries_its_headers_and_its_body_length() -> None:
    async with answering(lambda _: OK) as server:
        client = Client(server.port)
        await client.send(Request(post("/there", b"12345", {"X-Priority": "batch"})))
        client.close()
    assert server.requests[0].startswith(b"POST /there HTTP/1.1\r\n")
    assert b"X-Priority: batch\r\n" in server.requests[0]
    assert b"Content-Length: 5\r\n" in server.requests[0]


async def test_a_connection_is_kept_for_the_next_request_whatever_the_framing() -> None:
    async with answering(lambda number: CHUNKED if number else OK) as server:
        client = Client(server.port)
        samples = [await client.send(PLAIN) for _ in range(3)]
        client.close()
    assert [sample.status for sample in samples] == [200] * 3
    assert server.connections == 1


async def test_connections_are_as_many_as_are_busy_at_once() -> None:
    async with answering(lambda _: OK, delay=0.02) as server:
        client = Client(server.port)
        await asyncio.gather(*(client.send(PLAIN) for _ in range(5)))
        await asyncio.gather(*(client.send(PLAIN) for _ in range(4)))
        client.close()
    assert server.connections == 5


async def test_a_refusal_keeps_the_prediction_and_the_header() -> None:
    async with answering(lambda _: REFUSAL) as server:
        client = Client(server.port)
        sample = await client.send(PLAIN)
        client.close()
    assert (sample.status, sample.retry_after_ms, sample.retry_after_s) == (429, 1234.0, 2.0)


async def test_an_answer_tells_when_it_was_taken() -> None:
    timed = b"HTTP/1.1 200 OK\r\nServer-Timing: decode;dur=1.50, queue;dur=8.50\r\nContent-Length: 0\r\n\r\n"
    async with answering(lambda number: timed if number else OK) as server:
        client = Client(server.port)
        silent, telling = await client.send(PLAIN), await client.send(PLAIN)
        client.close()
    assert (silent.worked_s, silent.admitted) == (None, silent.sent)
    assert telling.admitted == pytest.approx(telling.answered - 0.01)


async def test_a_hang_up_is_no_answer_to_a_request_that_was_sent() -> None:
    async with answering(lambda _: None) as server:
        sample = await Client(server.port).send(PLAIN)
    assert sample.status is None
    assert sample.fully_sent


async def test_a_request_that_finds_nobody_was_not_sent() -> None:
    sample = await Client(free_port()).send(PLAIN)
    assert sample.status is None
    assert not sample.fully_sent


async def test_a_client_that_gives_up_hangs_up() -> None:
    async with answering(lambda _: OK, delay=0.05) as server:
        client = Client(server.port)
        post = asyncio.create_task(client.send(PLAIN))
        await asyncio.sleep(0.01)
        post.cancel()
        await asyncio.gather(post, return_exceptions=True)
        # A kept connection would hand this request the answer to the last one.
        assert (await client.send(PLAIN)).status == 200
        client.close()
    assert server.connections == 2


async def test_a_closed_loop_has_never_more_requests_out_than_clients() -> None:
    async with answering(lambda _: OK, delay=0.005) as server:
        samples = await closed_loop(server.port, [PLAIN], clients=3, seconds=3)
    assert server.connections == 3
    assert len(samples) == len(server.requests) > 3


async def test_an_open_loop_waits_for_no_answer() -> None:
    async with answering(lambda _: OK, delay=10) as server:
        samples = await open_loop(server.port, [PLAIN], rate=100, seconds=0.3, patience=0.05)
    assert len(samples) == server.connections > 10
    assert {sample.status for sample in samples} == {None}


async def test_the_same_seed_makes_the_same_arrivals() -> None:
    async with answering(lambda _: OK) as server:
        first, second, other = [
            await open_loop(server.port, [PLAIN], rate=200, seconds=0.2, seed=seed) for seed in (1, 1, 2)
        ]
    gaps = [[round(b.due - a.due, 6) for a, b in pairwise(run)] for run in (first, second, other)]
    assert gaps[0] == gaps[1] != gaps[2]
    assert all(sample.status == 200 and sample.answered > sample.sent >= sample.due for sample in first)


async def test_a_mix_is_drawn_by_weight() -> None:
    often, seldom = Request(post("/often", b""), weight=9), Request(post("/seldom", b""), weight=1)
    async with answering(lambda _: OK) as server:
        await open_loop(server.port, [often, seldom], rate=1000, seconds=0.3)
    share = sum(b"/seldom" in head for head in server.requests) / len(server.requests)
    assert 0.02 < share < 0.3
