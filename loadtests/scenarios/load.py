"""Capacity, closed loops and open loops."""

from dataclasses import dataclass

from loadtests.client import closed_loop, open_loop
from loadtests.process import ServerProcess
from loadtests.requests import Mix
from loadtests.summary import Summary, summarise

WARM_UP = 1.0


@dataclass(frozen=True, slots=True)
class LoadResult:
    """rss_mb: the most memory that the server held, all its processes together, in MiB."""

    clients: int | None
    load: float | None
    summary: Summary
    rss_mb: float


async def closed(server: ServerProcess, mix: Mix, *, clients: int, seconds: float) -> LoadResult:
    """`clients` clients, each of which waits for its answer."""
    server.forget_peak()
    samples = await closed_loop(server.port, mix, clients=clients, seconds=seconds)
    summary = summarise(samples, seconds=seconds, warm_up=_warm_up(seconds))
    return LoadResult(clients, None, summary, server.peak_rss / 2**20)


async def capacity(server: ServerProcess, mix: Mix, *, clients: int, seconds: float) -> float:
    """Small photos' worth a second that the service answers when `clients` in closed loop saturate it.

    Raises ValueError where none was answered in that time.
    """
    result = await closed(server, mix, clients=clients, seconds=seconds)
    if not result.summary.throughput:
        raise ValueError(f"nothing was answered within {seconds} s ({result.summary.statuses}): measure for longer")
    return result.summary.throughput


async def opened(
    server: ServerProcess, mix: Mix, *, load: float, capacity: float, deadline: float, seconds: float, seed: int = 0
) -> LoadResult:
    """Poisson arrivals at `load` x `capacity` (small photos' worth a second); deadline in seconds."""
    server.forget_peak()
    mean_units = sum(r.units * r.weight for r in mix) / sum(r.weight for r in mix)
    rate = load * capacity / mean_units
    samples = await open_loop(server.port, mix, rate=rate, seconds=seconds, seed=seed, patience=deadline + 1)
    summary = summarise(samples, seconds=seconds, deadline=deadline, warm_up=_warm_up(seconds))
    return LoadResult(None, load, summary, server.peak_rss / 2**20)


def _warm_up(seconds: float) -> float:
    return min(WARM_UP, seconds / 4)
