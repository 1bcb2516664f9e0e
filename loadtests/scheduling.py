"""`python -m loadtests.scheduling`: every scenario against segserve, on the fake device or on a real model."""

import argparse
import gc
import json
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import uvloop

from loadtests import report
from loadtests.goals import verdicts
from loadtests.medians import medians
from loadtests.process import ServerProcess
from loadtests.requests import Mix, mixed, segment
from loadtests.scenarios.abandoned import abandoned
from loadtests.scenarios.drain import drain
from loadtests.scenarios.load import capacity, closed, opened
from loadtests.scenarios.priorities import priorities
from loadtests.scenarios.retry_after import retry_after
from loadtests.targets import Target, fake, real

LOADS = (0.5, 0.8, 0.95, 1.2, 2.0)
IDLE_SHARE = 0.1
"""Of capacity: interactive requests at this rate leave the service idle most of the time."""
CAPACITY_SECONDS = 3.0
"""Long enough where capacity only sets a rate."""
Run = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Repeat:
    """One repeat of a scenario.

    log: of the server. seconds: of each load. requests: through SIGTERM. seed: of all arrivals.
    """

    target: Target
    log: Path
    seconds: float
    requests: int
    seed: int

    async def on(self, scenario: Callable[["Repeat", ServerProcess], Awaitable[Run]]) -> Run:
        """What comes of it on a server of its own."""
        async with self.target.running(self.log) as server:
            # The first requests pay for imports and memory that all later ones find ready.
            await closed(server, [segment(self.target.photo)], clients=8, seconds=1)
            return await scenario(self, server)

    async def capacity(self, server: ServerProcess) -> float:
        mix = [segment(self.target.photo)]
        return await capacity(server, mix, clients=self.target.clients, seconds=CAPACITY_SECONDS)


async def closed_loops(repeat: Repeat, server: ServerProcess) -> Run:
    target, mix = repeat.target, [segment(repeat.target.photo)]
    run = {
        f"closed_{clients}": asdict(await closed(server, mix, clients=clients, seconds=repeat.seconds))
        for clients in (1, 32)
    }
    if target.bare:
        async with replace(target, command=target.bare).running(repeat.log) as bare:
            await closed(bare, mix, clients=1, seconds=1)
            run["bare_1"] = asdict(await closed(bare, mix, clients=1, seconds=repeat.seconds))
    return run


async def open_small(repeat: Repeat, server: ServerProcess) -> Run:
    photo = repeat.target.photo
    mix = [segment(photo, timeout_ms=repeat.target.deadline_ms)]
    return await _open_loops("small", mix, [segment(photo)], repeat, server)


async def open_mixed(repeat: Repeat, server: ServerProcess) -> Run:
    sizes = repeat.target.sizes
    return await _open_loops("mixed", mixed(sizes, repeat.target.deadline_ms), mixed(sizes), repeat, server)


async def _open_loops(name: str, mix: Mix, patient: Mix, repeat: Repeat, server: ServerProcess) -> Run:
    target, seconds = repeat.target, repeat.seconds
    most = await capacity(server, patient, clients=target.clients, seconds=seconds)
    loads = [
        await opened(server, mix, load=load, capacity=most, deadline=target.deadline, seconds=seconds, seed=repeat.seed)
        for load in LOADS
    ]
    return {f"capacity_{name}": most, f"open_{name}": [asdict(load) for load in loads]}


async def hang_ups(repeat: Repeat, server: ServerProcess) -> Run:
    return {"abandoned": asdict(await abandoned(server.port, segment(repeat.target.photo)))}


async def classes(repeat: Repeat, server: ServerProcess) -> Run:
    target = repeat.target
    interactive, batch = (segment(target.photo, priority=p) for p in ("interactive", "batch"))
    rate = IDLE_SHARE * await repeat.capacity(server)
    result = await priorities(
        server.port,
        interactive,
        batch,
        rate=rate,
        clients=target.clients,
        seconds=2 * repeat.seconds,
        seed=repeat.seed,
    )
    return {"priorities": asdict(result)}


