"""`python -m loadtests.bare_server --port P`: uvicorn, the codecs and the fake device, and nothing else.

The least that a photo can cost with these; what the gateway takes beyond it is its own.
"""

import argparse
import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from images import decode, encode_label_map
from loadtests.device import SleepingDevice
from loadtests.fake_device import LABEL_SET
from loadtests.loopback import HOST
from models import labelsets

MAX_PIXELS = 50_000_000


class BareServer:
    """An ASGI application: one photo a batch, its label map as a PNG; anything without a body gets an empty answer."""

    def __init__(self) -> None:
        self._codecs, self._thread = ThreadPoolExecutor(2), ThreadPoolExecutor(1)
        self._device = SleepingDevice()
        self._palette = labelsets.load(LABEL_SET).palette

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await Request(scope, receive).body()
        await Response(await self._label(body) if body else b"")(scope, receive, send)

    async def _label(self, body: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        photo = await loop.run_in_executor(self._codecs, lambda: decode(body, max_pixels=MAX_PIXELS))
        await loop.run_in_executor(self._thread, self._device.run, 1)
        labels = np.zeros(photo.shape[:2], np.uint8)
        return await loop.run_in_executor(self._codecs, encode_label_map, labels, self._palette)


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.bare_server", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="Port to listen on.")
    uvicorn.run(BareServer(), host=HOST, port=parser.parse_args().port, log_config=None, lifespan="off")


if __name__ == "__main__":
    main()
