"""Whatever happens to a worker under load: nothing that was accepted is lost, nothing outlasts its deadline.

TORCHSERVE_STOP_S: how long a process is stopped (make prove-torchserve: 10 s). TORCHSERVE_ROUNDS: how often each fault
is made.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from models.engine.loading import find, load_network
from models.weights.checkpoint import save
from tests import photos
from tests.service.backends.torchserve.conftest import StartGateway
from tests.service.gateway import PATIENCE, Gateway
from tests.worker.process import STOP_SECONDS, WorkerProcess, worker_process

ROUNDS = int(os.environ.get("TORCHSERVE_ROUNDS", "1"))
CLIENTS = 6
# Within which TorchServe may have to start anew, or two Python processes one after the other.
DEADLINE_MS = 200_000
# A client's clock and a busy machine: what an answer may come after its deadline.
SLACK = 2.0
# Refused before anything was promised, with a Retry-After.
REFUSED = (429, 503)


@dataclass
class Load:
    """Answers by status, and the longest that one took."""

    statuses: Counter[int] = field(default_factory=Counter)
    longest: float = 0.0
    unready: bool = False
    """/readyz said so at least once."""

    @property
    def answered(self) -> int:
        return self.statuses[200]


@asynccontextmanager
async def load_on(served: Gateway) -> AsyncIterator[Load]:
    """Some clients in closed loop."""
    load = Load()
    bodies = [photos.png(photos.street(100 + 10 * i, 130, seed=i)) for i in range(CLIENTS)]

    async def client(body: bytes) -> None:
        while True:
            started = time.perf_counter()
            answer = await served.segment(body, "image/png", timeout_ms=DEADLINE_MS)
            load.longest = max(load.longest, time.perf_counter() - started)
            load.statuses[answer.status_code] += 1
            if answer.status_code in REFUSED:
                assert int(answer.headers["Retry-After"]) >= 1
                await asyncio.sleep(0.05)

    async def probe() -> None:
        while True:
            load.unready |= (await served.client.get("/readyz")).status_code == 503
            await asyncio.sleep(0.02)

    clients = [asyncio.create_task(client(body)) for body in bodies]
    watching = asyncio.create_task(probe())
    try:
        yield load
    finally:
        watching.cancel()
        for task in clients:
            task.cancel()
        outcomes = await asyncio.gather(*clients, watching, return_exceptions=True)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes), outcomes


async def answers(load: Load, more: int) -> None:
    """Wait for that many more."""
    wanted = load.answered + more
    async with asyncio.timeout(DEADLINE_MS / 1000):
        while load.answered < wanted:  # noqa: ASYNC110 (a counter notifies nobody)
            await asyncio.sleep(0.01)


def expect_nothing_lost(load: Load) -> None:
    assert load.statuses.keys() <= {200, *REFUSED}, load.statuses
    assert load.longest < DEADLINE_MS / 1000 + SLACK


@contextmanager
def stopped(process: psutil.Process) -> Iterator[None]:
    process.suspend()
    try:
        yield
    finally:
        # On a machine that stalls it may have been silent for so long that TorchServe has killed it.
        with suppress(psutil.NoSuchProcess):
            process.resume()


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print past pytest's capture."""

    def show(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}", flush=True)  # noqa: T201 (a measured figure)

    return show


@pytest.mark.parametrize("victim", ["python", "java"])
async def test_killed_under_load(
    gateway_of: StartGateway, worker: WorkerProcess, tell: Callable[[str], None], victim: str
) -> None:
    async with gateway_of(max_timeout_ms=DEADLINE_MS) as served, load_on(served) as load:
        for _ in range(ROUNDS):
            await answers(load, 20)
            load.unready = False
            process = worker.python() if victim == "python" else worker.java()
            process.kill()
            killed = time.perf_counter()
            await served.until("segserve_ready", 0)
            # It will be back: nobody is told that there is no such model.
            assert (await served.client.get("/models/tiny")).status_code == 200
            await served.until("segserve_ready", 1)
            await answers(load, 20)
            tell(f"kill -9 of the {victim} process: in service again after {time.perf_counter() - killed:.1f} s")
            assert load.unready
        retried = served.metric("segserve_retried_total", model="tiny@1")
    expect_nothing_lost(load)
    assert retried > 0


async def test_stopped_under_load(gateway_of: StartGateway, worker: WorkerProcess, tell: Callable[[str], None]) -> None:
    async with gateway_of(max_timeout_ms=DEADLINE_MS) as served, load_on(served) as load:
        await answers(load, 50)
        with stopped(worker.python()):
            await served.until("segserve_ready", 0)
            await asyncio.sleep(STOP_SECONDS)
        continued = time.perf_counter()
        await answers(load, 20)
        tell(f"SIGSTOP for {STOP_SECONDS:g} s: in service again {time.perf_counter() - continued:.1f} s after SIGCONT")
        assert load.unready
    expect_nothing_lost(load)


async def test_a_photo_that_crashes_the_handler_fails_alone(gateway_of: StartGateway) -> None:
    body = photos.png(photos.street(90, 130))
    async with gateway_of(timeout_ms=DEADLINE_MS, max_timeout_ms=DEADLINE_MS) as served:

        async def send(number: int) -> int:
            headers = {"X-Request-Id": "crash" if number == 3 else f"innocent-{number}"}
            return (await served.client.post("/segment", content=body, headers=headers)).status_code

        statuses = await asyncio.gather(*(send(number) for number in range(8)))
        assert statuses.pop(3) == 500
        assert set(statuses) == {200}
        assert served.metric("segserve_batch_photos_sum", model="tiny@1") >= 7


