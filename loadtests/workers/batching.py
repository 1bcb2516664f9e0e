"""`python -m loadtests.workers.batching`: who forms batches, gateways or TorchServe? One worker, the fake device."""

import argparse
import asyncio
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import uvloop

from loadtests.client import closed_loop, open_loop
from loadtests.device import CEILING, MAX_BATCH
from loadtests.loopback import free_port
from loadtests.medians import medians
from loadtests.photos import SMALL_HEIGHT, SMALL_WIDTH
from loadtests.process import running
from loadtests.requests import small_mix
from loadtests.summary import summarise
from loadtests.workers import variant
from models.engine.geometry import input_size
from models.weights.library import find
from worker.settings import WorkerSettings

LOW = 0.2
"""Of the device's ceiling, in open loop."""
CLIENTS = 48
"""In closed loop, over all gateways: as many as saturate the device."""
WARM_UP = 1.0
DESIGNS: Mapping[str, Mapping[str, int]] = {
    "gateways form batches": {},
    **{
        f"TorchServe forms batches, maxBatchDelay {delay} ms": {"batch_size": MAX_BATCH, "max_batch_delay": delay}
        for delay in (1, 5, 20)
    },
}


@asynccontextmanager
async def served(folder: Path, design: str, gateways: int) -> AsyncIterator[list[int]]:
    """Ports of gateways in front of one worker."""
    batching = DESIGNS[design]
    python, logs = sys.executable, iter(range(100))
    async with AsyncExitStack() as stack:
        # slots: one Python process, whatever is published.
        settings = WorkerSettings(port=free_port(), inference_port=0, slots=1, log_level="warning", drain_s=0)
        sleeping = variant.command(settings, handler="loadtests.workers.sleeping_handler", batching=batching)
        await stack.enter_async_context(
            running(sleeping, settings.port, ready_path="/readyz", log=folder / f"worker{next(logs)}.log")
        )
        ports = []
        for _ in range(gateways):
            port = free_port()
            options = {
                "port": port,
                "backend": "torchserve",
                "workers-at": f"http://127.0.0.1:{settings.port}",
                "batch-pixels": 1 if batching else _batch_pixels(),
                "log-level": "warning",
            }
            command = [python, "-m", "cli", "serve", *(f"--{name}={value}" for name, value in options.items())]
            await stack.enter_async_context(
                running(command, port, ready_path="/readyz", log=folder / f"gateway{next(logs)}.log")
            )
            ports.append(port)
        yield ports


def _batch_pixels() -> int:
    """That make batches of at most MAX_BATCH small photos, of the default model, which enlarges them."""
    own = find("eseg-lite-s").card.preprocessing
    size = input_size(SMALL_HEIGHT, SMALL_WIDTH, long_side=own.long_side, grid=own.grid, enlarge=own.enlarge)
    return MAX_BATCH * size.padded_height * size.padded_width


async def measure(folder: Path, design: str, gateways: int, seconds: float) -> dict[str, float | None]:
    """Low load, then high."""
    async with served(folder, design, gateways) as ports:
        await asyncio.gather(*(closed_loop(port, small_mix(), clients=2, seconds=1) for port in ports))
        rate = LOW * CEILING / gateways
        low = await asyncio.gather(
            *(open_loop(port, small_mix(), rate=rate, seconds=seconds, seed=port) for port in ports)
        )
        high = await asyncio.gather(
            *(closed_loop(port, small_mix(), clients=CLIENTS // gateways, seconds=seconds) for port in ports)
        )
    calm = summarise([s for samples in low for s in samples], seconds=seconds, warm_up=WARM_UP)
    busy = summarise([s for samples in high for s in samples], seconds=seconds, warm_up=WARM_UP)
    return {
        "low_p50_ms": calm.latency.p50_ms,
        "low_p99_ms": calm.latency.p99_ms,
        "high_share_of_ceiling": busy.throughput / CEILING,
        "high_p50_ms": busy.latency.p50_ms,
        "high_p99_ms": busy.latency.p99_ms,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--only", action="append", choices=DESIGNS, help="of the designs; all by default")
    parser.add_argument("--gateways", type=int, action="append", help="how many; 1 and then 3 by default")
    options = parser.parse_args()
    # As Ctrl-C: the servers are stopped on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    chosen = options.only or list(DESIGNS)
    runs: dict[tuple[str, int], list[dict[str, float | None]]] = {}
    with tempfile.TemporaryDirectory() as name:
        for _ in range(options.repeat):
            for gateways in options.gateways or (1, 3):
                for design in chosen:
                    found = uvloop.run(measure(Path(name), design, gateways, options.seconds))
                    runs.setdefault((design, gateways), []).append(found)
                    print(f"{gateways} x {design}: {found}", file=sys.stderr, flush=True)  # noqa: T201 (progress)
    print("| Batches | Gateways | Low: p50, p99 ms | High: of the ceiling | High: p50, p99 ms |")  # noqa: T201 (the report)
    print("| --- | ---: | ---: | ---: | ---: |")  # noqa: T201 (the report)
    for (design, gateways), repeats in runs.items():
        m = medians(repeats)
        low, high = f"{m['low_p50_ms']:.0f}, {m['low_p99_ms']:.0f}", f"{m['high_p50_ms']:.0f}, {m['high_p99_ms']:.0f}"
        print(f"| {design} | {gateways} | {low} | {m['high_share_of_ceiling']:.0%} | {high} |")  # noqa: T201 (the report)


if __name__ == "__main__":
    main()
