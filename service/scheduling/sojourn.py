"""A guard against wrong predictions: CoDel (Nichols & Jacobson 2012), applied not to waits but to their errors."""

import math

# A standing error is one that no photo escapes for this long.
INTERVAL_SECONDS = 0.5
# Errors below this are noise.
TARGET_SECONDS = 0.01


class SojournGuard:
    """Watches how much later than predicted photos reach a device.

    The predictions it is told of are those without its excess. Were it in them, the error of photos from before the
    excess rose would raise it again in every interval until they are gone, far above what is amiss.
    """

    def __init__(self) -> None:
        self._excess = 0.0
        self._least = math.inf
        self._since = 0.0

    def observe(self, now: float, lateness: float) -> None:
        """A photo reached a device `lateness` seconds after its predicted time (negative: before it)."""
        self._close(now)
        self._least = min(self._least, lateness)

    def excess(self, now: float) -> float:
        """Seconds to raise predictions by."""
        self._close(now)
        return self._excess

    def _close(self, now: float) -> None:
        intervals = int((now - self._since) / INTERVAL_SECONDS)
        if not intervals:
            return
        # One lucky photo shows that there is no standing error: only the least lateness counts.
        if TARGET_SECONDS < self._least < math.inf:
            self._excess, intervals = self._least, intervals - 1
        # Of an interval without news half is believed, so that a refused service finds back.
        self._excess *= 0.5**intervals
        if self._excess < TARGET_SECONDS:
            self._excess = 0.0
        self._least, self._since = math.inf, now
