"""This machine's own worker: a child process that lives as long as the gateway."""

import asyncio
import logging
import socket
import sys
from contextlib import suppress

from service.settings import Settings

logger = logging.getLogger("segserve")

_HOST = "127.0.0.1"
_RESTART_SECONDS = 1.0
# It kills its TorchServe and leaves: no call is under way any more.
_STOP_SECONDS = 10.0


class OwnWorker:
    """`segserve worker` on free ports of loopback. It stops when its standard input ends, so it never outlives us."""

    def __init__(self, settings: Settings) -> None:
        """Raises NotADirectoryError, as nobody would read what the worker says when it ends again and again."""
        if settings.model_dir and not settings.model_dir.is_dir():
            raise NotADirectoryError(f"there is no folder {settings.model_dir} to take models from")
        self._settings = settings
        port = _free_port()
        self.url = f"http://{_HOST}:{port}"
        self._command = [
            *(sys.executable, "-m", "cli", "worker", "--stop-with-stdin"),
            *("--host", _HOST, "--port", str(port), "--inference-port", "0"),
            *("--log-level", settings.log_level),
            *(("--otlp-endpoint", settings.otlp_endpoint) if settings.otlp_endpoint else ()),
            *(("--model-dir", str(settings.model_dir)) if settings.model_dir else ()),
        ]
        self._process: asyncio.subprocess.Process | None = None
        self._keeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._process = await self._spawn()
        self._keeping = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Afterwards nothing of it is left."""
        if self._keeping:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        process = self._process
        if process is None or process.returncode is not None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _keep(self) -> None:
        assert self._process is not None
        while True:
            status = await self._process.wait()
            logger.error("this machine's worker ended with %d and is started again", status)
            await asyncio.sleep(_RESTART_SECONDS)
            self._process = await self._spawn()

    async def _spawn(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            # Ctrl-C in a terminal goes to every process of a group: this one is needed until the last photo is done.
            start_new_session=True,
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port
