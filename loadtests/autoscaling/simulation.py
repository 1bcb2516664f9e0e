"""One traffic, one set of parameters: what users and the bill see of it."""

import asyncio
import random
from dataclasses import dataclass, field

from loadtests.autoscaling.fleet import CAPACITY, Fleet
from loadtests.autoscaling.hpa import SYNC_SECONDS, HorizontalPodAutoscaler, Parameters
from loadtests.autoscaling.signals import SCRAPE_SECONDS, Signals
from loadtests.autoscaling.traffic import Traffic
from loadtests.virtual_time import now, run_virtually

# A rule is evaluated some seconds after a scrape, and the HPA asks some seconds after that.
_LAG_SECONDS = 5.0
STEP_SECONDS = 15.0
"""Between two points of a timeline."""


@dataclass(frozen=True, slots=True)
class Point:
    """Of a timeline: what was asked for and answered, in workers' worth, and workers."""

    at: float
    asked: float
    answered: float
    replicas: int
    ready: int


@dataclass(slots=True)
class Outcome:
    """unanswered: share of the photos refused or late. slow: share of the answers after a wait of over a second.

    worker_hours: paid for, those that start included. ideal_hours: of workers that would be busy all the time and never
    one too many. changes: how often it scaled.
    """

    unanswered: float = 0.0
    slow: float = 0.0
    worker_hours: float = 0.0
    ideal_hours: float = 0.0
    changes: int = 0
    timeline: list[Point] = field(default_factory=list)


def simulate(
    traffic: Traffic, parameters: Parameters, start_seconds: float, *, capacity_error: float = 1.0, seed: int = 1
) -> Outcome:
    """Poisson arrivals; starts with the workers that its first minute needs.

    capacity_error: what Prometheus takes the capacity for, of what it is.
    """
    return run_virtually(_play(traffic, parameters, start_seconds, capacity_error, random.Random(seed)))


async def _play(
    traffic: Traffic, parameters: Parameters, start_seconds: float, capacity_error: float, draw: random.Random
) -> Outcome:
    fleet, outcome = Fleet(start_seconds), Outcome()
    fleet.add_ready(max(parameters.least, round(traffic.level(0) / 0.7)))
    background = [
        asyncio.create_task(_scaling(fleet, Signals(fleet, capacity_error), parameters, outcome)),
        asyncio.create_task(_watching(fleet, traffic, outcome)),
    ]
    await _arrivals(fleet, traffic, draw)
    for task in background:
        task.cancel()
    await asyncio.gather(*background, return_exceptions=True)
    fleet.scale(fleet.ready)
    asked = fleet.answered + fleet.refused + fleet.late
    outcome.unanswered = (fleet.refused + fleet.late) / asked
    outcome.slow = fleet.slow / max(1, fleet.answered)
    return outcome


async def _arrivals(fleet: Fleet, traffic: Traffic, draw: random.Random) -> None:
    """By thinning, so that the rate may change between two arrivals."""
    most = max(traffic.level(second) for second in range(0, round(traffic.seconds), 10))
    async with asyncio.TaskGroup() as asking:
        while now() < traffic.seconds:
            await asyncio.sleep(draw.expovariate(most * CAPACITY))
            if draw.random() * most < traffic.level(now()):
                asking.create_task(fleet.ask())


async def _scaling(fleet: Fleet, signals: Signals, parameters: Parameters, outcome: Outcome) -> None:
    autoscaler = HorizontalPodAutoscaler(parameters)
    while True:
        signals.scrape(now())
        await asyncio.sleep(2 * _LAG_SECONDS)
        wanted = autoscaler.sync(now(), fleet.replicas, fleet.ready, signals.value_of)
        outcome.changes += wanted != fleet.replicas
        fleet.scale(wanted)
        await asyncio.sleep(SYNC_SECONDS - 2 * _LAG_SECONDS)


async def _watching(fleet: Fleet, traffic: Traffic, outcome: Outcome) -> None:
    answered = 0
    while True:
        await asyncio.sleep(STEP_SECONDS)
        asked, rate = traffic.level(now()), (fleet.answered - answered) / STEP_SECONDS / CAPACITY
        answered = fleet.answered
        outcome.timeline.append(Point(now(), asked, rate, fleet.replicas, fleet.ready))
        outcome.worker_hours += fleet.replicas * STEP_SECONDS / 3600
        outcome.ideal_hours += asked * STEP_SECONDS / 3600


assert SCRAPE_SECONDS == SYNC_SECONDS
