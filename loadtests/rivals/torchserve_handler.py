"""The handler that TorchServe's worker runs: shaped as its documentation shows it."""

from typing import Any

from device import SleepingDevice  # packed beside this file, into the archive


class Handler:
    """Answers with the size of the batch that a photo was in."""

    def initialize(self, context: Any) -> None:  # noqa: ARG002 (TorchServe's signature)
        self.sleeping = SleepingDevice()

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[dict[str, int]]:  # noqa: ARG002
        self.sleeping.run(len(data))
        return [{"batch": len(data)} for _ in data]
