"""The gateway on a socket, and how it ends: drained on the first signal, at once on the second."""

import logging
import math
import os
import signal
import threading
import time
from types import FrameType

import uvicorn
from fastapi import FastAPI

from service.connection import Connection
from service.pipeline import Pipeline

logger = logging.getLogger("segserve")
# For what follows the last answer: devices and codecs are freed.
_LAST_SECONDS = 3.0
KEEP_ALIVE_SECONDS = 620
"""A connection that nobody uses for this long is closed. The other side should close it first, lest it send a photo
just as it ends: httpx does so after 5 s, nginx and AWS's load balancers after 60, Google's after 600."""
LEAVING_SECONDS = 5
"""After the first signal: who keeps a connection, and uses it in this time, is told with an answer to go elsewhere."""


class Server(uvicorn.Server):
    """On SIGTERM or SIGINT /readyz turns 503 and every answer closes its connection. Then it exits.

    While connections are open, for LEAVING_SECONDS at most, photos that come are served; then they are refused with
    503 and accepted ones finished. What is not finished `drain_s` seconds after the signal is given up. A second signal
    ends the process there and then.
    """

    def __init__(self, app: FastAPI) -> None:
        self._pipeline: Pipeline = app.state.pipeline
        settings = self._pipeline.settings
        self._drain_seconds = settings.drain_s
        self._signalled_at: float | None = None
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                http=Connection,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
            )
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 (the signature of a handler)
        """Called in the main thread. Unlike uvicorn's, does not raise the first signal again after a drained end."""
        if self._signalled_at is not None:
            signal.signal(sig, signal.SIG_DFL)
            os.kill(os.getpid(), sig)
            return
        self._signalled_at = time.monotonic()

    async def on_tick(self, counter: int) -> bool:
        """Called by uvicorn ten times a second."""
        # Not in the handler, which may have interrupted what holds a lock of the metrics or the log.
        if self._signalled_at is not None:
            self._end(time.monotonic() - self._signalled_at)
        return await super().on_tick(counter)

    def _end(self, seconds: float) -> None:
        """What is to be done so long after the first signal."""
        if not self._pipeline.lifecycle.leaving:
            self._pipeline.lifecycle.leave()
            logger.info("leaving: %d photos are in work; a second signal ends it at once", self._pipeline.promised)
        left = self._drain_seconds - seconds
        if self.server_state.connections and seconds < LEAVING_SECONDS and left > 0:
            return
        if not self._pipeline.lifecycle.draining:
            self._pipeline.lifecycle.drain()
            logger.info("draining %d photos", self._pipeline.promised)
        if not self._pipeline.promised or left <= 0:
            # For uploads that will be refused, and answers that are on their way.
            patience = max(1, math.ceil(left))
            self.config.timeout_graceful_shutdown = patience
            self.should_exit = True
            _end_after(patience + _LAST_SECONDS)


def _end_after(seconds: float) -> None:
    """End the process, however it hangs: a thread that runs a batch cannot be stopped, and would be waited for."""
    timer = threading.Timer(seconds, os._exit, (1,))
    timer.daemon = True
    timer.start()
