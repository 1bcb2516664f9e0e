"""The real gateway on a socket, labelling by brightness, in a thread: for workers in other processes."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from labeling.endpoint_labeler import labels_of
from labeling.job import Labels
from tests.service.fakes import FakeBackend, FakeDevice
from tests.service.gateway import PATIENCE, on_a_socket


@contextmanager
def serving(seconds: float = 0) -> Iterator[tuple[str, Labels]]:
    """Its URL and what it labels with. Each of its batches takes `seconds`."""
    urls: list[str] = []
    started, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with on_a_socket(FakeBackend(waiting=[FakeDevice(seconds=seconds)]), max_memory_bytes=2**30) as served:
            urls.append(str(served.client.base_url))
            started.set()
            await stop.wait()

    def run() -> None:
        loop.run_until_complete(serve())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(PATIENCE)
    try:
        yield urls[0], labels_of(urls[0], None, "fake", None)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
