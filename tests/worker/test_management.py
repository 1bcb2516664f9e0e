from dataclasses import astuple
from pathlib import Path

import pytest

from worker.management import totals

RECORDED = Path(__file__).with_name("torchserve_metrics.txt")
"""What TorchServe 0.12.0 shows after five calls, of which the last one took three seconds."""


def test_totals_of_what_torchserve_shows() -> None:
    found = totals(RECORDED.read_text())
    assert found.keys() == {("tiny", "1")}
    [[calls, waited, took]] = map(astuple, found.values())
    assert (calls, waited, took) == pytest.approx((5, 0.0052756, 3.2292272), rel=1e-4)


def test_a_torchserve_without_calls_has_none() -> None:
    assert not totals("# TYPE ts_inference_requests_total counter\n")
