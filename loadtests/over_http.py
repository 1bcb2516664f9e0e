"""JPEG in, label PNG out over HTTP, beside a bare loop of the same decode, engine and encode, taking turns.

The ratio is what HTTP, queueing and the sharing of the cores leave; client and service share the machine.
"""

import argparse
import asyncio
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from loadtests import report
from loadtests.client import Client
from loadtests.loopback import free_port
from loadtests.medians import medians
from loadtests.photos import street_photo
from loadtests.process import running
from loadtests.requests import segment
from loadtests.scenarios.load import closed


@dataclass(frozen=True, slots=True)
class Round:
    """Rates in photos a second. first_answer_s: from the start of the process to its first label map."""

    bare: float
    over_http: float
    ratio: float
    p50_ms: float | None
    p99_ms: float | None
    peak_mib: float
    first_answer_s: float


async def measure(model: str, height: int, width: int, clients: int, seconds: float, log: Path) -> Round:
    """Raises StartFailed."""
    size = f"{height}x{width}"
    loop = [sys.executable, "-m", "loadtests.bare_loop", "--model", model, "--size", size, "--seconds", str(seconds)]
    bare = float((await asyncio.to_thread(subprocess.run, loop, check=True, capture_output=True)).stdout)
    photo = street_photo(height, width)
    request = segment(photo)
    port = free_port()
    segserve = str(Path(sys.executable).with_name("segserve"))
    serve = [segserve, "serve", "--port", str(port), "--model", model, "--log-level", "warning"]
    started = time.perf_counter()
    async with running(serve, port, ready_path="/readyz", log=log) as server:
        client = Client(port)
        sample = await client.send(request)
        first_answer = sample.answered - started
        client.close()
        # As long to warm up as the bare loop has.
        await closed(server, [request], clients=clients, seconds=seconds / 3)
        load = await closed(server, [request], clients=clients, seconds=seconds)
    over_http = load.summary.throughput / photo.units
    latency = load.summary.latency
    return Round(bare, over_http, over_http / bare, latency.p50_ms, latency.p99_ms, load.rss_mb, first_answer)


def main() -> None:
    """Print one table, write JSON."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.over_http", description=__doc__)
    parser.add_argument("--model", default="eseg-lite-s")
    parser.add_argument("--size", default="1024x2048", metavar="HxW", help="Size of the photo.")
    parser.add_argument("--clients", type=int, default=16, help="Each waits for its answer before it sends again.")
    parser.add_argument("--rounds", type=int, default=5, help="Rounds; medians are reported.")
    parser.add_argument("--seconds", type=float, default=8.0, help="Length of each load.")
    parser.add_argument("--out", type=Path, default=Path("runs/over_http"), help="Folder for JSON and the log.")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    height, width = map(int, options.size.split("x"))
    rounds = []
    for number in range(options.rounds):
        print(f"{number + 1} of {options.rounds}", file=sys.stderr)  # noqa: T201 (progress)
        log = options.out / "segserve.log"
        rounds.append(asdict(asyncio.run(measure(options.model, height, width, options.clients, options.seconds, log))))
    middle = medians(rounds)
    report.write_json(options.out / "over_http.json", {"medians": middle, "rounds": rounds})
    print(report.table(list(middle), [list(middle.values())]))  # noqa: T201 (the result)


if __name__ == "__main__":
    main()
