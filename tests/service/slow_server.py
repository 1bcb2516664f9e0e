"""The gateway as `segserve serve` runs it, on a free port, in front of a slow device without a network."""

import argparse
import asyncio
import time
from collections.abc import Sequence

from service.app import create_app
from service.backends.base import BatchKey, Photo, Ran
from service.server import Server
from service.settings import Settings
from service.telemetry.logs import configure_logging
from tests.service.fakes import FakeBackend, FakeDevice


class SlowDevice(FakeDevice):
    """Quick with the black photos that it is warmed up with. hangs: cannot be cancelled."""

    hangs = False

    async def run(self, key: BatchKey, photos: Sequence[Photo]) -> Ran:
        if any(photo.any() for photo in photos):
            wait = asyncio.to_thread(time.sleep, self.seconds) if self.hangs else asyncio.sleep(self.seconds)
            await wait
        return await FakeDevice().run(key, photos)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, required=True, help="that a batch of at most 4 small photos takes")
    parser.add_argument("--drain-s", type=int, required=True)
    parser.add_argument("--hangs", action="store_true")
    options = parser.parse_args()
    configure_logging("info")
    device = SlowDevice(seconds=options.seconds)
    device.hangs = options.hangs
    settings = Settings(port=0, model="fake", drain_s=options.drain_s, batch_pixels=4 * 64 * 96, max_timeout_ms=600_000)
    Server(create_app(settings, FakeBackend(waiting=[device]))).run()


if __name__ == "__main__":
    main()
