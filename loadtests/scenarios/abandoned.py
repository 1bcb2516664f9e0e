"""Clients that post and hang up, and what that costs the next one."""

import asyncio
from dataclasses import dataclass

from loadtests.client import Client, Sample
from loadtests.requests import Request


@dataclass(frozen=True, slots=True)
class AbandonedResult:
    """What a live client waits, in milliseconds: before, right after the others hung up, and when it is quiet again."""

    clients: int
    probe_before_ms: float | None
    probe_after_ms: float | None
    probe_later_ms: float | None


async def abandoned(
    port: int, request: Request, *, clients: int = 160, patience: float = 0.3, quiet: float = 4.0
) -> AbandonedResult:
    """`clients` post at once and hang up after `patience` seconds; the last probe comes `quiet` seconds later."""
    live = Client(port)
    try:
        before = await live.send(request)
        await _post_and_hang_up(port, request, clients, patience)
        after = await live.send(request)
        await asyncio.sleep(quiet)
        later = await live.send(request)
    finally:
        live.close()
    return AbandonedResult(clients, *(_milliseconds(probe) for probe in (before, after, later)))


async def _post_and_hang_up(port: int, request: Request, clients: int, patience: float) -> None:
    crowd = Client(port)
    posts = [asyncio.create_task(crowd.send(request)) for _ in range(clients)]
    await asyncio.wait(posts, timeout=patience)
    for post in posts:
        post.cancel()
    await asyncio.gather(*posts, return_exceptions=True)
    crowd.close()


def _milliseconds(probe: Sample) -> float | None:
    """None where the probe was not answered with 200."""
    return probe.seconds * 1000 if probe.status == 200 else None
