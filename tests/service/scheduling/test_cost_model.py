import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.scheduling.cost_model import CostModel

MEGAPIXEL = 1_000_000
positive = st.floats(1e-6, 1e3)


def test_guesses_until_something_was_measured() -> None:
    assert CostModel(2e-8).predict("decode", None, MEGAPIXEL) == pytest.approx(0.02)


def test_the_first_measurement_counts_in_full() -> None:
    costs = CostModel(1e-8)
    costs.observe("cpu", (32, 32), MEGAPIXEL, 0.5)
    assert costs.predict("cpu", (32, 32), 2 * MEGAPIXEL) == pytest.approx(1.0)


def test_a_key_not_seen_yet_takes_the_mean_of_its_family() -> None:
    costs = CostModel(1e-8)
    costs.observe("cpu", "small", MEGAPIXEL, 0.1)
    costs.observe("cpu", "large", MEGAPIXEL, 0.3)
    costs.observe("gpu", "small", MEGAPIXEL, 0.001)
    assert costs.predict("cpu", "other", MEGAPIXEL) == pytest.approx(0.2)


def test_another_family_says_nothing_of_this_one() -> None:
    costs = CostModel(1e-8)
    costs.observe("cpu", "small", MEGAPIXEL, 5.0)
    assert costs.predict("decode", None, MEGAPIXEL) == pytest.approx(0.01)


def test_one_hiccup_moves_the_estimate_little() -> None:
    costs = CostModel(1e-8)
    costs.observe("cpu", "small", MEGAPIXEL, 0.1)
    costs.observe("cpu", "small", MEGAPIXEL, 100.0)
    assert costs.predict("cpu", "small", MEGAPIXEL) < 0.15


def test_tiny_work_does_not_make_large_work_look_slow() -> None:
    costs = CostModel(1e-8)
    for _ in range(100):
        costs.observe("decode", None, 1, 0.001)
    assert costs.predict("decode", None, MEGAPIXEL) < 0.1


@given(old=positive, new=positive)
def test_follows_a_lasting_change(old: float, new: float) -> None:
    costs = CostModel(1e-8)
    for seconds in [old] * 3 + [new] * 400:
        costs.observe("cpu", "small", MEGAPIXEL, seconds)
    assert costs.predict("cpu", "small", MEGAPIXEL) == pytest.approx(new, rel=0.01)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 10**8), positive), max_size=30), st.integers(1, 10**8))
def test_a_prediction_is_always_a_time(observations: list[tuple[int, int, float]], cost: int) -> None:
    costs = CostModel(1e-8)
    for key, pixels, seconds in observations:
        costs.observe("cpu", key, pixels, seconds)
    assert 0 < costs.predict("cpu", 0, cost) < float("inf")
