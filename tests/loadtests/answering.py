"""A tiny HTTP server in this process, whose every answer a test decides."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from loadtests.loopback import HOST

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
REFUSAL = (
    b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/problem+json\r\nRetry-After: 2\r\n"
    b'Content-Length: 24\r\n\r\n{"retry_after_ms": 1234}'
)


@dataclass(slots=True)
class Answering:
    """requests: the head of each, in order. connections: how many were opened."""

    port: int = 0
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def answering(answer: Callable[[int], bytes | None], delay: float = 0.0) -> AsyncIterator[Answering]:
    """answer: by the number of the request, from 0; None hangs up. delay: seconds before each."""
    state = Answering()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        state.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                number = len(state.requests)
                state.requests.append(head)
                await asyncio.sleep(delay)
                data = answer(number)
                if data is None:
                    return
                writer.write(data)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, HOST, 0)
    state.port = server.sockets[0].getsockname()[1]
    try:
        yield state
    finally:
        server.close()
        # Connections end with their clients; what they still do is over in a moment.
        await asyncio.sleep(0.01)
