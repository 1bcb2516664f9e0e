"""What a gateway makes of workers in states that a real one is seldom in."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from loadtests.loopback import HOST, free_port
from models.torchserve.status import ModelStatus, WorkerStatus
from service.backends.torchserve.backend import TorchServeBackend
from service.settings import Settings

MODEL = ModelStatus(
    name="tiny",
    version=1,
    label_set="camvid11",
    input_size=(120, 160),
    long_side=160,
    grid=32,
    enlarge=1.0,
    licence="Free for tests",
    data="Nothing",
    scores={},
    sha256="0" * 64,
    state="ready",
    processes=1,
)


class Pretender:
    """Publishes `status`; its TorchServe, on the same port, answers every call with 500."""

    def __init__(self) -> None:
        self.port = free_port()
        self.status = WorkerStatus(
            kind="cpu", slots=1, inference_port=self.port, state="ready", restarts=0, models=[MODEL]
        )

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_get("/status", self._show)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_post("/predictions/tiny/1", self._fail)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, HOST, self.port).start()
        try:
            yield
        finally:
            await runner.cleanup()

    async def _show(self, _: web.Request) -> web.Response:
        return web.Response(text=self.status.model_dump_json())

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(text="")

    async def _fail(self, _: web.Request) -> web.Response:
        return web.Response(status=500, text="Worker died.")


@asynccontextmanager
async def backend_of(port: int) -> AsyncIterator[TorchServeBackend]:
    backend = TorchServeBackend(Settings(backend="torchserve", workers_at=f"http://{HOST}:{port}"))
    await backend.start(lambda: None)
    try:
        yield backend
    finally:
        await backend.stop()


async def until_logged(caplog: pytest.LogCaptureFixture, text: str) -> None:
    async with asyncio.timeout(10):
        while text not in caplog.text:  # noqa: ASYNC110 (a log notifies nobody)
            await asyncio.sleep(0.02)


async def test_a_worker_that_nobody_reaches_is_explained_once(caplog: pytest.LogCaptureFixture) -> None:
    async with backend_of(port := free_port()) as backend:
        await until_logged(caplog, f"worker http://{HOST}:{port} is out of service: it does not answer")
        await asyncio.sleep(0.5)
        assert not backend.devices
    assert caplog.text.count("out of service") == 1


async def test_a_worker_that_labels_nothing_gets_no_photos_and_is_explained(caplog: pytest.LogCaptureFixture) -> None:
    pretender = Pretender()
    async with pretender.listening(), backend_of(pretender.port) as backend:
        await until_logged(caplog, "answers with 500: b'Worker died.'")
        assert not backend.devices
        assert [model.id for model in backend.models] == ["tiny@1"]


async def test_the_models_of_a_worker_that_restarts_are_known_meanwhile(caplog: pytest.LogCaptureFixture) -> None:
    pretender = Pretender()
    async with backend_of(pretender.port) as backend:
        async with pretender.listening():
            await until_logged(caplog, "Worker died.")
            pretender.status = pretender.status.model_copy(update={"state": "starting", "models": []})
            await until_logged(caplog, "it is starting")
            assert [model.id for model in backend.models] == ["tiny@1"]
        await until_logged(caplog, "it does not answer")
        assert [model.id for model in backend.models] == ["tiny@1"]
        pretender.status = pretender.status.model_copy(update={"state": "ready"})
        async with pretender.listening():
            await until_logged(caplog, "it is ready for no model")
            assert not backend.models


async def test_a_model_whose_labels_mean_nothing_here_is_left_out_and_told(caplog: pytest.LogCaptureFixture) -> None:
    pretender = Pretender()
    strange = MODEL.model_copy(update={"version": 2, "label_set": "railway"})
    pretender.status = pretender.status.model_copy(update={"models": [MODEL, strange]})
    async with pretender.listening(), backend_of(pretender.port) as backend:
        await until_logged(caplog, "tiny@2 is left out: no label set 'railway'")
        # The next look sees it too.
        await asyncio.sleep(1.5)
        assert [model.id for model in backend.models] == ["tiny@1"]
    assert caplog.text.count("is left out") == 1
