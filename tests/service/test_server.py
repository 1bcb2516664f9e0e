"""How long the gateway keeps connections, and how it ends: drained on the first signal, at once on the second."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import httpx
import pytest

from service.server import _LAST_SECONDS, LEAVING_SECONDS
from tests import photos
from tests.service.connection import connection
from tests.service.gateway import PATIENCE, eventually
from tests.service.problems import problem_of
from tests.service.server_process import ServerProcess, server_process

PHOTO = photos.png(photos.street(48, 80))
SIGNALS = [signal.SIGTERM, signal.SIGINT]
SLOW_SERVER = "from tests.service.slow_server import main; main()"
Start = Callable[..., ServerProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a server whose batches take so long. last_s: in place of _LAST_SECONDS."""
    with ExitStack() as running:

        def start(seconds: float, drain_s: int, *flags: str, last_s: float = _LAST_SECONDS) -> ServerProcess:
            program = f"import service.server; service.server._LAST_SECONDS = {last_s}; {SLOW_SERVER}"
            arguments = ["-c", program, "--seconds", seconds, "--drain-s", drain_s, *flags]
            return running.enter_context(server_process(arguments, tmp_path / "log"))

        yield start


def client(server: ServerProcess) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url, timeout=PATIENCE, limits=httpx.Limits(max_connections=None))


def ask(opened: httpx.AsyncClient) -> asyncio.Task[httpx.Response]:
    return asyncio.create_task(opened.post("/segment?output=labels&timeout_ms=600000", content=PHOTO))


async def admitted(opened: httpx.AsyncClient, count: int) -> None:
    line = f'segserve_admitted_total{{model="fake@2",priority="normal"}} {count:.1f}'
    async with asyncio.timeout(PATIENCE):
        while line not in (await opened.get("/metrics")).text:  # noqa: ASYNC110 (nobody notifies us)
            await asyncio.sleep(0.02)


async def logged(server: ServerProcess, word: str) -> None:
    await eventually(lambda: any(word in line["message"] for line in server.log()))


def logged_at(server: ServerProcess, word: str) -> datetime:
    return next(datetime.fromisoformat(line["time"]) for line in server.log() if word in line["message"])


@pytest.mark.parametrize("number", SIGNALS)
async def test_what_was_accepted_is_answered_and_what_comes_is_served_for_a_while_and_then_refused(
    start: Start, number: signal.Signals
) -> None:
    server = start(1, 120)
    async with client(server) as opened:
        asked = time.monotonic()
        # Twice as many as are done while it still accepts some: the rest must outlast what is asked of it then.
        accepted = [ask(opened) for _ in range(80)]
        await admitted(opened, 80)
        began = time.monotonic()
        server.send(number)
        await logged(server, "leaving")
        problem_of(await opened.get("/readyz"), 503, "not-ready")
        accepted += [ask(opened) for _ in range(4)]
        await admitted(opened, 84)
        await logged(server, "draining")
        assert time.monotonic() - began >= LEAVING_SECONDS
        problem_of(await opened.get("/readyz"), 503, "not-ready")
        refused = await asyncio.gather(*(ask(opened) for _ in range(10)))
        for answer in refused:
            assert "shutting down" in problem_of(answer, 503, "not-ready")["detail"]
            assert int(answer.headers["retry-after"]) >= 5
            assert answer.headers["connection"] == "close"
        alive = await opened.get("/livez")
        assert alive.status_code == 200
        answers = await asyncio.gather(*accepted)
        assert [answer.status_code for answer in answers] == [200] * 84
        # The next request of this client must find another instance.
        assert alive.headers["connection"] == answers[-1].headers["connection"] == "close"
    assert server.wait() == 0
    # 21 batches at least, and not all the time that it had.
    assert 20 < time.monotonic() - asked < 100


async def test_who_keeps_a_connection_closes_it_first(start: Start) -> None:
    # This side must not: a photo that is sent just then is lost, and nobody dares to send it again unasked.
    server = start(0, 20)
    async with connection(server.url) as kept:
        await kept.post(PHOTO)
        assert (await kept.reply()).status == 200
        await asyncio.sleep((httpx.Limits().keepalive_expiry or 0) + 1)
        await kept.post(PHOTO)
        assert (await kept.reply()).status == 200
    server.send(signal.SIGTERM)
    assert server.wait() == 0


async def test_a_connection_that_is_kept_is_told_to_go_elsewhere_with_an_answer(start: Start) -> None:
    server = start(0, 20)
    async with connection(server.url) as kept:
        for _ in range(2):
            await kept.post(PHOTO)
            assert (await kept.reply()).headers.get("connection") != "close"
        server.send(signal.SIGTERM)
        await logged(server, "leaving")
        await kept.post(PHOTO)
        reply = await kept.reply()
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert await kept.closed()
    assert server.wait() == 0
    # Nobody was left to wait for.
    assert (logged_at(server, "draining") - logged_at(server, "leaving")).total_seconds() < LEAVING_SECONDS - 0.5


async def test_under_load_no_answer_is_lost(start: Start) -> None:
    server = start(0.1, 20)
    answers: list[int] = []

    async def keep_asking() -> None:
        async with client(server) as opened:
            while True:
                try:
                    answers.append((await ask(opened)).status_code)
                except httpx.TransportError:
                    return  # It has ended.

    asking = [asyncio.create_task(keep_asking()) for _ in range(24)]
    await eventually(lambda: len(answers) > 100)
    server.send(signal.SIGTERM)
    await asyncio.gather(*asking)
    assert server.wait() == 0
    logged = [line["status"] for line in server.log() if line["message"].startswith("POST /segment")]
    # Refusals come only where photos are in work when it drains. Where clients are slow there may be none.
    assert set(answers) <= {200, 503}
    assert answers.count(200) == logged.count(200)


@pytest.mark.parametrize("number", SIGNALS)
async def test_an_idle_server_ends_at_once(start: Start, number: signal.Signals) -> None:
    server = start(0, 60)
    began = time.monotonic()
    server.send(number)
    assert server.wait() == 0
    assert time.monotonic() - began < 10


async def test_what_takes_longer_is_given_up(start: Start) -> None:
    # An end by force, which is not what is meant here, has another status.
    server = start(60, 1, last_s=PATIENCE)
    async with client(server) as opened:
        lost = [ask(opened) for _ in range(6)]
        await admitted(opened, 6)
        began = time.monotonic()
        server.send(signal.SIGTERM)
        outcomes = await asyncio.gather(*lost, return_exceptions=True)
    assert server.wait() == 0
    assert 1 <= time.monotonic() - began < 10
    assert not any(isinstance(outcome, httpx.Response) and outcome.status_code == 200 for outcome in outcomes)


async def test_a_device_that_hangs_does_not_hold_up_the_end(start: Start) -> None:
    server = start(600, 0, "--hangs")
    async with client(server) as opened:
        lost = ask(opened)
        await admitted(opened, 1)
        server.send(signal.SIGTERM)
        await asyncio.gather(lost, return_exceptions=True)
    assert server.wait(20) == 1


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_second_signal_ends_the_process_at_once(start: Start, number: signal.Signals) -> None:
    server = start(60, 60)
    async with client(server) as opened:
        lost = ask(opened)
        await admitted(opened, 1)
        server.send(signal.SIGTERM)
        await logged(server, "leaving")
        assert server.running()
        server.send(number)
        assert server.wait(10) == -number
        with pytest.raises(httpx.TransportError):
            await lost
