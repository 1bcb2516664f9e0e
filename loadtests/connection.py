"""One HTTP/1.1 connection, as light as can be: a load test shares its cores with the server that it measures."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import httptools


class NoAnswer(Exception):
    """The connection ended before an answer came. fully_sent: the request had left this process whole."""

    def __init__(self, *, fully_sent: bool) -> None:
        super().__init__("the connection ended without an answer")
        self.fully_sent = fully_sent


@dataclass(frozen=True, slots=True)
class Answer:
    """Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connection(asyncio.Protocol):
    """Keeps alive between requests; one at a time."""

    def __init__(self) -> None:
        self.closed = False
        self._sent = True
        self._answer: asyncio.Future[Answer] | None = None
        self._reset()

    @classmethod
    async def open(cls, host: str, port: int) -> "Connection":
        """Raises OSError where nobody listens."""
        _, connection = await asyncio.get_running_loop().create_connection(cls, host, port)
        return connection

    async def exchange(self, request: bytes) -> Answer:
        """Send a whole request, head and body, and wait for its answer. Raises NoAnswer."""
        if self.closed:
            raise NoAnswer(fully_sent=False)
        self._answer = asyncio.get_running_loop().create_future()
        try:
            self._transport.write(request)
            return await self._answer
        finally:
            if not self._answer.done() or self._answer.cancelled():
                # Whoever gave up waiting hangs up: the answer that may still come belongs to nobody.
                self.close()

    def close(self) -> None:
        """Hang up."""
        self.closed = True
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods of asyncio.Transport and are none.
        self._transport = cast(asyncio.Transport, transport)
        # With no room to buffer, the transport tells when the last byte has gone to the kernel.
        self._transport.set_write_buffer_limits(high=0)

    def pause_writing(self) -> None:
        self._sent = False

    def resume_writing(self) -> None:
        self._sent = True

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's signature)
        self.closed = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(NoAnswer(fully_sent=self._sent))

    # What follows is called by the parser.

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # an interim answer: the final one follows
            self._reset()
            return
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(Answer(status, self._headers, bytes(self._body)))
        if self._parser.should_keep_alive():
            self._reset()
        else:
            self.close()

    def _reset(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._body = bytearray()
