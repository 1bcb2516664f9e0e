"""How well the service predicts when a refused request would be admitted."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from loadtests.client import Client, Sample
from loadtests.requests import Request

POLL_SECONDS = 0.003
SETTLE_SECONDS = 0.3
"""Polls go on for this long after the burst's last refusal."""
LEAST_WAIT_MS = 3 * POLL_SECONDS * 1000
"""Shorter waits are below what polling resolves."""
BURST_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class RetryAfterResult:
    """Medians over the refusals. predicted_ms, actual_ms: until the same request is admitted. error: |p - a| / a.

    header_valid: the share of refusals whose header is the ceiling of the prediction in seconds, or jittered upwards.
    """

    bursts: int
    refusals: int
    predicted_ms: float | None
    actual_ms: float | None
    error: float | None
    error_ms: float | None
    header_valid: float | None


async def retry_after(
    port: int, request: Request, *, capacity: float, deadline: float, bursts: int = 10, factor: float = 4.0
) -> RetryAfterResult:
    """Bursts of `factor` x what the queue holds within `deadline` seconds, at `capacity` requests a second.

    The same request is also sent every few milliseconds. Once nothing of the burst arrives any more, each refusal's
    prediction is compared with the time until the first of those that is admitted.
    """
    pairs: list[tuple[float, float]] = []
    refusals: list[Sample] = []
    for _ in range(bursts):
        burst, polls = await _burst(port, request, round(factor * capacity * deadline))
        refusals += [sample for sample in (*burst, *polls) if sample.status == 429]
        pairs += predictions(burst, polls)
        await asyncio.sleep(deadline)
    return RetryAfterResult(
        bursts=bursts,
        refusals=len(pairs),
        predicted_ms=_median([predicted for predicted, _ in pairs]),
        actual_ms=_median([actual for _, actual in pairs]),
        error=_median([abs(predicted - actual) / actual for predicted, actual in pairs]),
        error_ms=_median([abs(predicted - actual) for predicted, actual in pairs]),
        header_valid=sum(map(header_is_valid, refusals)) / len(refusals) if refusals else None,
    )


def predictions(burst: Sequence[Sample], polls: Sequence[Sample]) -> list[tuple[float, float]]:
    """Predicted and actual milliseconds for each refusal between the burst's end and the next admission."""
    end = max((sample.answered for sample in burst if sample.status == 429), default=None)
    if end is None:
        return []
    # One that lay in its socket while the burst was answered takes the place that was foretold, whenever it was sent.
    taken = (sample.admitted for sample in (*burst, *polls) if sample.status == 200)
    admitted = min((moment for moment in taken if moment > end), default=None)
    if admitted is None:
        return []
    waiting = [sample for sample in (*burst, *polls) if sample.status == 429 and end <= sample.answered < admitted]
    pairs = [(sample.retry_after_ms, (admitted - sample.answered) * 1000) for sample in waiting]
    return [(predicted, actual) for predicted, actual in pairs if predicted is not None and actual >= LEAST_WAIT_MS]


def header_is_valid(sample: Sample) -> bool:
    """Whole seconds, at least one, never below the prediction, at most a quarter and the rounding above it."""
    if sample.retry_after_ms is None or sample.retry_after_s is None:
        return False
    predicted, header = sample.retry_after_ms / 1000, sample.retry_after_s
    return header % 1 == 0 and max(1.0, predicted) <= header <= predicted * 1.25 + 1


async def _burst(port: int, request: Request, size: int) -> tuple[list[Sample], list[Sample]]:
    """Everything that was sent: the burst, and the polls beside it."""
    client = Client(port)
    posts = [asyncio.create_task(client.send(request)) for _ in range(size)]
    polls: list[asyncio.Task[Sample]] = []
    last = begin = time.perf_counter()
    try:
        while (now := time.perf_counter()) < last + SETTLE_SECONDS and now < begin + BURST_SECONDS:
            await asyncio.sleep(POLL_SECONDS)
            polls.append(asyncio.create_task(client.send(request)))
            last = max(
                [post.result().answered for post in posts if post.done() and post.result().status == 429] + [last]
            )
        done, _ = await asyncio.wait([*posts, *polls], timeout=BURST_SECONDS)
        return [post.result() for post in posts if post in done], [poll.result() for poll in polls if poll in done]
    finally:
        for task in (*posts, *polls):
            task.cancel()
        await asyncio.gather(*posts, *polls, return_exceptions=True)
        client.close()


def _median(values: list[float]) -> float | None:
    return median(values) if values else None
