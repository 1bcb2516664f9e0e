import pytest

from loadtests.client import Sample
from loadtests.scenarios.retry_after import header_is_valid, predictions


def refusal(answered: float, retry_after_ms: float) -> Sample:
    return Sample(answered, answered, answered, 429, retry_after_ms=retry_after_ms, retry_after_s=1)


def test_predictions_count_from_the_end_of_the_burst_to_the_next_admission() -> None:
    burst = [refusal(0.5, 9), refusal(1.0, 90), Sample(0, 0, 2.0, 200)]
    early = Sample(0.9, 0.9, 1.5, 200)  # admitted while the burst was still coming in
    admitted, later = Sample(1.1, 1.1, 1.6, 200), Sample(1.2, 1.2, 1.7, 200)
    polls = [refusal(0.8, 7), early, refusal(1.05, 60), admitted, refusal(1.15, 5), later]
    predicted, actual = zip(*predictions(burst, polls), strict=True)
    assert predicted == (90, 60)
    assert actual == pytest.approx((100, 50))


def test_a_request_that_lay_in_its_socket_counts_from_when_it_was_taken() -> None:
    burst = [refusal(1.0, 90)]
    waited = Sample(0.9, 0.9, 1.6, 200, worked_s=0.52)
    [(predicted, actual)] = predictions(burst, [waited, Sample(1.2, 1.2, 1.7, 200)])
    assert predicted == 90
    assert actual == pytest.approx(80)


def test_without_a_refusal_or_an_admission_there_is_nothing_to_compare() -> None:
    assert predictions([Sample(0, 0, 1, 200)], [refusal(1, 5)]) == []
    assert predictions([refusal(1, 5)], [refusal(2, 5)]) == []


@pytest.mark.parametrize(
    ("milliseconds", "header", "valid"),
    [
        (5, 1, True),
        (900, 2, True),
        (900, 1, True),
        (1200, 1, False),
        (1200, 2, True),
        (1200, 4, False),
        (5, 1.5, False),
    ],
)
def test_the_header_is_the_ceiling_jittered_upwards(milliseconds: float, header: float, valid: bool) -> None:
    sample = Sample(0, 0, 1, 429, retry_after_ms=milliseconds, retry_after_s=header)
    assert header_is_valid(sample) is valid
