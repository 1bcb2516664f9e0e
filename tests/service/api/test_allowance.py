import math
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.allowance import Allowance
from service.errors import KeyLimited


class Clock:
    """Stands still until it is set. now: seconds."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def ask(allowance: Allowance) -> bool:
    """Whether one photo may be asked for, which is answered at once."""
    try:
        with allowance.taken():
            return True
    except KeyLimited:
        return False


def test_a_bucket_that_is_empty_fills_by_its_rate_up_to_a_seconds_worth() -> None:
    clock = Clock()
    allowance = Allowance(4, math.inf, clock)
    assert [ask(allowance) for _ in range(5)] == [True] * 4 + [False]
    clock.now += 0.24
    assert not ask(allowance)
    clock.now += 0.01
    assert [ask(allowance) for _ in range(2)] == [True, False]
    clock.now += 0.5
    assert [ask(allowance) for _ in range(3)] == [True, True, False]
    clock.now += 3600
    assert [ask(allowance) for _ in range(5)] == [True] * 4 + [False]


@pytest.mark.parametrize("rate", [0.1, 3, 70])
def test_whoever_comes_when_told_to_is_served(rate: float) -> None:
    clock = Clock()
    allowance = Allowance(rate, math.inf, clock)
    while ask(allowance):
        pass
    for _ in range(20):
        with pytest.raises(KeyLimited) as refused, allowance.taken():
            pass
        assert refused.value.retry_after is not None
        assert 0 < refused.value.retry_after <= 1 / rate
        clock.now += refused.value.retry_after * (1 + 1e-9)
        assert ask(allowance)


@given(
    rate=st.floats(0.1, 100),
    pauses=st.lists(st.floats(0, 1) | st.floats(0, 10), min_size=1, max_size=200),
)
def test_no_window_has_more_than_the_rate_and_a_burst_and_a_full_bucket_turns_nobody_away(
    rate: float, pauses: list[float]
) -> None:
    """pauses: in the time that one photo takes to be allowed."""
    clock = Clock()
    allowance = Allowance(rate, math.inf, clock)
    burst = max(1.0, rate)
    taken: list[float] = []
    last = -math.inf
    for now in accumulate(pause / rate for pause in pauses):
        clock.now = now + 100
        if ask(allowance):
            taken.append(now)
        else:
            assert now - last < (1 / rate) * (1 + 1e-9)
        last = now
    for first in range(len(taken)):
        for end in range(first, len(taken)):
            assert end - first + 1 <= rate * (taken[end] - taken[first]) + burst + 1e-6


def test_a_key_without_a_rate_is_never_refused() -> None:
    allowance = Allowance(math.inf, math.inf, Clock())
    assert all(ask(allowance) for _ in range(1000))


def test_what_is_refused_for_being_too_many_at_once_costs_no_token() -> None:
    clock = Clock()
    allowance = Allowance(2, 1, clock)
    with allowance.taken():
        assert not ask(allowance)
    assert [ask(allowance) for _ in range(2)] == [True, False]
