"""`python -m loadtests.servers`: segserve beside other model servers, all around the same device, in one run."""

import argparse
import asyncio
import gc
import json
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import uvloop

from loadtests import report
from loadtests.client import Client
from loadtests.device import ALONE_SECONDS, CEILING
from loadtests.loopback import free_port
from loadtests.medians import medians
from loadtests.photos import Photo, small_photo
from loadtests.process import ServerProcess, StartFailed, running
from loadtests.requests import Request, segment
from loadtests.rivals.options import Options
from loadtests.rivals.table import REPOSITORY, RIVALS, Rival
from loadtests.scenarios.abandoned import abandoned
from loadtests.scenarios.load import closed, opened

DEADLINE_MS = 500
CLIENTS = (1, 8, 32)
OVERLOAD = 2.0
ANSWER_SECONDS = 60.0
"""From ready to a first answer."""


@dataclass(frozen=True, slots=True)
class Server:
    """request: by its deadline in ms, for servers that are told with each request; None is their default."""

    name: str
    ready_path: str
    command: Callable[[Options], Sequence[str]]
    request: Callable[[int | None], Request]

    def running(self, log: Path, options: Options) -> AbstractAsyncContextManager[ServerProcess]:
        environment = {"PYTHONPATH": str(REPOSITORY)}
        return running(
            self.command(options), options.port, ready_path=self.ready_path, log=log, environment=environment
        )


def segserve() -> Server:
    """The real service; its deadline comes with each request."""
    command = [sys.executable, "-m", "loadtests.fake_server", "--log-level", "warning", "--port"]
    return Server(
        "segserve",
        "/readyz",
        lambda options: [*command, str(options.port)],
        lambda deadline_ms: segment(small_photo(), timeout_ms=deadline_ms),
    )


def other(rival: Rival, photo: Photo) -> Server:
    """One of the others, in its own environment, asked about `photo`."""
    return Server(rival.name, rival.ready_path, rival.command, lambda _: rival.request(photo))


SERVERS = [segserve(), *(other(rival, small_photo()) for rival in RIVALS)]


async def measure(server: Server, log: Path, *, seconds: float, seed: int) -> dict[str, Any]:
    """One repeat. Raises StartFailed."""
    run: dict[str, Any] = {}
    request = server.request(None)
    async with server.running(log, Options(free_port())) as process:
        await until_answered(process.port, request)
        # The first requests pay for imports and memory, and some servers learn from them.
        await closed(process, [request], clients=8, seconds=seconds / 2)
        for clients in CLIENTS:
            run[f"closed_{clients}"] = asdict(await closed(process, [request], clients=clients, seconds=seconds))
        run["abandoned"] = asdict(await abandoned(process.port, request))
    request = server.request(DEADLINE_MS)
    options = Options(free_port(), DEADLINE_MS, run["closed_32"]["summary"]["throughput"])
    async with server.running(log, options) as process:
        await until_answered(process.port, request)
        await closed(process, [request], clients=8, seconds=seconds / 2)
        deadline = DEADLINE_MS / 1000
        load = await opened(
            process, [request], load=OVERLOAD, capacity=CEILING, deadline=deadline, seconds=seconds, seed=seed
        )
        run["open_200"] = asdict(load)
    return run


async def until_answered(port: int, request: Request) -> None:
    """Some call themselves ready before their model is. Raises StartFailed."""
    client, statuses = Client(port), set()
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            while (sample := await client.send(request)).status != 200:
                statuses.add(sample.status)
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise StartFailed(f"it is ready but answers with {statuses}") from None
    finally:
        client.close()


def main() -> None:
    """Measure all in turns, write JSON and plots, print one table."""
    options = _options()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    # As Ctrl-C: the servers are stopped on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Nor may the client stall to collect what its imports made.
    gc.freeze()
    servers = [server for server in SERVERS if not options.only or server.name in options.only]
    results = out / "servers.json"
    runs: dict[str, list[dict[str, Any]]] = json.loads(results.read_text())["repeats"] if results.exists() else {}
    failures: dict[str, str] = {}
    for number in range(options.repeat):
        for server in servers:
            print(f"{server.name}, {number + 1} of {options.repeat}", file=sys.stderr)  # noqa: T201 (progress)
            log = out / f"{server.name.lower().replace(' ', '_')}.log"
            try:
                known = runs.setdefault(server.name, [])
                known.append(uvloop.run(measure(server, log, seconds=options.seconds, seed=len(known))))
            except (StartFailed, OSError) as error:
                failures[server.name] = str(error)
        middle = {name: medians(repeats) for name, repeats in runs.items()}
        report.write_json(results, {"medians": middle, "repeats": runs, "failures": failures})
    report.plot_bars(out / "servers.png", _charts(middle))
    print(_table(middle, failures))  # noqa: T201 (the result)


def _figures(run: Mapping[str, Any] | None) -> dict[str, report.Cell]:
    """The columns of the table for one server."""
    if run is None:
        return {}
    closed = {clients: run[f"closed_{clients}"]["summary"] for clients in CLIENTS}
    overload = run["open_200"]["summary"]
    alone = closed[1]["latency"]["p50_ms"]
    return {
        "c=1 p50 over the device, ms": None if alone is None else alone - ALONE_SECONDS * 1000,
        "c=1 p99, ms": closed[1]["latency"]["p99_ms"],
        "c=8, 1/s": closed[8]["throughput"],
        "c=8 p99, ms": closed[8]["latency"]["p99_ms"],
        "c=32, 1/s": closed[32]["throughput"],
        "c=32 of ceiling, %": 100 * closed[32]["throughput"] / CEILING,
        "c=32 p99, ms": closed[32]["latency"]["p99_ms"],
        "200 % goodput, 1/s": overload["goodput"],
        "200 % accepted in time, %": None if overload["in_time"] is None else 100 * overload["in_time"],
        "probe after hang-ups, ms": run["abandoned"]["probe_after_ms"],
        "4 s later, ms": run["abandoned"]["probe_later_ms"],
        "RSS, MiB": run["open_200"]["rss_mb"],
    }


def _table(middle: Mapping[str, Any], failures: Mapping[str, str]) -> str:
    figures = {name: _figures(run) for name, run in middle.items()}
    columns = list(next((columns for columns in figures.values() if columns), {}))
    rows = [
        [name, *(cells.get(column) for column in columns)] if cells else [name, *["failed"] * len(columns)]
        for name, cells in figures.items()
    ]
    reasons = [f"{name} failed: {reason.splitlines()[-1]}" for name, reason in failures.items()]
    return "\n".join([report.table(["server", *columns], rows), *reasons])


def _charts(middle: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    charts: dict[str, dict[str, float | None]] = {}
    for name, run in middle.items():
        for title, value in _figures(run).items():
            if not isinstance(value, str):
                charts.setdefault(title, {})[name] = value
    return charts


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.servers", description=__doc__)
    parser.add_argument("--repeat", type=int, default=1, help="Repeats of everything; medians are reported.")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/servers"), help="Folder for JSON, plots and logs; repeats in it count."
    )
    parser.add_argument("--seconds", type=float, default=8.0, help="Length of each load.")
    names = [server.name for server in SERVERS]
    parser.add_argument("--only", action="append", choices=names, help="A server; may be repeated.")
    return parser.parse_args()


if __name__ == "__main__":
    main()