async def waits(repeat: Repeat, server: ServerProcess) -> Run:
    target = repeat.target
    burst = segment(target.burst_photo, timeout_ms=target.deadline_ms)
    most = await repeat.capacity(server)
    return {"retry_after": asdict(await retry_after(server.port, burst, capacity=most, deadline=target.deadline))}


async def sigterm(repeat: Repeat, server: ServerProcess) -> Run:
    result = await drain(
        lambda: repeat.target.running(repeat.log),
        [segment(repeat.target.photo)],
        rate=1.5 * await repeat.capacity(server),
        requests=repeat.requests,
        seed=repeat.seed,
    )
    return {"drain": asdict(result)}


SCENARIOS: Mapping[str, Callable[[Repeat, ServerProcess], Awaitable[Run]]] = {
    "closed": closed_loops,
    "open-small": open_small,
    "open-mixed": open_mixed,
    "abandoned": hang_ups,
    "priorities": classes,
    "retry-after": waits,
    "sigterm": sigterm,
}


def main() -> None:
    """Measure, write JSON and plots, print tables."""
    options = _options()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    # As Ctrl-C: the server is stopped on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Nor may the client stall to collect what its imports made.
    gc.freeze()
    target = real(options.model) if options.model else fake()
    results = out / "scheduling.json"
    repeats: dict[str, list[Run]] = json.loads(results.read_text())["repeats"] if results.exists() else {}
    for number in range(options.repeat):
        for name in options.only or SCENARIOS:
            print(f"{name}, {number + 1} of {options.repeat}", file=sys.stderr)  # noqa: T201 (progress)
            known = repeats.setdefault(name, [])
            repeat = Repeat(target, out / "server.log", options.seconds, options.requests, seed=len(known))
            known.append(uvloop.run(repeat.on(SCENARIOS[name])))
            middle = _middle(repeats)
            report.write_json(results, {"target": target.name, "medians": middle, "repeats": repeats})
    for name in ("small", "mixed"):
        if f"open_{name}" in middle:
            title = f"segserve, {target.name}, {name} photos, deadline {target.deadline_ms} ms"
            report.plot_open_loop(out / f"open_{name}.png", title, middle[f"open_{name}"], middle[f"capacity_{name}"])
    print(_load_table(middle))  # noqa: T201 (the result)
    if not options.model:
        print("\n" + verdicts(middle))  # noqa: T201 (the result)


def _middle(repeats: Mapping[str, list[Run]]) -> Run:
    middle = {key: value for runs in repeats.values() for key, value in medians(runs).items()}
    # A median would hide the one run that lost something.
    if "drain" in middle:
        middle["drain"]["lost"] = max(run["drain"]["lost"] for run in repeats["sigterm"])
    return middle


def _load_table(run: Mapping[str, Any]) -> str:
    header = ("load", "photos", "goodput / capacity", "p50 ms", "p99 ms", "p99.9 ms", "refused", "in time", "RSS MiB")
    rows: list[tuple[report.Cell, ...]] = []
    for name in ("small", "mixed"):
        for load in run.get(f"open_{name}", ()):
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
    parser.add_argument("--only", action="append", choices=SCENARIOS, help="A scenario; may be repeated.")
    parser.add_argument("--repeat", type=int, default=1, help="Repeats of everything; medians are reported.")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/loadtests"), help="Folder for JSON, plots and logs; repeats in it count."
    )
    parser.add_argument("--seconds", type=float, default=8.0, help="Length of each load.")
    parser.add_argument("--requests", type=int, default=10_000, help="Requests that SIGTERM must not lose.")
    parser.add_argument("--model", help="A model that `segserve serve` runs, in place of the fake device.")
    return parser.parse_args()


if __name__ == "__main__":
    main()
