"""Learning how long work takes."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.scheduling.latency import LatencyModel, Line

UNIT = 2.0**20
times = st.floats(0, 1e3)
costs = st.floats(1.0, 1e8)


def line(a: float = 0.01, b: float = 0.05) -> Line:
    """Starts from the belief that `cost` takes a + b x cost / UNIT."""
    return Line(lambda cost: a + b * cost / UNIT, UNIT)


def observe(learner: Line, count: int, a: float, b: float, noise: float = 0.0, seed: int = 0) -> None:
    """Work of one to eight units that takes a + b x cost."""
    chance = random.Random(seed)
    for _ in range(count):
        units = chance.randint(1, 8)
        learner.observe(units * UNIT, (a + b * units) * chance.uniform(1 - noise, 1 + noise))


def test_starts_from_its_prior() -> None:
    learner = line(0.01, 0.05)
    for units in (0.5, 1, 3, 8, 100):
        assert learner.predict(units * UNIT) == pytest.approx(0.01 + 0.05 * units)


@pytest.mark.parametrize(("a", "b"), [(0.01, 0.004), (0.2, 0.0), (0.0, 0.03), (0.5, 0.1)])
def test_converges_to_overhead_and_slope(a: float, b: float) -> None:
    learner = line(2 * a, 2 * b)
    observe(learner, 200, a, b, noise=0.05)
    for units in (1, 4, 8):
        assert learner.predict(units * UNIT) == pytest.approx(a + b * units, rel=0.1)


@pytest.mark.parametrize("hiccup", [3.0, 30.0, 1000.0])
def test_one_hiccup_moves_the_estimate_little(hiccup: float) -> None:
    learner = line(0.01, 0.02)
    observe(learner, 50, 0.01, 0.02, noise=0.02)
    learner.observe(4 * UNIT, hiccup * 0.09)
    assert learner.predict(4 * UNIT) < 1.1 * 0.09


def test_frequent_hiccups_do_not_either() -> None:
    learner, chance = line(0.01, 0.02), random.Random(0)
    for _ in range(400):
        units = chance.randint(1, 8)
        learner.observe(units * UNIT, (0.01 + 0.02 * units) * (20 if chance.random() < 0.03 else 1))
    assert learner.predict(4 * UNIT) < 1.5 * 0.09


@pytest.mark.parametrize("factor", [0.1, 0.5, 2.0, 10.0])
def test_a_lasting_change_is_followed_within_about_thirty_observations(factor: float) -> None:
    learner = line(0.01, 0.02)
    observe(learner, 200, 0.01, 0.02, noise=0.05)
    before, after = 0.09, factor * 0.09
    observe(learner, 30, factor * 0.01, factor * 0.02, noise=0.05)
    # Half of the way and more, and nearly all of it in twice as many again.
    assert abs(learner.predict(4 * UNIT) - after) < 0.45 * abs(before - after)
    observe(learner, 60, factor * 0.01, factor * 0.02, noise=0.05)
    assert abs(learner.predict(4 * UNIT) - after) < 0.1 * abs(before - after)


def test_observations_of_one_cost_alone_leave_the_slope_to_the_prior() -> None:
    learner = line(0.0, 0.05)
    for _ in range(300):
        learner.observe(UNIT, 0.05)
    assert learner.predict(8 * UNIT) == pytest.approx(0.4, rel=0.05)


@given(st.lists(st.tuples(costs, times), max_size=60), costs)
def test_a_prediction_is_always_a_time_and_grows_with_the_cost(
    observations: list[tuple[float, float]], cost: float
) -> None:
    learner = line()
    for seen, seconds in observations:
        learner.observe(seen, seconds)
    assert 0 < learner.predict(cost) <= learner.predict(2 * cost) < float("inf")


def test_guesses_until_something_was_measured() -> None:
    assert LatencyModel(2e-8).predict("decode", None, 1e6) == pytest.approx(0.02)


def test_the_first_measurement_counts_in_full() -> None:
    latencies = LatencyModel(1e-8)
    latencies.observe("cpu", (32, 32), 1e6, 0.5)
    assert latencies.predict("cpu", (32, 32), 2e6) == pytest.approx(1.0)


@pytest.mark.parametrize(("large", "seconds"), [(8e6, 0.045), (3e6, 0.02)])
def test_primed_by_two_measurements(large: float, seconds: float) -> None:
    latencies = LatencyModel(1.0)
    latencies.prime("gpu", (32, 32), (1e6, 0.01), (large, seconds))
    assert latencies.predict("gpu", (32, 32), 1e6) == pytest.approx(0.01)
    assert latencies.predict("gpu", (32, 32), large) == pytest.approx(seconds)
    # And so is all of its family.
    assert latencies.predict("gpu", (64, 64), 2e6) == pytest.approx(0.015)


def test_primed_by_one_cost_a_time_is_proportional_to_it() -> None:
    latencies = LatencyModel(1.0)
    latencies.prime("cpu", (2048, 2048), (4e6, 0.4), (4e6, 0.39))
    assert latencies.predict("cpu", (2048, 2048), 8e6) == pytest.approx(0.8)


def test_a_larger_batch_that_was_faster_by_chance_gives_no_negative_slope() -> None:
    latencies = LatencyModel(1.0)
    latencies.prime("gpu", None, (1e6, 0.02), (8e6, 0.01))
    assert 0 < latencies.predict("gpu", None, 1e6) <= latencies.predict("gpu", None, 1e9)


def test_a_prior_is_not_forgotten_by_a_few_slow_observations() -> None:
    latencies = LatencyModel(1.0)
    latencies.prime("gpu", (32, 32), (1e6, 0.01), (8e6, 0.08))
    for _ in range(3):
        latencies.observe("gpu", (32, 32), 1e6, 0.1)
    assert latencies.predict("gpu", (32, 32), 8e6) < 0.3


def test_a_hiccup_at_the_very_first_is_forgotten() -> None:
    latencies = LatencyModel(1e-8)
    latencies.observe("encode", "image/webp", 1e6, 1.0)
    for i in range(100):
        latencies.observe("encode", "image/webp", (1 + i % 8) * 1e6, (1 + i % 8) * 0.1)
    assert latencies.predict("encode", "image/webp", 4e6) == pytest.approx(0.4, rel=0.2)


def test_a_key_not_seen_yet_takes_its_family() -> None:
    latencies = LatencyModel(1e-8)
    for _ in range(100):
        latencies.observe("cpu", "small", 1e6, 0.1)
        latencies.observe("cpu", "large", 4e6, 0.4)
        latencies.observe("gpu", "small", 1e6, 0.001)
    assert latencies.predict("cpu", "other", 2e6) == pytest.approx(0.2, rel=0.05)
    assert latencies.predict("gpu", "other", 2e6) == pytest.approx(0.002, rel=0.05)


def test_keys_of_a_family_are_told_apart() -> None:
    latencies = LatencyModel(1e-8)
    for _ in range(100):
        latencies.observe("cpu", "a", 1e6, 0.1)
        latencies.observe("cpu", "b", 1e6, 0.3)
    assert latencies.predict("cpu", "a", 1e6) == pytest.approx(0.1, rel=0.1)
    assert latencies.predict("cpu", "b", 1e6) == pytest.approx(0.3, rel=0.1)


def test_a_family_without_keys_learns_as_one_with() -> None:
    latencies = LatencyModel(1e-8)
    for seconds in (0.1, 0.1, 0.1, 1.0, 0.2):
        latencies.observe("keyed", "key", 1e6, seconds)
        latencies.observe("keyless", None, 1e6, seconds)
    assert latencies.predict("keyless", None, 1e6) == pytest.approx(latencies.predict("keyed", "key", 1e6))


def test_another_family_says_nothing_of_this_one() -> None:
    latencies = LatencyModel(1e-8)
    latencies.observe("cpu", "small", 1e6, 5.0)
    assert latencies.predict("decode", None, 1e6) == pytest.approx(0.01)


def test_tiny_work_does_not_make_large_work_look_slow() -> None:
    latencies = LatencyModel(1e-8)
    for _ in range(100):
        latencies.observe("decode", None, 1, 0.001)
    assert latencies.predict("decode", None, 1e6) < 0.1
    latencies.prime("gpu", (32, 32), (1e6, 0.01), (8e6, 0.08))
    latencies.prime("npu", (32, 32), (1e3, 0.01), (4e3, 0.01))
    assert latencies.predict("npu", (32, 32), 1e6) < 0.2
    for _ in range(100):
        latencies.observe("gpu", (32, 32), 1, 0.005)
    assert latencies.predict("gpu", (32, 32), 8e6) < 0.2


def test_silence_is_the_time_since_the_family_was_heard_of() -> None:
    now = 100.0
    latencies = LatencyModel(1e-8, lambda: now)
    assert latencies.silence("cpu") == float("inf")
    latencies.observe("cpu", "a", 1e6, 0.1)
    now = 107.0
    latencies.prime("gpu", None, (1.0, 1.0), (2.0, 2.0))
    assert (latencies.silence("cpu"), latencies.silence("gpu")) == (7, 0)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 10**8), times), max_size=30), st.integers(1, 10**8))
def test_whatever_was_seen_a_prediction_is_a_time(observations: list[tuple[int, int, float]], cost: int) -> None:
    latencies = LatencyModel(1e-8)
    for key, pixels, seconds in observations:
        latencies.observe("cpu", key, pixels, seconds)
    assert 0 < latencies.predict("cpu", 0, cost) < float("inf")
