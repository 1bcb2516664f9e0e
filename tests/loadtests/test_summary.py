import pytest

from loadtests.client import Sample
from loadtests.summary import percentile, summarise


def sample(due: float, seconds: float = 0.1, status: int | None = 200, units: float = 1) -> Sample:
    return Sample(due, due, due + seconds, status, units=units)


@pytest.mark.parametrize(("q", "value"), [(0.5, 50), (0.99, 99), (0.999, 100), (0, 1), (1, 100)])
def test_a_percentile_is_one_of_the_values(q: float, value: int) -> None:
    assert percentile(range(1, 101), q) == value


def test_nothing_has_no_percentile() -> None:
    assert percentile([], 0.5) is None


def test_goodput_counts_what_was_answered_inside_window_and_deadline() -> None:
    samples = [sample(0.0), sample(1.5), sample(2.0, seconds=0.6), sample(2.5, units=2), sample(3.95)]
    summary = summarise(samples, seconds=4, deadline=0.5, warm_up=1)
    # The first is warm-up, the third late, the last answered after the window.
    assert summary.goodput == pytest.approx(3 / 3)
    assert summary.throughput == pytest.approx(4 / 3)
    assert summary.requests == 4
    assert summary.in_time == pytest.approx(3 / 4)


def test_refusals_and_losses_are_not_accepted() -> None:
    samples = [sample(0.0), sample(0.1, status=429), sample(0.2, status=503), sample(0.3, status=None)]
    summary = summarise([*samples, sample(0.4, status=504)], seconds=1, deadline=0.5)
    assert (summary.accepted, summary.refused, summary.unanswered) == (2, 2, 1)
    assert summary.in_time == 0.5
    assert summary.statuses == {"200": 1, "429": 1, "503": 1, "none": 1, "504": 1}


def test_latency_is_counted_from_when_a_request_was_due() -> None:
    late = Sample(due=0.0, sent=0.5, answered=0.6, status=200)
    summary = summarise([late], seconds=1)
    assert summary.latency.p50_ms == pytest.approx(600)
    assert summary.client_lag_ms == pytest.approx(500)


def test_latencies_are_told_by_priority() -> None:
    summary = summarise([sample(0), Sample(0.1, 0.1, 0.5, 200, "batch")], seconds=1)
    assert summary.by_priority["normal"].p99_ms == pytest.approx(100)
    assert summary.by_priority["batch"].p99_ms == pytest.approx(400)
