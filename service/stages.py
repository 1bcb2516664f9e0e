"""How long a photo was in each stage of its way, also of one that does not get to the end of it."""

import time
from collections.abc import Mapping

STAGES = ("decode", "queue", "infer", "encode")


class Stages:
    """One after the other, from now on. Seconds, on the clock time.perf_counter."""

    def __init__(self) -> None:
        self._ended: dict[str, float] = {}
        self._since = time.perf_counter()

    def end(self, **seconds: float) -> None:
        """The stages that have ended, and how long each took."""
        self._ended |= seconds
        self._since = time.perf_counter()

    @property
    def ended(self) -> Mapping[str, float]:
        return self._ended

    def so_far(self, dispatched: float | None) -> Mapping[str, float]:
        """With the stage that has not ended. dispatched: when a device got the photo."""
        now, ended = time.perf_counter(), self._ended
        if len(ended) == len(STAGES):
            return ended
        running = STAGES[len(ended)]
        if running == "queue" and dispatched is not None:
            return ended | {"queue": dispatched - self._since, "infer": now - dispatched}
        return ended | {running: now - self._since}
