"""The HPA's algorithm, by the examples of Kubernetes' documentation and of its source."""

from collections.abc import Sequence

import pytest

from loadtests.autoscaling.hpa import Direction, HorizontalPodAutoscaler, Parameters, Policy, Trigger, fallback, shipped
from loadtests.autoscaling.signals import BUSY

AT_ONCE = Direction(0, [Policy("Percent", 1000, 15)])


def parameters(*triggers: Trigger, up: Direction = AT_ONCE, down: Direction = AT_ONCE) -> Parameters:
    return Parameters(1, 100, triggers, up, down)


def synced(p: Parameters, values: Sequence[float | None], replicas: int, ready: int | None = None) -> int:
    queries = {trigger.query: value for trigger, value in zip(p.triggers, values, strict=True)}
    return HorizontalPodAutoscaler(p).sync(0, replicas, replicas if ready is None else ready, queries.__getitem__)


SHARED = Trigger("shared", "AverageValue", 100)
OWN = Trigger("own", "Value", 100)


@pytest.mark.parametrize(
    ("value", "replicas", "wanted"),
    [(200, 1, 2), (400, 2, 4), (50, 1, 1), (100, 2, 1), (310, 3, 3), (331, 3, 4), (269, 3, 3), (201, 2, 2), (0, 5, 1)],
)
def test_a_shared_value_is_divided_by_its_threshold(value: float, replicas: int, wanted: int) -> None:
    assert synced(parameters(SHARED), [value], replicas) == wanted


@pytest.mark.parametrize(
    ("value", "replicas", "ready", "wanted"), [(200, 4, 4, 8), (50, 4, 4, 2), (105, 4, 4, 4), (200, 8, 2, 4)]
)
def test_a_value_of_each_ones_own_multiplies_those_that_are_ready(
    value: float, replicas: int, ready: int, wanted: int
) -> None:
    assert synced(parameters(OWN), [value], replicas, ready) == wanted


def test_the_largest_wish_wins_and_a_missing_metric_takes_nothing_away() -> None:
    both = parameters(SHARED, OWN)
    assert synced(both, [500, 50], 4) == 5
    assert synced(both, [100, None], 4) == 4
    assert synced(both, [700, None], 4) == 7
    assert synced(both, [None, None], 4) == 4


def test_there_are_never_too_few_nor_too_many() -> None:
    assert synced(parameters(SHARED), [0], 3) == 1
    assert synced(parameters(SHARED), [1e6], 90) == 100


def test_going_down_waits_until_fewer_have_sufficed_for_long() -> None:
    scaler = HorizontalPodAutoscaler(parameters(SHARED, down=Direction(300, [Policy("Percent", 100, 15)])))
    assert scaler.sync(0, 10, 10, lambda _: 1000) == 10
    assert [scaler.sync(at, 10, 10, lambda _: 500) for at in (15, 150, 300)] == [10, 10, 10]
    assert scaler.sync(301, 10, 10, lambda _: 500) == 5


def test_going_up_waits_likewise_where_it_is_told_to() -> None:
    scaler = HorizontalPodAutoscaler(parameters(SHARED, up=Direction(60, [Policy("Percent", 1000, 15)])))
    assert scaler.sync(0, 2, 2, lambda _: 200) == 2
    assert scaler.sync(30, 2, 2, lambda _: 900) == 2
    assert scaler.sync(61, 2, 2, lambda _: 900) == 9


def test_policies_bound_a_period_and_the_widest_counts() -> None:
    up = Direction(0, [Policy("Percent", 100, 30), Policy("Pods", 4, 30)])
    scaler = HorizontalPodAutoscaler(parameters(SHARED, up=up))
    assert scaler.sync(0, 2, 2, lambda _: 9000) == 6
    assert scaler.sync(15, 6, 2, lambda _: 9000) == 6
    assert scaler.sync(30, 6, 6, lambda _: 9000) == 12
    down = Direction(0, [Policy("Percent", 20, 60)])
    scaler = HorizontalPodAutoscaler(parameters(SHARED, down=down))
    assert scaler.sync(0, 10, 10, lambda _: 0) == 8
    assert scaler.sync(59, 8, 8, lambda _: 0) == 8
    assert scaler.sync(60, 8, 8, lambda _: 0) == 6


def test_the_fallback_that_ships_can_be_read() -> None:
    ours = fallback()
    assert (ours.least, ours.most) == (2, 16)
    # Ten devices busy for nine of every ten seconds, where each is to be so for six.
    assert HorizontalPodAutoscaler(ours).sync(0, 10, 10, {BUSY: 9.0}.get) == 15


def test_what_ships_can_be_read() -> None:
    ours = shipped()
    assert [trigger.kind for trigger in ours.triggers] == ["AverageValue", "Value"]
    assert ours.with_threshold(0.5).triggers[0].threshold == 0.5
    assert ours.with_queue_seconds(3).triggers[1].threshold == 3
    assert ours.with_patience(7).down.stabilization == 7
