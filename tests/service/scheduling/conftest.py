"""How many random cases the scheduler has to stand: SCHEDULER_CASES, or what a run of all tests has time for."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "scheduler",
    max_examples=int(os.environ.get("SCHEDULER_CASES", "2000")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
