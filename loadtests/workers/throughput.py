"""`python -m loadtests.workers.throughput`: the embedded engine, workers and a stock TorchServe, in turns."""

import argparse
import asyncio
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import uvloop

from loadtests.client import Client, closed_loop
from loadtests.loopback import free_port
from loadtests.photos import street_photo
from loadtests.process import running
from loadtests.requests import Request, post
from loadtests.summary import summarise
from models.weights.library import find

CLIENTS = 8
SIZES = ((360, 480), (1024, 2048))
GOALS: Mapping[tuple[int, int], float] = {(360, 480): 0.5, (1024, 2048): 0.85}
"""Of the embedded engine's throughput."""


@dataclass(frozen=True, slots=True)
class Server:
    """command: by port. request: by height and width; the network sees the photo unscaled."""

    command: Callable[[int], Sequence[str]]
    ready_path: str
    request: Callable[[int, int], Request]


def ours(backend: str) -> Server:
    def command(port: int) -> Sequence[str]:
        options = {"port": port, "backend": backend, "log-level": "warning"}
        return [sys.executable, "-m", "cli", "serve", *(f"--{name}={value}" for name, value in options.items())]

    def request(height: int, width: int) -> Request:
        path = f"/segment?output=labels&timeout_ms=60000&long_side={max(height, width)}"
        return Request(post(path, street_photo(height, width).body))

    return Server(command, "/readyz", request)


def stock() -> Server:
    checkpoint = find("eseg-lite-s")
    path = f"/predictions/{checkpoint.card.name}/{checkpoint.card.version}"

    def request(height: int, width: int) -> Request:
        headers = {"Content-Type": "application/octet-stream"}
        return Request(post(path, street_photo(height, width).body, headers))

    # It calls itself well before its model is there: the first answer tells.
    command = [sys.executable, "-m", "loadtests.workers.stock"]
    return Server(lambda port: [*command, str(port), str(checkpoint.path)], "/ping", request)


SERVERS: Mapping[str, Server] = {
    "embedded": ours("local"),
    "TorchServe workers": ours("torchserve"),
    "stock TorchServe": stock(),
}


async def measure(server: Server, size: tuple[int, int], seconds: float, log: Path) -> float:
    """Photos a second, of `CLIENTS` clients in closed loop."""
    port, request = free_port(), server.request(*size)
    async with running(server.command(port), port, ready_path=server.ready_path, log=log):
        client = Client(port)
        while (await client.send(request)).status != 200:  # noqa: ASYNC110 (it notifies nobody)
            await asyncio.sleep(0.2)
        client.close()
        await closed_loop(port, [request], clients=CLIENTS, seconds=seconds / 3)
        samples = await closed_loop(port, [request], clients=CLIENTS, seconds=seconds)
    return summarise(samples, seconds=seconds, warm_up=seconds / 10).throughput


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--only", action="append", choices=SERVERS, help="all by default")
    options = parser.parse_args()
    # As Ctrl-C: the servers are stopped on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    rates: dict[tuple[tuple[int, int], str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.repeat):
            for size in SIZES:
                for name in options.only or SERVERS:
                    rate = uvloop.run(measure(SERVERS[name], size, options.seconds, Path(folder) / "server.log"))
                    rates.setdefault((size, name), []).append(rate)
    for (size, name), found in rates.items():
        embedded = rates.get((size, "embedded"))
        ratio = f", {median(found) / median(embedded):.2f} of embedded" if embedded else ""
        goal = f" (the line: {GOALS[size]})" if name == "TorchServe workers" else ""
        print(f"{size[0]} x {size[1]}, {name}: {median(found):.2f} photos a second{ratio}{goal}")  # noqa: T201 (the report)


if __name__ == "__main__":
    main()
