"""Ids of OpenTelemetry's spans, of which one may be told before its span is made."""

from opentelemetry.sdk.trace.id_generator import RandomIdGenerator


class SpanIds(RandomIdGenerator):
    """Random ones, but for those that were promised."""

    def __init__(self) -> None:
        self._promised: int | None = None

    def keep(self, promised: int) -> None:
        """The next span gets this id."""
        self._promised = promised

    def generate_span_id(self) -> int:
        promised, self._promised = self._promised, None
        return super().generate_span_id() if promised is None else promised
