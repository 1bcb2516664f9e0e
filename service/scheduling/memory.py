"""Memory that requests in flight may hold, counted in bytes before it is taken."""

from collections.abc import Callable


class MemoryBudget:
    """A counter with a ceiling. One request that is larger than the ceiling may still go, alone."""

    def __init__(self, ceiling: int, on_change: Callable[[int], None]) -> None:
        self._ceiling, self._on_change = ceiling, on_change
        self.held = 0

    def reserve(self, amount: int, own: int = 0) -> bool:
        """Take `amount` bytes for a request that holds `own` already; False, and none taken, where they don't fit."""
        if self.held > own and self.held + amount > self._ceiling:
            return False
        self._set(self.held + amount)
        return True

    def release(self, amount: int) -> None:
        self._set(self.held - amount)

    def _set(self, held: int) -> None:
        self.held = held
        self._on_change(held)
