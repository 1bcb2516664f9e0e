"""BentoML: its adaptive batching, base64 in JSON; for the deadline `max_latency_ms` and its traffic limits."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import bentoml

from loadtests.device import MAX_BATCH, SleepingDevice
from loadtests.loopback import HOST
from loadtests.rivals.options import inherited, parse

# BentoML imports this module again, in a process of its own.
OPTIONS = parse() if __name__ == "__main__" else inherited()
LATENCY_MS = OPTIONS.deadline_ms or 2_000
TRAFFIC: Any = {"timeout": OPTIONS.deadline_seconds or 60}
if OPTIONS.queue_limit:
    TRAFFIC["max_concurrency"] = OPTIONS.queue_limit + MAX_BATCH


@bentoml.service(workers=1, traffic=TRAFFIC)
class FakeModel:
    """Answers with the size of the batch that a photo was in."""

    def __init__(self) -> None:
        self.sleeping = SleepingDevice()

    @bentoml.api(batchable=True, max_batch_size=MAX_BATCH, max_latency_ms=LATENCY_MS)
    async def predict(self, photos: list[str]) -> list[int]:
        await asyncio.to_thread(self.sleeping.run, len(photos))
        return [len(photos)] * len(photos)


def main() -> None:
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"
    command = str(Path(sys.executable).with_name("bentoml"))
    where = ["--host", HOST, "--port", str(OPTIONS.port)]
    os.execv(command, [command, "serve", f"{__spec__.name}:FakeModel", *where, "--production"])


if __name__ == "__main__":
    main()
