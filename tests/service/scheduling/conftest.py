import os

import pytest
from hypothesis import HealthCheck, settings

from tests.service.fakes import FakeDevice

# How many random cases the scheduler has to stand: SCHEDULER_CASES, or what a run of all tests has time for.
settings.register_profile(
    "scheduler",
    max_examples=int(os.environ.get("SCHEDULER_CASES", "2000")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.fixture
def device() -> FakeDevice:
    return FakeDevice()


@pytest.fixture
def busy(device: FakeDevice) -> FakeDevice:
    """Busy with its first batch until its gate opens."""
    device.gate.clear()
    return device
