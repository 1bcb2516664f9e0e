"""SIGTERM while requests arrive: who loses an answer?"""

import asyncio
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field

from loadtests.client import REFUSED, Sample, open_loop
from loadtests.process import ServerProcess
from loadtests.requests import Mix

ROUND_SECONDS = 2.0
TAIL_SECONDS = 0.5
"""Arrivals go on for this long after the signal, for those who have not heard of it."""
EXIT_SECONDS = 40.0


@dataclass(slots=True)
class DrainResult:
    """Requests over all rounds.

    answered: accepted and answered. lost: sent whole before the process ended and never answered. turned_away: refused
    with 429 or 503. cut: not sent whole, or not even connected. exit_seconds: the longest from SIGTERM to the end.
    """

    rounds: int = 0
    requests: int = 0
    answered: int = 0
    turned_away: int = 0
    cut: int = 0
    lost: int = 0
    exit_seconds: float = 0.0
    exit_codes: list[int] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)


async def drain(
    start: Callable[[], AbstractAsyncContextManager[ServerProcess]],
    mix: Mix,
    *,
    rate: float,
    requests: int = 10_000,
    seed: int = 0,
) -> DrainResult:
    """Start, load with `rate` requests a second, SIGTERM in the middle; again until `requests` were accepted.

    start: runs the server anew, as `process.running` does.
    """
    result, draw = DrainResult(), random.Random(seed)
    most_rounds = 4 * round(requests / (rate * ROUND_SECONDS) + 1)
    while result.answered + result.lost < requests and result.rounds < most_rounds:
        async with start() as server:
            samples, exit_seconds, ended = await _round(server, mix, rate, draw)
        result.rounds += 1
        _count(result, samples, ended)
        result.exit_seconds = max(result.exit_seconds, exit_seconds)
        result.exit_codes = sorted({*result.exit_codes, server.process.returncode})
    return result


async def _round(
    server: ServerProcess, mix: Mix, rate: float, draw: random.Random
) -> tuple[list[Sample], float, float]:
    """The requests, the seconds from SIGTERM to the end of the process, and that end on the samples' clock."""
    signal_at = ROUND_SECONDS * draw.uniform(0.5, 1.0)
    load = asyncio.create_task(
        open_loop(
            server.port,
            mix,
            rate=rate,
            seconds=signal_at + TAIL_SECONDS,
            seed=draw.getrandbits(32),
            patience=EXIT_SECONDS,
        )
    )
    await asyncio.sleep(signal_at)
    signalled = time.perf_counter()
    server.terminate()
    with suppress(subprocess.TimeoutExpired):
        await asyncio.to_thread(server.process.wait, EXIT_SECONDS)
    ended = time.perf_counter()
    return await load, ended - signalled, ended


def _count(result: DrainResult, samples: list[Sample], ended: float) -> None:
    statuses = Counter(result.statuses)
    for sample in samples:
        result.requests += 1
        statuses[str(sample.status or "none")] += 1
        if sample.status in REFUSED:
            result.turned_away += 1
        elif sample.status is not None:
            result.answered += 1
        elif sample.fully_sent and sample.sent < ended:
            result.lost += 1
        else:
            result.cut += 1
    result.statuses = dict(statuses)
