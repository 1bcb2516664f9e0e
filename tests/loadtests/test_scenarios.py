"""Each scenario for a moment against the real service in a process of its own; that it runs, not how fast."""

import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from loadtests.loopback import free_port
from loadtests.photos import lean_photo
from loadtests.process import ServerProcess, StartFailed, running
from loadtests.requests import mixed, segment
from loadtests.scenarios.abandoned import abandoned
from loadtests.scenarios.drain import drain
from loadtests.scenarios.load import capacity, closed, opened
from loadtests.scenarios.priorities import priorities
from loadtests.scenarios.retry_after import retry_after

DEADLINE_MS = 500
SECONDS = 3
"""Long enough that a busy machine does not miss every answer of it."""


def start(log: Path) -> AbstractAsyncContextManager[ServerProcess]:
    port = free_port()
    command = [sys.executable, "-m", "loadtests.fake_server", "--port", str(port), "--log-level", "warning"]
    return running(command, port, ready_path="/readyz", log=log)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    async with start(tmp_path / "log") as process:
        yield process


async def test_the_loads_end_to_end(server: ServerProcess) -> None:
    photo = segment(lean_photo())
    alone = await closed(server, [photo], clients=1, seconds=SECONDS)
    assert alone.summary.statuses.keys() == {"200"}
    assert alone.rss_mb > 10
    most = await capacity(server, [photo], clients=16, seconds=SECONDS)
    assert most > 0
    mix = mixed({(192, 256): 0.8, (256, 384): 0.2}, timeout_ms=DEADLINE_MS)
    overload = await opened(server, mix, load=2, capacity=200, deadline=DEADLINE_MS / 1000, seconds=1)
    assert overload.summary.accepted > 0
    assert overload.summary.by_priority.keys() == {"interactive", "normal", "batch"}


async def test_the_awkward_clients_end_to_end(server: ServerProcess) -> None:
    photo = segment(lean_photo())
    probes = await abandoned(server.port, photo, clients=20, quiet=0.1)
    assert None not in (probes.probe_before_ms, probes.probe_after_ms, probes.probe_later_ms)
    interactive, batch = (segment(lean_photo(), priority=p) for p in ("interactive", "batch"))
    calm = await priorities(server.port, interactive, batch, rate=20, clients=16, seconds=SECONDS)
    assert calm.interactive > 0
    assert calm.batch_throughput > 0
    burst = segment(lean_photo(), timeout_ms=DEADLINE_MS)
    waits = await retry_after(server.port, burst, capacity=190, deadline=DEADLINE_MS / 1000, bursts=1)
    assert waits.header_valid == 1


async def test_sigterm_end_to_end(tmp_path: Path) -> None:
    result = await drain(lambda: start(tmp_path / "log"), [segment(lean_photo())], rate=50, requests=20)
    assert result.answered >= 20
    assert result.requests == result.answered + result.turned_away + result.cut + result.lost


async def test_a_server_that_ends_says_why(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such device')"]
    with pytest.raises(StartFailed, match="no such device"):
        async with running(command, free_port(), ready_path="/", log=tmp_path / "log"):
            pass
