"""The handler that TorchServe's worker runs: shaped as its documentation shows it."""

from typing import Any

from loadtests.rivals.options import inherited
from loadtests.rivals.work import load


class Handler:
    """JPEG in, what the work makes of it out."""

    def initialize(self, context: Any) -> None:  # noqa: ARG002 (TorchServe's signature)
        self.work = load(inherited())

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[bytes]:  # noqa: ARG002
        return list(self.work.run([bytes(call["body"]) for call in data]))
