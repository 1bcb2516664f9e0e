"""A client's connection: closed where the client says nothing, and where it does not read what it asked for."""

from asyncio import TimerHandle, Transport

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADER_SECONDS = 10.0
"""From the beginning of a connection, or of a further request, to the end of the request's header."""
STALL_SECONDS = 30.0
STALL_BYTES = 2**16
"""A client that has more of an answer than this to read must read as much in that time. Until then the answer, which
may have tens of megabytes, is kept, and by no limit counted any more."""


class Connection(HttpToolsProtocol):
    """Uvicorn's, which waits for such clients without end."""

    _header: TimerHandle | None = None
    _stall: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_header()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        # Uvicorn stops this timer where the client says goodbye, not where the connection is reset.
        self._unset_keepalive_if_required()
        for timer in (self._header, self._stall):
            if timer:
                timer.cancel()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if not self._header:
            self._await_header()

    def on_headers_complete(self) -> None:
        if self._header:
            self._header.cancel()
            self._header = None
        super().on_headers_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stall:
            self._stall.cancel()
            self._stall = None

    def _await_header(self) -> None:
        self._header = self.loop.call_later(HEADER_SECONDS, self._header_is_late)

    def _header_is_late(self) -> None:
        # While an earlier request is answered, it may be this side that does not read.
        if self.flow.read_paused:
            self._await_header()
        else:
            self.transport.abort()

    def _await_reading(self) -> None:
        self._stall = self.loop.call_later(STALL_SECONDS, self._look, self.transport.get_write_buffer_size())

    def _look(self, left: int) -> None:
        """left: bytes that were still to be sent STALL_SECONDS ago."""
        if left - self.transport.get_write_buffer_size() < STALL_BYTES:
            self.transport.abort()
        else:
            self._await_reading()
