"""What interactive requests notice of batch jobs that saturate the service."""

import asyncio
from dataclasses import dataclass

from loadtests.client import closed_loop, open_loop
from loadtests.requests import Request
from loadtests.summary import latency, summarise

RAMP = 1.0
"""Seconds until the batch clients have filled the queue."""


@dataclass(frozen=True, slots=True)
class PrioritiesResult:
    """The 99th (50th) percentile of interactive requests, in milliseconds, alone and beside saturating batch clients.

    batch_throughput: batch photos answered a second meanwhile. refused: interactive requests not answered with 200.
    """

    interactive: int
    idle_p50_ms: float | None
    idle_p99_ms: float | None
    saturated_p50_ms: float | None
    saturated_p99_ms: float | None
    refused: int
    batch_throughput: float


async def priorities(
    port: int, interactive: Request, batch: Request, *, rate: float, clients: int, seconds: float, seed: int = 0
) -> PrioritiesResult:
    """`rate` interactive requests a second, the same arrivals twice: alone, then beside `clients` in closed loop."""
    idle = await open_loop(port, [interactive], rate=rate, seconds=seconds, seed=seed)
    crowd = asyncio.create_task(closed_loop(port, [batch], clients=clients, seconds=RAMP + seconds + RAMP, seed=seed))
    await asyncio.sleep(RAMP)
    busy = await open_loop(port, [interactive], rate=rate, seconds=seconds, seed=seed)
    behind = summarise(await crowd, seconds=RAMP + seconds, warm_up=RAMP)
    quiet, loaded = latency(idle), latency(busy)
    return PrioritiesResult(
        interactive=len(busy),
        idle_p50_ms=quiet.p50_ms,
        idle_p99_ms=quiet.p99_ms,
        saturated_p50_ms=loaded.p50_ms,
        saturated_p99_ms=loaded.p99_ms,
        refused=sum(sample.status != 200 for sample in busy),
        batch_throughput=behind.throughput,
    )
