"""`python -m loadtests.scheduling`: every scenario against segserve, on the fake device or on a real model."""

import argparse
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import uvloop

from loadtests import report
from loadtests.goals import verdicts
from loadtests.loopback import free_port
from loadtests.medians import medians
from loadtests.photos import Photo, lean_photo, small_photo, street_photo
from loadtests.process import ServerProcess, running
from loadtests.requests import Mix, mixed, segment
from loadtests.scenarios.abandoned import abandoned
from loadtests.scenarios.drain import drain
from loadtests.scenarios.load import capacity, closed, opened
from loadtests.scenarios.priorities import priorities
from loadtests.scenarios.retry_after import retry_after

LOADS = (0.5, 0.8, 0.95, 1.2, 2.0)
DEADLINE_MS = 500
IDLE_SHARE = 0.1
"""Of capacity: interactive requests at this rate leave the service idle most of the time."""
Start = Callable[[], AbstractAsyncContextManager[ServerProcess]]


@dataclass(frozen=True, slots=True)
class Target:
    """command: what serves, without its port. sizes: (height, width) of a mixed load, with their shares.

    clients: in closed loop, enough for full batches whatever part of them is being received, decoded or answered.
    """

    name: str
    command: Sequence[str]
    photo: Photo
    burst_photo: Photo
    sizes: Mapping[tuple[int, int], float]
    deadline_ms: int
    clients: int


def fake() -> Target:
    """The scheduler alone."""
    command = [sys.executable, "-m", "loadtests.fake_server"]
    sizes = {(192, 256): 0.6, (256, 384): 0.3, (384, 512): 0.1}
    return Target("fake device", command, small_photo(), lean_photo(), sizes, DEADLINE_MS, clients=64)


def real(model: str) -> Target:
    """Photos of CamVid's size, and larger ones, through a network."""
    command = [str(Path(sys.executable).with_name("segserve")), "serve", "--model", model]
    photo = street_photo(360, 480)
    return Target(model, command, photo, photo, {(360, 480): 0.8, (720, 960): 0.2}, 2 * DEADLINE_MS, clients=16)


async def measure(target: Target, out: Path, *, seconds: float, requests: int, seed: int) -> dict[str, Any]:
    """One repeat of everything. seconds: of each load; requests: through SIGTERM; seed: of all arrivals."""

    def start() -> AbstractAsyncContextManager[ServerProcess]:
        port = free_port()
        command = [*target.command, "--port", str(port), "--log-level", "warning"]
        return running(command, port, ready_path="/readyz", log=out / "server.log")

    run: dict[str, Any] = {}
    async with start() as server:
        await _loads(run, server, target, seconds, seed)
        plain = segment(target.photo)
        run["abandoned"] = asdict(await abandoned(server.port, plain))
        interactive, batch = (segment(target.photo, priority=p) for p in ("interactive", "batch"))
        rate = IDLE_SHARE * run["capacity_small"]
        calm = await priorities(
            server.port, interactive, batch, rate=rate, clients=target.clients, seconds=2 * seconds, seed=seed
        )
        run["priorities"] = asdict(calm)
        burst = segment(target.burst_photo, timeout_ms=target.deadline_ms)
        waits = await retry_after(
            server.port, burst, capacity=run["capacity_small"], deadline=target.deadline_ms / 1000
        )
        run["retry_after"] = asdict(waits)
    drained = await drain(start, [plain], rate=1.5 * run["capacity_small"], requests=requests, seed=seed)
    run["drain"] = asdict(drained)
    return run


async def _loads(run: dict[str, Any], server: ServerProcess, target: Target, seconds: float, seed: int) -> None:
    """Closed loops on small photos, and open loops on small ones and on the mix."""
    calm: Mix = [segment(target.photo)]
    # The first requests pay for imports and memory that all later ones find ready.
    await closed(server, calm, clients=8, seconds=1)
    run["closed_1"] = asdict(await closed(server, calm, clients=1, seconds=seconds))
    run["closed_32"] = asdict(await closed(server, calm, clients=32, seconds=seconds))
    deadline = target.deadline_ms / 1000
    for name, mix, patient in (
        ("small", [segment(target.photo, timeout_ms=target.deadline_ms)], calm),
        ("mixed", mixed(target.sizes, timeout_ms=target.deadline_ms), mixed(target.sizes)),
    ):
        most = await capacity(server, patient, clients=target.clients, seconds=seconds)
        run[f"capacity_{name}"] = most
        run[f"open_{name}"] = [
            asdict(await opened(server, mix, load=load, capacity=most, deadline=deadline, seconds=seconds, seed=seed))
            for load in LOADS
        ]


def main() -> None:
    """Measure, write JSON and plots, print tables."""
    options = _options()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    # As Ctrl-C: the server is stopped on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    target = real(options.model) if options.model else fake()
    repeats: list[dict[str, Any]] = []
    for number in range(options.repeat):
        print(f"repeat {number + 1} of {options.repeat}", file=sys.stderr)  # noqa: T201 (progress)
        repeats.append(
            uvloop.run(measure(target, out, seconds=options.seconds, requests=options.requests, seed=number))
        )
        middle = medians(repeats)
        # A median would hide the one run that lost something.
        middle["drain"]["lost"] = max(run["drain"]["lost"] for run in repeats)
        report.write_json(out / "scheduling.json", {"target": target.name, "medians": middle, "repeats": repeats})
    for name in ("small", "mixed"):
        title = f"segserve, {target.name}, {name} photos, deadline {target.deadline_ms} ms, median of {len(repeats)}"
        report.plot_open_loop(out / f"open_{name}.png", title, middle[f"open_{name}"], middle[f"capacity_{name}"])
    print(_load_table(middle))  # noqa: T201 (the result)
    if not options.model:
        print("\n" + verdicts(middle))  # noqa: T201 (the result)


def _load_table(run: Mapping[str, Any]) -> str:
    header = ("load", "photos", "goodput / capacity", "p50 ms", "p99 ms", "p99.9 ms", "refused", "in time", "RSS MiB")
    rows: list[tuple[report.Cell, ...]] = []
    for name in ("small", "mixed"):
        for load in run[f"open_{name}"]:
            summary, latency = load["summary"], load["summary"]["latency"]
            rows.append(
                (
                    f"{load['load']:.0%}",
                    name,
                    f"{summary['goodput'] / run[f'capacity_{name}']:.1%}",
                    *(latency[p] for p in ("p50_ms", "p99_ms", "p999_ms")),
                    f"{summary['refused'] / max(1, summary['requests']):.1%}",
                    None if summary["in_time"] is None else f"{summary['in_time']:.2%}",
                    load["rss_mb"],
                )
            )
    return report.table(header, rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.scheduling", description=__doc__)
    parser.add_argument("--repeat", type=int, default=1, help="Repeats of everything; medians are reported.")
    parser.add_argument("--out", type=Path, default=Path("runs/loadtests"), help="Folder for JSON, plots and logs.")
    parser.add_argument("--seconds", type=float, default=8.0, help="Length of each load.")
    parser.add_argument("--requests", type=int, default=10_000, help="Requests that SIGTERM must not lose.")
    parser.add_argument("--model", help="A model that `segserve serve` runs, in place of the fake device.")
    return parser.parse_args()


if __name__ == "__main__":
    main()
