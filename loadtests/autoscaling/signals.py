"""What Prometheus makes of a fleet's metrics: samples every 15 s, and the triggers' queries over a minute."""

import math
from collections import deque

from loadtests.autoscaling.fleet import Fleet

SCRAPE_SECONDS = 15.0
WINDOW_SECONDS = 60.0
DEVICES_DEMANDED, QUEUE_P95, BUSY = "segserve:devices_demanded", "segserve:queue_seconds:p95", "busy devices"

Sample = dict[str, float]


class Signals:
    """Call `scrape` every SCRAPE_SECONDS."""

    def __init__(self, fleet: Fleet, capacity_error: float = 1.0) -> None:
        """capacity_error: what capacity is taken for, of what it is."""
        self._fleet, self._capacity_error = fleet, capacity_error
        self._samples: deque[tuple[float, Sample]] = deque()

    def scrape(self, now: float) -> None:
        self._samples.append((now, self._sample()))
        while now - self._samples[0][0] > WINDOW_SECONDS:
            self._samples.popleft()

    def value_of(self, query: str) -> float | None:
        """Of the recording rule that the query names; None while there are too few samples."""
        if len(self._samples) < 2:
            return None
        _, last = self._samples[-1]
        if DEVICES_DEMANDED in query:
            if not last["devices"] or not last["capacity"]:
                return None
            return self._rate("demand") / (self._capacity_error * last["capacity"] / last["devices"])
        if QUEUE_P95 in query:
            return self._quantile(0.95, last)
        if BUSY in query:
            return self._rate("busy")
        raise ValueError(query)

    def _sample(self) -> Sample:
        sample: Sample = {"demand": 0.0, "capacity": 0.0, "devices": 0.0, "busy": self._fleet.busy_seconds}
        for family in self._fleet.metrics.registry.collect():
            for one in family.samples:
                match one.name:
                    case "segserve_demand_pixels_total":
                        sample["demand"] += one.value
                    case "segserve_capacity_pixels_per_second":
                        sample["capacity"] = one.value
                    case "segserve_devices":
                        sample["devices"] = one.value
                    case "segserve_stage_seconds_bucket":
                        sample[one.labels["le"]] = one.value
        return sample

    def _rate(self, name: str) -> float:
        (start, first), (end, last) = self._samples[0], self._samples[-1]
        return (last[name] - first[name]) / (end - start)

    def _quantile(self, share: float, last: Sample) -> float | None:
        """histogram_quantile: linear inside a bucket."""
        bounds = sorted(float(name) for name in last if name[0].isdigit() or name == "+Inf")
        counts = [last[_name(b)] - self._samples[0][1].get(_name(b), 0.0) for b in bounds]
        if not counts or not counts[-1]:
            return None
        rank, below, lower = share * counts[-1], 0.0, 0.0
        for bound, reached in zip(bounds, counts, strict=True):
            if reached >= rank:
                return lower if math.isinf(bound) else lower + (bound - lower) * (rank - below) / (reached - below)
            below, lower = reached, bound
        raise AssertionError("the last bucket holds all")


def _name(bound: float) -> str:
    return "+Inf" if math.isinf(bound) else str(bound)
