"""Ctrl-C and SIGTERM that wait for the end of a training step: half a step cannot be resumed exactly."""

import signal
import threading
from types import FrameType
from typing import Any, Self


class Interruption:
    """While entered, the first SIGINT or SIGTERM only sets `requested`; a second one interrupts at once.

    Signals reach the main thread alone, so elsewhere this does nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous = {
                number: signal.signal(number, self._request) for number in (signal.SIGINT, signal.SIGTERM)
            }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _request(self, _number: int, _frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
