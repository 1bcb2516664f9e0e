"""BentoML: its adaptive batching, base64 in JSON; for the deadline `max_latency_ms` and its traffic limits."""

import asyncio
import base64
import os
import sys
from pathlib import Path
from typing import Any

import bentoml

from loadtests.loopback import HOST
from loadtests.rivals.options import inherited, parse
from loadtests.rivals.work import load

# BentoML imports this module again, in a process of its own.
OPTIONS = parse() if __name__ == "__main__" else inherited()
LATENCY_MS = OPTIONS.deadline_ms or (2_000 if OPTIONS.work == "sleep" else 60_000)
TRAFFIC: Any = {"timeout": OPTIONS.deadline_seconds or 60}
if OPTIONS.queue_limit:
    TRAFFIC["max_concurrency"] = OPTIONS.queue_limit + OPTIONS.batch


@bentoml.service(workers=OPTIONS.workers, traffic=TRAFFIC)
class Model:
    """JPEG in, what the work makes of it out."""

    def __init__(self) -> None:
        self.work = load(OPTIONS)

    @bentoml.api(batchable=True, max_batch_size=OPTIONS.batch, max_latency_ms=LATENCY_MS)
    async def predict(self, photos: list[str]) -> list[str]:
        answers = await asyncio.to_thread(self.work.run, [base64.b64decode(photo) for photo in photos])
        return [base64.b64encode(answer).decode() for answer in answers]


def main() -> None:
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"
    command = str(Path(sys.executable).with_name("bentoml"))
    where = ["--host", HOST, "--port", str(OPTIONS.port)]
    os.execv(command, [command, "serve", f"{__spec__.name}:Model", *where, "--production"])


if __name__ == "__main__":
    main()
