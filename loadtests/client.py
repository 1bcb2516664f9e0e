"""Load on a server: closed loop (each client waits for its answer) and open loop (arrivals wait for nobody)."""

import asyncio
import json
import random
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import count

from loadtests.connection import Answer, Connection, NoAnswer
from loadtests.loopback import HOST
from loadtests.requests import Mix, Priority, Request

MAX_REQUESTS = 100_000
"""More than this is never sent in one go."""
MAX_CONNECTIONS = 4_000
"""Arrivals that would need more are counted as unanswered."""
REFUSED = (429, 503)


@dataclass(frozen=True, slots=True)
class Sample:
    """One request, on the clock time.perf_counter (seconds).

    due: when it was to be sent; sent: when it was. status: None where no answer came; fully_sent is then whether the
    request left whole. retry_after_ms: of the body's prediction; retry_after_s: of the header. worked_s: the sum of the
    stages in the answer's Server-Timing.
    """

    due: float
    sent: float
    answered: float
    status: int | None
    priority: Priority = "normal"
    units: float = 1.0
    retry_after_ms: float | None = None
    retry_after_s: float | None = None
    fully_sent: bool = True
    worked_s: float | None = None

    @property
    def admitted(self) -> float:
        """When the server took it: it may have lain in a socket before. `sent` where the answer does not tell."""
        return self.sent if self.worked_s is None else self.answered - self.worked_s

    @property
    def seconds(self) -> float:
        """From due to answered, so that a client that lags cannot flatter the server."""
        return self.answered - self.due


class Client:
    """Connections to one port of this machine: as many as are busy at once, kept for the next request."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[Connection] = []
        self._open = 0

    async def send(self, request: Request, due: float | None = None) -> Sample:
        """due: now, unless told otherwise."""
        sent = time.perf_counter()
        due = sent if due is None else due
        connection = await self._connect()
        if connection is None:
            return Sample(due, sent, time.perf_counter(), None, request.priority, request.units, fully_sent=False)
        sent = time.perf_counter()
        try:
            answer = await connection.exchange(request.wire)
        except NoAnswer as lost:
            answered = time.perf_counter()
            return Sample(due, sent, answered, None, request.priority, request.units, fully_sent=lost.fully_sent)
        finally:
            if connection.closed:
                self._open -= 1
            else:
                self._idle.append(connection)
        answered = time.perf_counter()
        return Sample(
            due,
            sent,
            answered,
            answer.status,
            request.priority,
            request.units,
            *_retry_after(answer),
            worked_s=_worked_seconds(answer),
        )

    def close(self) -> None:
        """Hang up everywhere."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    async def _connect(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
            self._open -= 1
        if self._open >= MAX_CONNECTIONS:
            return None
        self._open += 1
        try:
            return await Connection.open(HOST, self._port)
        except OSError:
            self._open -= 1
            return None


async def closed_loop(port: int, mix: Mix, *, clients: int, seconds: float, seed: int = 0) -> list[Sample]:
    """Each client sends its next request when it has its answer; none starts one after `seconds`."""
    client, numbers = Client(port), count()
    draw = random.Random(seed)
    end = time.perf_counter() + seconds
    samples: list[Sample] = []

    async def one() -> None:
        while time.perf_counter() < end and next(numbers) < MAX_REQUESTS:
            sample = await client.send(_draw(draw, mix))
            samples.append(sample)
            if sample.status != 200:
                await asyncio.sleep(0.01)  # a refusal costs little: without a pause it would become a busy loop

    try:
        await asyncio.gather(*(one() for _ in range(clients)))
    finally:
        client.close()
    return samples


async def open_loop(
    port: int, mix: Mix, *, rate: float, seconds: float, seed: int = 0, patience: float = 2.0
) -> list[Sample]:
    """Poisson arrivals, `rate` a second, for `seconds`; then `patience` seconds for answers still out.

    The same seed makes the same arrivals. Nothing here waits for an answer.
    """
    client, draw = Client(port), random.Random(seed)
    started = due = time.perf_counter()
    tasks: list[asyncio.Task[Sample]] = []
    sent: list[tuple[float, Request]] = []
    try:
        while len(tasks) < MAX_REQUESTS and (due := due + draw.expovariate(rate)) < started + seconds:
            request = _draw(draw, mix)
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            tasks.append(asyncio.create_task(client.send(request, due)))
            sent.append((due, request))
        if tasks:
            await asyncio.wait(tasks, timeout=patience)
        now = time.perf_counter()
        return [
            task.result() if task.done() else Sample(at, at, now, None, request.priority, request.units)
            for task, (at, request) in zip(tasks, sent, strict=True)
        ]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        client.close()


def _draw(draw: random.Random, mix: Mix) -> Request:
    return mix[0] if len(mix) == 1 else draw.choices(mix, [request.weight for request in mix])[0]


def _retry_after(answer: Answer) -> tuple[float | None, float | None]:
    """Milliseconds of the body, seconds of the header."""
    if answer.status not in REFUSED:
        return None, None
    milliseconds = seconds = None
    with suppress(ValueError, KeyError, TypeError):
        milliseconds = float(json.loads(answer.body)["retry_after_ms"])
    with suppress(ValueError, KeyError):
        seconds = float(answer.headers["retry-after"])
    return milliseconds, seconds


def _worked_seconds(answer: Answer) -> float | None:
    with suppress(ValueError, KeyError):
        stages = answer.headers["server-timing"].split(",")
        return sum(float(stage.partition("dur=")[2]) for stage in stages) / 1000
    return None
