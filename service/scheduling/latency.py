"""How long work takes, learned online from what it took: a + b x cost."""

import math
import time
from collections.abc import Callable, Hashable

# What an observation still counts for when the next one comes: about thirty of them make the estimate.
_MEMORY = 0.97
# Errors of more than this many typical ones are hiccups, and count in proportion less.
_OUTLIER = 3.0
# No clock tells less, and ratios of times are taken.
_LEAST_SECONDS = 1e-9
# Relative error that is typical at first, and at least.
_FIRST_SPREAD, _LEAST_SPREAD = 0.3, 0.02
# Smaller work counts as this much: its time is overhead, and a slope made of that would make large work look hopeless.
_SMALLEST_COST = 2.0**16
# A prior speaks for a cost and for this many times as much.
_PRIOR_SPAN = 8
# What each half of a prior counts for in the end, where an observation counts for one.
_LEAST_TRUST = 0.1


class Line:
    """seconds = a + b x cost, by weighted least squares with forgetting; neither is ever negative.

    The prior fades as observations do, but never quite. It keeps the fit defined where all observations have one cost,
    and keeps a first burst of odd ones from owning it.
    """

    def __init__(self, prior: Callable[[float], float], cost: float) -> None:
        """prior: seconds of a cost, believed a little at `cost` and at 8 x `cost`."""
        self._unit = cost
        self._prior = [(float(scale), prior(cost * scale)) for scale in (1, _PRIOR_SPAN)]
        self._trust = 1.0
        self._sums = (0.0,) * 5
        self._spread = _FIRST_SPREAD
        self._fit()

    def predict(self, cost: float) -> float:
        """Seconds, never quite none."""
        return max(_LEAST_SECONDS, self._a + self._b * cost / self._unit)

    def observe(self, cost: float, seconds: float) -> None:
        """Learn that `cost` took `seconds`."""
        error = abs(seconds / self.predict(cost) - 1)
        weight = min(1.0, _OUTLIER * self._spread / max(error, 1e-9))
        # A lasting change widens what is typical and so is soon believed; a single hiccup hardly does.
        bounded = min(error, 2 * _OUTLIER * self._spread)
        self._spread = max(_LEAST_SPREAD, self._spread + 0.1 * (bounded - self._spread))
        x = cost / self._unit
        terms = (1.0, x, seconds, x * x, x * seconds)
        n, sx, sy, sxx, sxy = (s * _MEMORY + weight * t for s, t in zip(self._sums, terms, strict=True))
        self._sums = (n, sx, sy, sxx, sxy)
        self._trust = max(_LEAST_TRUST, self._trust * _MEMORY)
        self._fit()

    def _fit(self) -> None:
        n, sx, sy, sxx, sxy = self._sums
        w = self._trust
        for x, y in self._prior:
            n, sx, sy, sxx, sxy = n + w, sx + w * x, sy + w * y, sxx + w * x * x, sxy + w * x * y
        slope = (n * sxy - sx * sy) / (n * sxx - sx * sx)
        # Where the intercept would be negative, the best line through the origin.
        self._b = min(max(slope, 0.0), sxy / sxx)
        self._a = max(0.0, (sy - self._b * sx) / n)


class LatencyModel:
    """A line for each (family, key), such as ((device kind, model), bucket); a key starts from its family's line."""

    def __init__(self, guess: float, clock: Callable[[], float] = time.monotonic) -> None:
        """guess: seconds a unit of cost in a family of which nothing was measured."""
        self._guess, self._clock = guess, clock
        self._lines: dict[tuple[Hashable, Hashable], Line] = {}
        self._last: dict[Hashable, float] = {}

    def predict(self, family: Hashable, key: Hashable, cost: float) -> float:
        """Seconds that `cost` will take."""
        cost = max(cost, _SMALLEST_COST)
        line = self._lines.get((family, key)) or self._lines.get((family, None))
        return line.predict(cost) if line else self._guess * cost

    def observe(self, family: Hashable, key: Hashable, cost: float, seconds: float) -> None:
        """Learn that `cost` took `seconds`."""
        cost = max(cost, _SMALLEST_COST)
        for name in dict.fromkeys((key, None)):
            if (family, name) not in self._lines:
                relatives = self._lines.get((family, None))
                prior = relatives.predict if relatives else lambda c: seconds * c / cost
                self._lines[family, name] = Line(prior, cost)
            self._lines[family, name].observe(cost, seconds)
        self._last[family] = self._clock()

    def prime(self, family: Hashable, key: Hashable, small: tuple[float, float], large: tuple[float, float]) -> None:
        """Take two measured (cost, seconds) as what is known before any load: the prior of this key and its family."""
        (low, low_seconds), (high, high_seconds) = small, large
        low, high = max(low, _SMALLEST_COST), max(high, _SMALLEST_COST)
        slope = max(0.0, high_seconds - low_seconds) / (high - low) if high > low else low_seconds / low

        def measured(cost: float) -> float:
            return low_seconds + slope * (cost - low)

        for name in (key, None):
            self._lines[family, name] = Line(measured, low)
        self._last[family] = self._clock()

    def silence(self, family: Hashable) -> float:
        """Seconds since anything of this family was measured; infinite if nothing was."""
        return self._clock() - self._last.get(family, -math.inf)
