"""What the holder of a key may ask for: so many photos a second, and so many at once."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.errors import KeyLimited

# When one of several requests at once will be done is not known here.
_CONCURRENCY_RETRY_SECONDS = 1.0


class Allowance:
    """A token bucket that holds a second's worth, and a counter."""

    def __init__(self, rate: float, concurrency: float, clock: Callable[[], float] = time.monotonic) -> None:
        """rate: photos a second. concurrency: photos at once. Both may be infinite."""
        self._rate, self._concurrency, self._clock = rate, concurrency, clock
        self._burst = max(1.0, rate)
        self._tokens, self._filled = self._burst, clock()
        self._running = 0

    @property
    def limits(self) -> tuple[float, float]:
        return self._rate, self._concurrency

    @contextmanager
    def taken(self) -> Iterator[None]:
        """One photo's worth, while the context lasts. Raises KeyLimited."""
        if self._running >= self._concurrency:
            raise KeyLimited(
                f"Your API key may ask for {self._concurrency:g} photos at once: wait for one to be answered.",
                retry_after=_CONCURRENCY_RETRY_SECONDS,
            )
        self._spend()
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    def _spend(self) -> None:
        if math.isinf(self._rate):
            return
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._filled) * self._rate)
        self._filled = now
        if self._tokens < 1:
            raise KeyLimited(
                f"Your API key may ask for {self._rate:g} photos a second: try again after Retry-After.",
                retry_after=(1 - self._tokens) / self._rate,
            )
        self._tokens -= 1
