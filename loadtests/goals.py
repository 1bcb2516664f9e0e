"""The lines that the scheduler must meet on a fake device, and whether a run met them."""

from collections.abc import Callable, Mapping
from typing import Any

from loadtests.device import ALONE_SECONDS, CEILING, MAX_BATCH, batch_seconds
from loadtests.report import table

BATCH_MS = batch_seconds(MAX_BATCH) * 1000
Run = Mapping[str, Any]
Verdict = tuple[str, float | None, str, str]


def verdicts(run: Run) -> str:
    """A table of goals. run: the medians of `loadtests.scheduling` on the fake device; a scenario may be missing."""
    rows: list[Verdict] = []
    if "closed_1" in run:
        rows += [
            _at_most("p50 over the device time, 1 client, ms", _over_device(run["closed_1"]), 1.5),
            ("the same without the gateway, ms", _over_device(run["bare_1"]), "-", "-"),
            _at_least("share of the batching ceiling, 32 clients", _throughput(run["closed_32"]) / CEILING, 0.95),
        ]
    if "abandoned" in run:
        rows += [
            _at_most("probe right after 160 abandoned clients, ms", run["abandoned"]["probe_after_ms"], 2 * BATCH_MS),
            _at_most("the same 4 s later, ms", run["abandoned"]["probe_later_ms"], BATCH_MS),
        ]
    if "open_small" in run:
        overload = next(load for load in run["open_small"] if load["load"] == 2)["summary"]
        rows += [
            _at_least("goodput at 200 % load, share of capacity", overload["goodput"] / run["capacity_small"], 0.9),
            _at_least("accepted at 200 % load that met 500 ms", overload["in_time"], 0.99),
        ]
    if "retry_after" in run:
        rows += [
            _at_most("error of retry_after_ms, median", run["retry_after"]["error"], 0.3),
            _at_least("Retry-After headers that fit it, share", run["retry_after"]["header_valid"], 1.0),
        ]
    if "priorities" in run:
        idle, busy = (run["priorities"][f"{state}_p99_ms"] for state in ("idle", "saturated"))
        allowed = None if idle is None else 1.5 * idle + BATCH_MS
        rows.append(_at_most("interactive p99 while batch saturates, ms", busy, allowed))
    if "drain" in run:
        rows.append(_at_most("lost on SIGTERM", run["drain"]["lost"], 0))
    return table(("goal", "measured", "line", "met"), rows)


def _over_device(load: Run) -> float | None:
    p50: float | None = load["summary"]["latency"]["p50_ms"]
    return None if p50 is None else p50 - ALONE_SECONDS * 1000


def _throughput(load: Mapping[str, Any]) -> float:
    throughput: float = load["summary"]["throughput"]
    return throughput


def _at_most(name: str, value: float | None, line: float | None) -> Verdict:
    return _row(name, value, line, "<=", lambda measured, limit: measured <= limit)


def _at_least(name: str, value: float | None, line: float | None) -> Verdict:
    return _row(name, value, line, ">=", lambda measured, limit: measured >= limit)


def _row(name: str, value: float | None, line: float | None, sign: str, met: Callable[[float, float], bool]) -> Verdict:
    if value is None or line is None:
        return name, value, "-", "no"
    return name, value, f"{sign} {line:.3g}", "yes" if met(value, line) else "no"
