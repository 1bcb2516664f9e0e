"""A worker on its port, and how it ends: drained on the first signal, at once on the second."""

import asyncio
import signal
import sys
import threading
from types import FrameType

import uvicorn

from models.torchserve.archive import HANDLER
from worker.app import create_app
from worker.settings import WorkerSettings
from worker.supervisor import Supervisor


class Server(uvicorn.Server):
    """Serves what the supervisor publishes for as long as it runs TorchServe. SIGTERM drains, Ctrl-C does not."""

    def __init__(self, settings: WorkerSettings, handler: str = HANDLER) -> None:
        self.supervisor = Supervisor(settings, handler)
        self._stop = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining: asyncio.Task[None] | None = None
        super().__init__(
            uvicorn.Config(
                create_app(self.supervisor),
                host=settings.host,
                port=settings.port,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=1,
            )
        )

    def run_until_stopped(self, *, stop_with_stdin: bool) -> None:
        """stop_with_stdin: stop, without draining, when whoever started us closes our standard input or ends."""
        asyncio.run(self._run(stop_with_stdin=stop_with_stdin))

    async def _run(self, *, stop_with_stdin: bool) -> None:
        self._loop = asyncio.get_running_loop()
        supervising = asyncio.create_task(self.supervisor.run())
        serving = asyncio.create_task(self.serve())
        stopping = asyncio.create_task(self._stop.wait())
        if stop_with_stdin:
            threading.Thread(target=_wait_for_end_of_input, args=(self._loop, self._stop), daemon=True).start()
        try:
            await asyncio.wait({supervising, serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            supervising.cancel()
            self.should_exit = True
            results = await asyncio.gather(supervising, serving, return_exceptions=True)
            stopping.cancel()
            if self._draining:
                self._draining.cancel()
        for result in results:
            if isinstance(result, Exception):
                raise result

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 (the signature of a handler)
        """Called in the main thread, in the middle of whatever the loop does."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._on_signal, sig)

    def _on_signal(self, sig: int) -> None:
        if self._draining or sig == signal.SIGINT:
            self._stop.set()
        else:
            self._draining = asyncio.create_task(self._drain())

    async def _drain(self) -> None:
        await self.supervisor.drain()
        self._stop.set()


def _wait_for_end_of_input(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    sys.stdin.buffer.read()
    loop.call_soon_threadsafe(stop.set)
