"""HTTP by hand on a socket, for clients that hang up, dawdle, or wait to be asked."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import httpx


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)


class Connection:
    """One connection to a gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def post(self, body: bytes = b"", *headers: str, path: str = "/segment", length: int | None = None) -> None:
        """Send a request with a Content-Length; `length` announces more than is sent."""
        lines = [f"POST {path} HTTP/1.1", "Host: segserve", f"Content-Length: {length or len(body)}", *headers, "", ""]
        await self.send("\r\n".join(lines).encode() + body)

    async def reply(self, pace: float = 0) -> Reply:
        """pace: seconds between reads of up to 256 KiB of its body."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status, *fields = head.split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in fields if line)
        left = int(headers.get("content-length", 0))
        body = bytearray()
        while left:
            part = await self._reader.readexactly(min(left, 2**18))
            body += part
            left -= len(part)
            await asyncio.sleep(pace)
        return Reply(int(status.split()[1]), headers, bytes(body))

    def reset(self) -> None:
        """End it without a goodbye."""
        at_once = struct.pack("ii", 1, 0)
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        self._writer.transport.abort()

    async def closed(self) -> bool:
        """Whether the other side ends the connection, and says nothing more."""
        try:
            return await asyncio.wait_for(self._reader.read(), 30) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False


@asynccontextmanager
async def connection(address: httpx.URL) -> AsyncIterator[Connection]:
    """Leaving the context hangs up."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        yield Connection(reader, writer)
    finally:
        # At once, whatever has not been sent or read.
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()
