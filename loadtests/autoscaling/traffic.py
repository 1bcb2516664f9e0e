"""What is asked for over time, in workers' worth: 1 keeps one worker busy with full batches."""

import math
from collections.abc import Callable
from dataclasses import dataclass

HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Traffic:
    name: str
    seconds: float
    level: Callable[[float], float]
    """Workers' worth at a time."""


def _day(now: float) -> float:
    """Least at four in the morning, two peaks, most of them in the evening."""
    hour = now / HOUR
    morning = math.exp(-(((hour - 9) / 2.0) ** 2))
    evening = math.exp(-(((hour - 19) / 2.5) ** 2))
    return 1.5 + 5 * morning + 8 * evening + 2 * math.sin(math.pi * hour / 24) ** 2


def _spike(now: float) -> float:
    """Four times as much from one second to the next, for a quarter of an hour."""
    return 12.0 if 0.25 * HOUR <= now < 0.5 * HOUR else 3.0


def _ramp(now: float) -> float:
    """From 2 to 12 and back in two hours."""
    return 12 - 10 * abs(now / HOUR - 1)


def _dips(now: float) -> float:
    """Lulls: a third of it for seven minutes of every quarter of an hour."""
    return 3.0 if now % (0.25 * HOUR) >= 8 * 60 else 9.0


DAY = Traffic("day", 24 * HOUR, _day)
HASTY_DAY = Traffic("hasty day", 2 * HOUR, lambda now: _day(12 * now))
"""A day in two hours: what follows it follows a day."""
SPIKE = Traffic("spike", 1 * HOUR, _spike)
RAMP = Traffic("ramp", 2 * HOUR, _ramp)
DIPS = Traffic("dips", 1 * HOUR, _dips)
