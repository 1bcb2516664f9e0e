"""One real worker for all tests, and gateways in front of it."""

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from service.backends.torchserve.backend import TorchServeBackend
from service.settings import Settings
from tests.service.gateway import Gateway, gateway
from tests.service.telemetry.collector import Collector, collector
from tests.worker.process import WorkerProcess, worker_process

StartGateway = Callable[..., AbstractAsyncContextManager[Gateway]]


@pytest.fixture(scope="session")
def traces() -> Iterator[Collector]:
    """What the worker sends its spans to."""
    with collector() as running:
        yield running


@pytest.fixture(scope="session")
def worker(
    checkpoint_dir: Path, tmp_path_factory: pytest.TempPathFactory, traces: Collector
) -> Iterator[WorkerProcess]:
    """It serves tiny@1, to every interface, as in a container."""
    folder = tmp_path_factory.mktemp("worker")
    shutil.copytree(checkpoint_dir, folder / "models")
    with worker_process(folder / "models", folder / "worker.log", host="0.0.0.0", otlp_endpoint=traces.url) as running:
        yield running


@pytest.fixture
def gateway_of(worker: WorkerProcess) -> StartGateway:
    """Starts another gateway in front of the worker, whatever it has gone through."""

    @asynccontextmanager
    async def start(**settings: Any) -> AsyncIterator[Gateway]:
        worker.wait_until(worker.ready)
        given: dict[str, Any] = {
            "model": "tiny",
            "backend": "torchserve",
            "workers_at": worker.url,
            "timeout_ms": 60_000,
        } | settings
        async with gateway(TorchServeBackend(Settings(**given)), **given) as running:
            yield running

    return start


@pytest.fixture
async def served(gateway_of: StartGateway) -> AsyncIterator[Gateway]:
    async with gateway_of() as running:
        yield running
