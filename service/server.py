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

from service.pipeline import Pipeline

logger = logging.getLogger("segserve")
# For what follows the last answer: devices and codecs are freed.
_LAST_SECONDS = 3.0


class Server(uvicorn.Server):
    """On SIGTERM or SIGINT /readyz turns 503, new photos are refused with 503, accepted ones finished; then it exits.

    What is not finished after `drain_s` seconds is given up. A second signal ends the process there and then.
    """

    def __init__(self, app: FastAPI) -> None:
        self._pipeline: Pipeline = app.state.pipeline
        settings = self._pipeline.settings
        self._drain_seconds = settings.drain_s
        self._give_up_at: float | None = None
        super().__init__(
            uvicorn.Config(
                app, host=settings.host, port=settings.port, log_config=None, access_log=False, server_header=False
            )
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 (the signature of a handler)
        """Called in the main thread. Unlike uvicorn's, does not raise the first signal again after a drained end."""
        if self._give_up_at is not None:
            signal.signal(sig, signal.SIG_DFL)
            os.kill(os.getpid(), sig)
            return
        self._give_up_at = time.monotonic() + self._drain_seconds

    async def on_tick(self, counter: int) -> bool:
        """Called by uvicorn ten times a second."""
        if self._give_up_at is not None:
            # Not in the handler, which may have interrupted what holds a lock of the metrics or the log.
            if not self._pipeline.draining:
                self._pipeline.drain()
                logger.info("draining %d photos; a second signal ends it at once", self._pipeline.promised)
            left = self._give_up_at - time.monotonic()
            if not self._pipeline.promised or left <= 0:
                # For uploads that will be refused, and answers that are on their way.
                seconds = max(1, math.ceil(left))
                self.config.timeout_graceful_shutdown = seconds
                self.should_exit = True
                _end_after(seconds + _LAST_SECONDS)
        return await super().on_tick(counter)


def _end_after(seconds: float) -> None:
    """End the process, however it hangs: a thread that runs a batch cannot be stopped, and would be waited for."""
    timer = threading.Timer(seconds, os._exit, (1,))
    timer.daemon = True
    timer.start()
