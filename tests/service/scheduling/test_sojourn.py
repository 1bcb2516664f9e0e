import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.scheduling.sojourn import INTERVAL_SECONDS, TARGET_SECONDS, SojournGuard


def watched(*lateness: float, start: float = 0.0) -> SojournGuard:
    """A guard that saw these, ten an interval."""
    guard = SojournGuard()
    for i, late in enumerate(lateness):
        guard.observe(start + i * INTERVAL_SECONDS / 10, late)
    return guard


def test_nothing_is_added_to_predictions_that_hold() -> None:
    guard = watched(*[-0.2, 0.0, TARGET_SECONDS / 2] * 20)
    assert guard.excess(6 * INTERVAL_SECONDS) == 0


def test_a_standing_error_is_added_from_the_next_interval_on() -> None:
    guard = watched(*[0.3] * 9)
    assert guard.excess(0.9 * INTERVAL_SECONDS) == 0
    assert guard.excess(INTERVAL_SECONDS) == pytest.approx(0.3)


def test_only_what_no_photo_escapes_is_a_standing_error() -> None:
    assert watched(*[3.0, 0.4, 2.0, 5.0]).excess(INTERVAL_SECONDS) == pytest.approx(0.4)
    assert watched(*[3.0, 3.0, -0.1, 3.0]).excess(INTERVAL_SECONDS) == 0


def test_an_error_that_stays_is_not_added_again_and_again() -> None:
    guard = watched(*[0.3] * 1000)
    assert guard.excess(100 * INTERVAL_SECONDS) == pytest.approx(0.3)


def test_an_error_that_is_gone_is_forgotten_by_and_by() -> None:
    guard = watched(*[0.3] * 11)
    excesses = []
    for interval in range(1, 10):
        guard.observe((interval + 0.5) * INTERVAL_SECONDS, 0.0)
        excesses.append(guard.excess((interval + 0.5) * INTERVAL_SECONDS))
    assert excesses[0] > excesses[2] > excesses[3] > 0
    assert excesses[-1] == 0


def test_without_news_it_is_forgotten_too() -> None:
    guard = watched(*[8.0] * 11)
    assert guard.excess(INTERVAL_SECONDS) == 8
    assert guard.excess(6.5 * INTERVAL_SECONDS) < 1
    assert guard.excess(100 * INTERVAL_SECONDS) == 0


@given(st.lists(st.tuples(st.floats(0, 3), st.floats(-10, 10)), max_size=50))
def test_the_excess_is_never_negative_nor_more_than_was_seen(steps: list[tuple[float, float]]) -> None:
    guard, now, worst = SojournGuard(), 0.0, 0.0
    for gap, late in steps:
        now += gap
        guard.observe(now, late)
        worst = max(worst, late)
        assert 0 <= guard.excess(now) <= worst
