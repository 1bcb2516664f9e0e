"""How long work takes, learned from what it took."""

from collections.abc import Hashable

# Share of a new measurement in the estimate: a handful of batches forget an old speed.
_GAIN = 0.2
# One measurement moves an estimate by at most this factor, so that a hiccup or a burst cannot poison it.
_LARGEST_STEP = 2.0
# Smaller work counts as this much: its time is overhead, and a rate made of that would have large work refused.
_SMALLEST_COST = 2**16


class CostModel:
    """Seconds a unit of cost, per key; a key not seen yet takes the mean of its family."""

    def __init__(self, guess: float) -> None:
        """guess: seconds a unit of cost in a family of which nothing was measured."""
        self._guess = guess
        self._rates: dict[tuple[Hashable, Hashable], float] = {}

    def predict(self, family: Hashable, key: Hashable, cost: float) -> float:
        """Seconds that `cost` will take."""
        return self._rate(family, key) * max(cost, _SMALLEST_COST)

    def observe(self, family: Hashable, key: Hashable, cost: float, seconds: float) -> None:
        """Learn that `cost` took `seconds`."""
        measured = seconds / max(cost, _SMALLEST_COST)
        known = self._rates.get((family, key))
        if known is None:
            self._rates[family, key] = measured
        else:
            bounded = min(max(measured, known / _LARGEST_STEP), known * _LARGEST_STEP)
            self._rates[family, key] = known + _GAIN * (bounded - known)

    def _rate(self, family: Hashable, key: Hashable) -> float:
        known = self._rates.get((family, key))
        if known is not None:
            return known
        relatives = [rate for (f, _), rate in self._rates.items() if f == family]
        return sum(relatives) / len(relatives) if relatives else self._guess
