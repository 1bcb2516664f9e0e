"""`python -m loadtests.networks`: segserve beside other servers around one network, plain and with our engine in each.

JPEG in, label map as PNG out. The network sees the photos unscaled, whoever runs it.
"""

import argparse
import json
import os
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import uvloop

from loadtests import report
from loadtests.loopback import free_port
from loadtests.medians import medians
from loadtests.photos import street_photo
from loadtests.process import StartFailed
from loadtests.requests import segment
from loadtests.rivals.options import Options
from loadtests.rivals.table import RIVALS
from loadtests.scenarios.load import closed
from loadtests.servers import Server, other, until_answered

MODEL = "eseg-lite-s"
SIZES = ((360, 480), (1024, 2048))
BATCH_PIXELS = 1 << 22
MOST_PHOTOS = 8
"""A batch of another server holds that many, and no more than BATCH_PIXELS."""
PATIENCE_MS = 60_000
WORKS: Mapping[Literal["plain", "engine"], str] = {"plain": "plain", "engine": "our engine inside"}


@dataclass(frozen=True, slots=True)
class Contender:
    """work: what another server runs; None is segserve itself."""

    server: Server
    work: Literal["plain", "engine"] | None = None

    @property
    def name(self) -> str:
        return f"{self.server.name}, {WORKS[self.work]}" if self.work else self.server.name

    def options(self, size: tuple[int, int]) -> Options:
        """Plain PyTorch keeps all cores busy from one process; with our engine a server gets a process a core."""
        return Options(
            free_port(),
            work=self.work or "sleep",
            model=MODEL,
            workers=(os.cpu_count() or 1) if self.work == "engine" else 1,
            batch=max(1, min(MOST_PHOTOS, BATCH_PIXELS // (size[0] * size[1]))),
            packages=sysconfig.get_path("purelib"),
        )


def contenders(size: tuple[int, int]) -> list[Contender]:
    """All, asked for the labels of a street photo of that height and width."""
    photo = street_photo(*size)
    serve = [sys.executable, "-m", "cli", "serve", "--model", MODEL, "--log-level", "warning", "--port"]
    ask = partial(segment, photo, long_side=max(size))
    ours = Server("segserve", "/readyz", lambda o: [*serve, str(o.port)], lambda ms: ask(timeout_ms=ms))
    return [Contender(ours), *(Contender(other(rival, photo), work) for work in WORKS for rival in RIVALS)]


async def measure(contender: Contender, size: tuple[int, int], clients: int, seconds: float, log: Path) -> Any:
    """Photos a second, p50 and p99 in ms, MiB. Raises StartFailed."""
    options = contender.options(size)
    request = contender.server.request(PATIENCE_MS)
    async with contender.server.running(log, options) as process:
        await until_answered(process.port, request)
        await closed(process, [request], clients=clients, seconds=seconds / 3)
        load = await closed(process, [request], clients=clients, seconds=seconds)
    return {
        "photos_a_second": load.summary.throughput / request.units,
        "p50_ms": load.summary.latency.p50_ms,
        "p99_ms": load.summary.latency.p99_ms,
        "rss_mib": load.rss_mb,
    }


def main() -> None:
    """Measure all in turns, write JSON, print one table a size."""
    options = _options()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    results = out / "networks.json"
    runs: dict[str, dict[str, Any]] = json.loads(results.read_text())["repeats"] if results.exists() else {}
    failures: dict[str, str] = {}
    for number in range(options.repeat):
        for size in SIZES:
            title = f"{size[0]} x {size[1]}"
            for contender in contenders(size):
                print(f"{title}, {contender.name}, {number + 1} of {options.repeat}", file=sys.stderr)  # noqa: T201 (progress)
                log = out / f"{contender.name.lower().replace(', ', '-').replace(' ', '_')}.log"
                try:
                    run = uvloop.run(measure(contender, size, options.clients, options.seconds, log))
                    runs.setdefault(title, {}).setdefault(contender.name, []).append(run)
                except (StartFailed, OSError) as error:
                    failures[contender.name] = str(error).splitlines()[-1]
        middle = {title: {name: medians(found) for name, found in known.items()} for title, known in runs.items()}
        report.write_json(results, {"medians": middle, "repeats": runs, "failures": failures})
    for title, figures in middle.items():
        print(f"\n{title}, {options.clients} clients\n\n{_table(figures)}")  # noqa: T201 (the result)
    for name, reason in failures.items():
        print(f"{name} failed: {reason}")  # noqa: T201 (the result)


def _table(figures: Mapping[str, Mapping[str, float]]) -> str:
    """segserve's photos a second and its p99 are also given as multiples of each other server's."""
    ours = figures["segserve"]
    header = ("server", "photos/s", "segserve's, times", "p50, ms", "p99, ms", "segserve's, times", "peak RSS, MiB")
    rows: list[Sequence[report.Cell]] = []
    for name, own in figures.items():
        ratios = [ours[key] / own[key] if own[key] else None for key in ("photos_a_second", "p99_ms")]
        rows.append((name, own["photos_a_second"], ratios[0], own["p50_ms"], own["p99_ms"], ratios[1], own["rss_mib"]))
    return report.table(header, rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.networks", description=__doc__)
    parser.add_argument("--repeat", type=int, default=1, help="Repeats of everything; medians are reported.")
    parser.add_argument("--clients", type=int, default=16, help="Each waits for its answer before it sends again.")
    parser.add_argument("--seconds", type=float, default=10.0, help="Length of each load.")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/networks"), help="Folder for JSON and logs; repeats add up."
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
