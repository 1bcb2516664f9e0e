"""`python -m loadtests.workers.travel`: a photo's own bytes, or pixels at the network's size? One call at a time."""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx
import numpy as np
import psutil
from numpy.typing import NDArray
from PIL import Image

from images import decode
from loadtests.loopback import HOST, free_port
from loadtests.photos import street_photo
from loadtests.process import ServerProcess, running
from loadtests.workers import variant
from models.engine.geometry import input_size
from models.torchserve.archive import HANDLER
from models.torchserve.status import WorkerStatus
from models.torchserve.wire import EncodedPhoto, Request, pack_request, unpack_response
from worker.settings import WorkerSettings

TEN_GBIT = 10e9 / 8
"""Bytes a second."""
MAX_PIXELS = 50_000_000


@dataclass(frozen=True, slots=True)
class Case:
    """A photo and the long side, in pixels, at which the network sees it."""

    height: int
    width: int
    long_side: int

    def __str__(self) -> str:
        return f"{self.height} x {self.width}, network at {self.long_side}"


CASES = (Case(360, 480, 480), Case(1024, 2048, 2048), Case(3000, 4000, 480))
PATIENCE = httpx.Timeout(60)


def as_bytes(jpeg: bytes, case: Case) -> EncodedPhoto:  # noqa: ARG001 (one signature for both)
    """What came from the caller goes on as it is."""
    return EncodedPhoto(jpeg)


def as_pixels(jpeg: bytes, case: Case) -> EncodedPhoto:
    """Decoded and scaled by the gateway, without torch."""
    pixels: NDArray[np.uint8] = decode(jpeg, max_pixels=MAX_PIXELS)
    size = input_size(*pixels.shape[:2], long_side=case.long_side, grid=1)
    if (size.height, size.width) != pixels.shape[:2]:
        pixels = np.asarray(Image.fromarray(pixels).resize((size.width, size.height), Image.Resampling.BILINEAR))
    return EncodedPhoto(np.ascontiguousarray(pixels).data.cast("B"), f"{size.height}x{size.width}")


WAYS: dict[str, tuple[str, Callable[[bytes, Case], EncodedPhoto]]] = {
    "the photo's own bytes": (HANDLER, as_bytes),
    "pixels at the network's size": ("loadtests.workers.pixels_handler", as_pixels),
}


@dataclass(slots=True)
class Measured:
    """Medians of one photo: bytes of the call, milliseconds of CPU, milliseconds until its labels are there."""

    call_bytes: float
    gateway_cpu_ms: float
    worker_cpu_ms: float
    latency_ms: float


def measure(server: ServerProcess, make: Callable[[bytes, Case], EncodedPhoto], case: Case, rounds: int) -> Measured:
    status = WorkerStatus.model_validate_json(httpx.get(f"http://{HOST}:{server.port}/status").content)
    model = status.models[-1]
    url = f"http://{HOST}:{status.inference_port}/predictions/{model.name}/{model.version}"
    jpeg = street_photo(case.height, case.width).body
    family = psutil.Process(server.process.pid).children(recursive=True)
    sizes, gateway, latency = [], [], []
    with httpx.Client(timeout=PATIENCE, trust_env=False) as client:
        for number in range(rounds + 3):
            if number == 3:
                before = _cpu_seconds(family)
            cpu, started = time.process_time(), time.perf_counter()
            body = pack_request(Request([make(jpeg, case)], case.long_side, False, MAX_PIXELS))
            answer = client.post(url, content=body, headers={"Content-Type": "application/octet-stream"})
            unpack_response(answer.raise_for_status().content)
            sizes.append(float(len(body)))
            gateway.append((time.process_time() - cpu) * 1000)
            latency.append((time.perf_counter() - started) * 1000)
    worker = (_cpu_seconds(family) - before) / rounds * 1000
    return Measured(sizes[-1], median(gateway[3:]), worker, median(latency[3:]))


def _cpu_seconds(family: Sequence[psutil.Process]) -> float:
    return float(sum(sum(member.cpu_times()[:2]) for member in family))


async def main(rounds: int) -> None:
    print(  # noqa: T201 (the report)
        "| Photo | What travels | Bytes | Gateway CPU | Worker CPU | Latency | Photos a second that fill 10 Gbit |\n"
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |"
    )
    for name, (handler, make) in WAYS.items():
        settings = WorkerSettings(port=free_port(), inference_port=0, slots=1, log_level="warning", drain_s=0)
        with tempfile.TemporaryDirectory() as folder:
            command = variant.command(settings, handler=handler)
            log = Path(folder) / "worker.log"
            async with running(command, settings.port, ready_path="/readyz", log=log) as server:
                for case in CASES:
                    m = await asyncio.to_thread(measure, server, make, case, rounds)
                    print(  # noqa: T201 (the report)
                        f"| {case} | {name} | {m.call_bytes / 1000:,.0f} KB | {m.gateway_cpu_ms:.1f} ms "
                        f"| {m.worker_cpu_ms:.0f} ms | {m.latency_ms:.0f} ms | {TEN_GBIT / m.call_bytes:,.0f} |"
                    )
                    sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    asyncio.run(main(parser.parse_args().rounds))