async def served_within(served: Gateway, body: bytes, timeout_ms: int) -> None:
    """Wait until it is: the worker still tells how long calls waited in another test."""
    async with asyncio.timeout(PATIENCE):
        while (status := (await served.segment(body, timeout_ms=timeout_ms)).status_code) != 200:
            assert status in {504, *REFUSED}
            await asyncio.sleep(0.1)


async def test_a_handler_that_sleeps_past_a_deadline_holds_nobody_longer(gateway_of: StartGateway) -> None:
    body = photos.png(photos.street(90, 130))
    async with gateway_of() as served:
        for _ in range(20):  # so that the service knows how long a photo takes
            assert (await served.segment(body)).status_code == 200
        await served_within(served, body, 1500)
        started = time.perf_counter()
        sleeper = served.client.post(
            "/segment?timeout_ms=1500", content=body, headers={"X-Request-Id": f"sleep-{STOP_SECONDS}"}
        )
        answer = await sleeper
        assert answer.status_code == 504
        assert time.perf_counter() - started < 1.5 + SLACK
        # Whoever comes now is refused or served, as they would be without it.
        async with asyncio.timeout(PATIENCE):
            while (status := (await served.segment(body, timeout_ms=30_000)).status_code) != 200:
                assert status in REFUSED
                await asyncio.sleep(0.1)


async def test_many_deadlines_pass_while_a_worker_is_stopped_and_none_is_overstayed(
    gateway_of: StartGateway, worker: WorkerProcess
) -> None:
    body = photos.png(photos.street(90, 130))
    async with gateway_of() as served:
        for _ in range(20):
            assert (await served.segment(body)).status_code == 200
        await served_within(served, body, 2000)

        async def send() -> tuple[int, float]:
            started = time.perf_counter()
            return (await served.segment(body, timeout_ms=2000)).status_code, time.perf_counter() - started

        with stopped(worker.python()):
            outcomes = await asyncio.gather(*(send() for _ in range(10)))
    assert {status for status, _ in outcomes} <= {504, *REFUSED}
    assert 504 in {status for status, _ in outcomes}
    assert max(seconds for _, seconds in outcomes) < 2 + SLACK


async def test_what_was_accepted_for_a_version_is_labelled_although_it_is_withdrawn(
    gateway_of: StartGateway, worker: WorkerProcess, checkpoint_dir: Path
) -> None:
    checkpoint = find("tiny", checkpoint_dir)
    newer = worker.model_dir / "tiny@2.safetensors"
    save(load_network(checkpoint), checkpoint.card.model_copy(update={"version": 2}), newer)
    slow, queued, other = (photos.png(photos.street(height, 130)) for height in (50, 90, 130))
    async with gateway_of() as served:

        async def ask(body: bytes, request_id: str) -> int:
            headers = {"X-Request-Id": request_id}
            return (await served.client.post("/segment?model=tiny@2", content=body, headers=headers)).status_code

        async def versions() -> list[str]:
            return [version["version"] for version in (await served.client.get("/models/tiny")).json()["versions"]]

        async def until_versions_are(*wanted: str) -> None:
            async with asyncio.timeout(PATIENCE):
                while await versions() != [*wanted]:  # noqa: ASYNC110 (nobody notifies us)
                    await asyncio.sleep(0.1)

        try:
            await until_versions_are("1", "2")
            asked = []
            # One at work and one at its heels for each process, so that the next ones stay in the queue.
            for number in range(1, 2 * worker.status.slots + 1):
                asked.append(asyncio.create_task(ask(slow, "sleep-4")))
                await served.until("segserve_admitted_total", number, model="tiny@2", priority="normal")
                await served.until("segserve_queue_photos", 0)
            asked += [asyncio.create_task(ask(queued, f"queued-{number}")) for number in range(5)]
            await served.until("segserve_queue_photos", 5)
            newer.unlink()
            await until_versions_are("1")
            assert await ask(other, "late") == 404
            assert await asyncio.gather(*asked) == [200] * len(asked)
        finally:
            newer.unlink(missing_ok=True)
        await served_within(served, queued, 2000)
    worker.wait_until(lambda: [m.version for m in worker.status.models] == [1])


@pytest.fixture(scope="module")
def mute_worker(checkpoint_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    """Whatever it writes to its log finds no space left."""
    with Path("/dev/full").open("wb") as full:
        log = tmp_path_factory.mktemp("mute") / "worker.log"
        with worker_process(checkpoint_dir, log, output=full) as running:
            yield running


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
async def test_a_full_disk_for_logs_stops_nothing(gateway_of: StartGateway, mute_worker: WorkerProcess) -> None:
    async with gateway_of(workers_at=mute_worker.url) as served:
        for size in (40, 60, 80) * 20:
            assert (await served.segment(photos.png(photos.street(size, 50)))).status_code == 200
        java = mute_worker.java()
        mute_worker.python().kill()
        await served.until("segserve_ready", 0)
        await served.until("segserve_ready", 1)
        assert java.is_running()
        assert (await served.segment(photos.png(photos.street(40, 50)))).status_code == 200
