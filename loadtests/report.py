"""Results as JSON, as plots and as a table."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes

Cell = str | float | None


def write_json(path: Path, result: Mapping[str, Any]) -> None:
    """The results, and what they were measured on."""
    facts = {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
    }
    path.write_text(json.dumps({"facts": facts, **result}, indent=1) + "\n")


def table(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Markdown. Numbers get three figures; None is a dash."""
    cells = [list(header), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines)


def plot_open_loop(path: Path, title: str, loads: Sequence[Mapping[str, Any]], capacity: float) -> None:
    """Goodput, latency, refusals and memory over the load. loads: LoadResults as dicts; capacity: photos a second."""
    figure, ((goodput, milliseconds), (refusals, memory)) = pyplot.subplots(2, 2, figsize=(11, 7.5), sharex=True)
    x = [load["load"] * 100 for load in loads]
    summaries = [load["summary"] for load in loads]
    goodput.plot(x, [s["offered"] for s in summaries], "--", color="0.6", label="offered")
    goodput.plot(x, [s["goodput"] for s in summaries], "o-", label="answered inside the deadline")
    goodput.axhline(capacity, color="0.3", linewidth=1, label="capacity")
    _label(goodput, "small photos' worth a second")
    for name, label in (("p50_ms", "p50"), ("p99_ms", "p99"), ("p999_ms", "p99.9")):
        milliseconds.plot(x, [s["latency"][name] for s in summaries], "o-", label=label)
    _label(milliseconds, "ms, of the answered")
    refusals.plot(x, [100 * s["refused"] / max(1, s["requests"]) for s in summaries], "o-", label="refused")
    refusals.plot(x, [100 * (1 - (s["in_time"] or 0)) for s in summaries], "o-", label="accepted, but late")
    _label(refusals, "% of the requests")
    memory.plot(x, [load["rss_mb"] for load in loads], "o-", label="peak RSS")
    memory.set_ylim(bottom=0)
    _label(memory, "MiB")
    for axes in (refusals, memory):
        axes.set_xlabel("load, % of capacity")
    figure.suptitle(title)
    _save(figure, path)


def plot_bars(path: Path, charts: Mapping[str, Mapping[str, float | None]]) -> None:
    """One chart a title, one bar a server; a server without a figure has none."""
    columns = 2
    rows = -(-len(charts) // columns)
    figure, grid = pyplot.subplots(rows, columns, figsize=(11, 3.2 * rows), squeeze=False)
    for axes, (title, bars) in zip(grid.flat, charts.items(), strict=False):
        known = {name: value for name, value in bars.items() if value is not None}
        axes.barh(list(known), list(known.values()))
        axes.invert_yaxis()
        axes.set_title(title, fontsize=10)
    for axes in list(grid.flat)[len(charts) :]:
        axes.set_axis_off()
    _save(figure, path)


def _label(axes: Axes, what: str) -> None:
    axes.set_ylabel(what)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _cell(value: Cell) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
