"""An event loop whose clock jumps to whatever is due next: minutes in milliseconds, and the same on every machine."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class NothingHappens(Exception):
    """Everybody waits for something that will never come."""


class _Jumps(selectors.SelectSelector):
    """Knows no events but the passing of time, which it makes pass."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise NothingHappens
        self.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """No sockets, no threads, no sleep."""

    def __init__(self) -> None:
        self._jumps = _Jumps()
        super().__init__(self._jumps)

    def time(self) -> float:
        return self._jumps.now


def run_virtually(main: Coroutine[Any, Any, T]) -> T:
    """The result of `main`. Raises NothingHappens instead of waiting for ever."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def now() -> float:
    """Seconds on the running loop's clock."""
    return asyncio.get_running_loop().time()
