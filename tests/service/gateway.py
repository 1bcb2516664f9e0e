"""The real application, started and stopped around a test: in process, or on a socket."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from service.app import create_app
from service.backends.base import Backend
from service.connection import Connection
from service.pipeline import Pipeline
from service.server import KEEP_ALIVE_SECONDS
from service.settings import Settings

PATIENCE = 150
"""Seconds that anything may take on a busy machine."""


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 (conditions notify nobody)
            await asyncio.sleep(0.002)


@dataclass(frozen=True, slots=True)
class Gateway:
    """client: talks to the application, which answers under any address."""

    app: FastAPI
    client: httpx.AsyncClient

    @property
    def pipeline(self) -> Pipeline:
        pipeline: Pipeline = self.app.state.pipeline
        return pipeline

    def metric(self, name: str, **labels: object) -> float:
        """A metric's value; 0 where it was never touched."""
        value = self.pipeline.metrics.registry.get_sample_value(name, {k: str(v) for k, v in labels.items()})
        return value or 0.0

    async def segment(
        self, photo: bytes, accept: str = "", *, priority: str = "normal", **query: str | float
    ) -> httpx.Response:
        headers = {"Accept": accept, "X-Priority": priority}
        return await self.client.post("/segment", content=photo, params=query, headers=headers)

    async def until(self, name: str, value: float, **labels: object) -> None:
        """Wait until a metric has this value."""
        await eventually(lambda: self.metric(name, **labels) == value)


@asynccontextmanager
async def gateway(backend: Backend, /, *, ready: bool = True, **settings: Any) -> AsyncIterator[Gateway]:
    """Started, and, unless told otherwise, ready."""
    app = create_app(Settings(**{"model": "fake"} | settings), backend)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://segserve", timeout=PATIENCE) as client,
    ):
        running = Gateway(app, client)
        if ready:
            await running.until("segserve_ready", 1)
        yield running


@asynccontextmanager
async def on_a_socket(backend: Backend, **settings: Any) -> AsyncIterator[Gateway]:
    """The same behind uvicorn, on a free port of this machine."""
    app = create_app(Settings(**{"model": "fake"} | settings), backend)
    kept: dict[str, Any] = {"http": Connection, "timeout_keep_alive": KEEP_ALIVE_SECONDS}
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False, **kept))
    serving = asyncio.create_task(server.serve())
    try:
        await eventually(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            running = Gateway(app, client)
            await running.until("segserve_ready", 1)
            yield running
    finally:
        server.should_exit = True
        await serving
