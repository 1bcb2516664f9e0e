"""What a load came to: rates, percentiles, refusals."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from loadtests.client import REFUSED, Sample


def percentile(values: Iterable[float], q: float) -> float | None:
    """The smallest value that at least `q` (0..1) of all don't exceed; None of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)] if ordered else None


@dataclass(frozen=True, slots=True)
class Latency:
    """Of the requests answered with 200, in milliseconds."""

    p50_ms: float | None
    p99_ms: float | None
    p999_ms: float | None


def latency(samples: Sequence[Sample]) -> Latency:
    milliseconds = [sample.seconds * 1000 for sample in samples if sample.status == 200]
    p50, p99, p999 = (percentile(milliseconds, q) for q in (0.5, 0.99, 0.999))
    return Latency(p50, p99, p999)


@dataclass(frozen=True, slots=True)
class Summary:
    """Of requests that were due after the warm-up.

    offered, throughput, goodput: small photos' worth a second; goodput counts answers inside the deadline.
    accepted: neither refused (429, 503) nor without any answer; in_time: the share of those that met the deadline.
    client_lag_ms: 99th percentile of how late this client itself was.
    """

    seconds: float
    requests: int
    offered: float
    throughput: float
    goodput: float
    latency: Latency
    by_priority: dict[str, Latency]
    statuses: dict[str, int]
    accepted: int
    refused: int
    unanswered: int
    in_time: float | None
    client_lag_ms: float | None


def summarise(
    samples: Sequence[Sample], *, seconds: float, deadline: float = math.inf, warm_up: float = 0.0
) -> Summary:
    """seconds: for how long requests were sent; deadline: in seconds; warm_up: seconds of it that don't count.

    Rates count what was answered inside that window, so that neither the empty queue of its beginning nor the full one
    of its end flatters them.
    """
    begin = min((sample.due for sample in samples), default=0.0)
    opened, closed = begin + warm_up, begin + seconds
    counted = [sample for sample in samples if sample.due >= opened]
    good = [sample for sample in samples if sample.status == 200 and opened <= sample.answered < closed]
    window = closed - opened
    refused = sum(sample.status in REFUSED for sample in counted)
    unanswered = sum(sample.status is None for sample in counted)
    accepted = len(counted) - refused - unanswered
    in_time = sum(sample.status == 200 and sample.seconds <= deadline for sample in counted)
    priorities = sorted({sample.priority for sample in counted})
    return Summary(
        seconds=seconds,
        requests=len(counted),
        offered=sum(sample.units for sample in counted) / window,
        throughput=sum(sample.units for sample in good) / window,
        goodput=sum(sample.units for sample in good if sample.seconds <= deadline) / window,
        latency=latency(counted),
        by_priority={name: latency([sample for sample in counted if sample.priority == name]) for name in priorities},
        statuses=dict(Counter(str(sample.status or "none") for sample in counted)),
        accepted=accepted,
        refused=refused,
        unanswered=unanswered,
        in_time=in_time / accepted if accepted else None,
        client_lag_ms=percentile(((sample.sent - sample.due) * 1000 for sample in counted), 0.99),
    )
