"""The simulation's own parts, and what the shipped parameters do in the spike, its shortest traffic."""

import asyncio
import json
from dataclasses import replace

import pytest

from loadtests.autoscaling.__main__ import CHOSEN, START_SECONDS, candidates, strategies
from loadtests.autoscaling.fleet import CAPACITY, Fleet
from loadtests.autoscaling.hpa import shipped
from loadtests.autoscaling.signals import BUSY, DEVICES_DEMANDED, QUEUE_P95, SCRAPE_SECONDS, Signals
from loadtests.autoscaling.simulation import Outcome, simulate
from loadtests.autoscaling.traffic import DAY, HOUR, RAMP, SPIKE, Traffic
from loadtests.virtual_time import now, run_virtually

STEADY = Traffic("steady", 300, lambda _: 2.0)


@pytest.mark.parametrize("capacity_error", [1.0, 2.0])
def test_signals_are_those_of_the_recording_rules(capacity_error: float) -> None:
    async def play() -> tuple[float | None, ...]:
        fleet = Fleet(start_seconds=10)
        fleet.add_ready(4)
        signals = Signals(fleet, capacity_error)
        assert signals.value_of(DEVICES_DEMANDED) is None

        async with asyncio.TaskGroup() as asking:
            for _ in range(int(60 * 2 * CAPACITY)):
                if now() // SCRAPE_SECONDS != (now() - 0.5 / CAPACITY) // SCRAPE_SECONDS:
                    signals.scrape(now())
                asking.create_task(fleet.ask())
                await asyncio.sleep(0.5 / CAPACITY)
        signals.scrape(now())
        return tuple(signals.value_of(query) for query in (DEVICES_DEMANDED, QUEUE_P95, BUSY))

    demanded, wait, busy = run_virtually(play())
    assert demanded is not None
    assert wait is not None
    assert busy is not None
    assert demanded * capacity_error == pytest.approx(2.0, rel=0.1)
    assert 2.0 <= busy <= 4.0
    assert wait <= 2.0


def test_a_query_that_no_rule_answers_is_a_mistake() -> None:
    async def play() -> None:
        signals = Signals(Fleet(start_seconds=1))
        for at in (0.0, 15.0):
            signals.scrape(at)
        signals.value_of("made up")

    with pytest.raises(ValueError, match="made up"):
        run_virtually(play())


def test_workers_take_their_time_to_start_and_those_that_start_end_first() -> None:
    async def play() -> None:

        fleet = Fleet(start_seconds=30)
        fleet.add_ready(1)
        fleet.scale(3)
        assert (fleet.replicas, fleet.ready) == (3, 1)
        fleet.scale(2)
        await asyncio.sleep(31)
        assert (fleet.replicas, fleet.ready) == (2, 2)
        fleet.scale(1)
        assert fleet.metrics.registry.get_sample_value("segserve_devices", {"kind": "virtual"}) == 1

    run_virtually(play())


def test_the_same_seed_tells_the_same_story() -> None:
    first, second = (simulate(STEADY, shipped(), START_SECONDS) for _ in range(2))
    assert first == second
    assert first.unanswered == 0


@pytest.mark.parametrize(("traffic", "mean"), [(DAY, 4.9), (SPIKE, 5.25), (RAMP, 7.0)])
def test_traffics_are_as_described(traffic: Traffic, mean: float) -> None:
    steps = [traffic.level(second) for second in range(0, round(traffic.seconds), 10)]
    assert min(steps) > 1
    assert max(steps) < 13
    assert sum(steps) / len(steps) == pytest.approx(mean, rel=0.05)


def test_a_spike_is_survived_for_less_than_always_having_enough() -> None:
    outcome = simulate(SPIKE, shipped(), START_SECONDS)
    # What is refused is refused while the new workers start.
    assert _refusing_seconds(outcome) <= 180
    always = strategies()["16 workers, always"].least * SPIKE.seconds / HOUR
    assert outcome.worker_hours < 0.75 * always


def test_what_ships_is_what_was_chosen() -> None:
    """After a change of the manifest's figures: make bench-autoscaling BENCH_ARGS=--choose."""
    tried = json.loads(CHOSEN.read_text(encoding="utf-8"))
    wanted = [named for named, _ in candidates()]
    found = [{name: row[name] for name in wanted[0]} for row in tried]
    # The shipped figures come first of those that are tried, and of those that were, the best.
    assert found[0] == wanted[0]
    assert sorted(found, key=str) == sorted(wanted, key=str)


def test_demand_that_is_taken_for_half_of_what_it_is_is_noticed_by_the_wait() -> None:
    ours = shipped()
    blind = replace(ours, triggers=ours.triggers[:1])
    short = Traffic("high", 1200, lambda _: 8.0)
    with_wait, without = (simulate(short, p, START_SECONDS, capacity_error=2.0) for p in (ours, blind))
    assert with_wait.unanswered < 0.5 * without.unanswered


def _refusing_seconds(outcome: Outcome) -> float:
    behind = [point for point in outcome.timeline if point.answered < 0.7 * point.asked]
    return 15.0 * len(behind)
