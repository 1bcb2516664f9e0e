"""Which parameters to ship, and what they do: python -m loadtests.autoscaling [--choose] [--out DIR]."""

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from loadtests.autoscaling.hpa import Parameters, fallback, shipped
from loadtests.autoscaling.plots import plot
from loadtests.autoscaling.simulation import Outcome, simulate
from loadtests.autoscaling.traffic import DAY, DIPS, HASTY_DAY, RAMP, SPIKE, Traffic

CHOSEN = Path(__file__).with_name("candidates.json")
"""What --choose found for the figures that ship."""
START_SECONDS = 30.0
"""From a worker's pod being made to its first batch, on a node that has the image: see docs/autoscaling.md."""
NEW_NODE_SECONDS = 180.0
"""The same where a node must come first."""
CAPACITY_ERROR = 1.25
"""What a device's capacity may be taken for: full batches of easy photos, say, when harder ones come."""
BUDGET = 0.01
"""Share of photos that may go unanswered: the objective of the alerts."""
SLOW_BUDGET = 0.05
"""Share of answers that may be slow: likewise."""
THRESHOLDS = (0.6, 0.7, 0.8, 0.9)
PATIENCES = (120.0, 300.0, 600.0)
QUEUE_SECONDS = (4.0, 6.0, 8.0)


def strategies() -> Mapping[str, Parameters]:
    """Ours, and what else is done."""
    ours = shipped()
    return {
        "shipped": ours,
        "fallback: HPA on CPU": fallback(),
        "queue wait alone, 1 s": replace(ours, triggers=[replace(ours.triggers[1], threshold=1.0)]),
        "16 workers, always": replace(ours, least=16, most=16),
    }


def candidates() -> Iterator[tuple[dict[str, float], Parameters]]:
    """Those that ship, and each of their figures changed alone."""
    ours = shipped()
    here = ours.triggers[0].threshold, ours.down.stabilization, ours.triggers[1].threshold
    tried = [here]
    tried += [(threshold, *here[1:]) for threshold in THRESHOLDS]
    tried += [(here[0], patience, here[2]) for patience in PATIENCES]
    tried += [(*here[:2], wait) for wait in QUEUE_SECONDS]
    for threshold, patience, wait in dict.fromkeys(tried):
        named = {"threshold": threshold, "scale down after": patience, "queue wait": wait}
        yield named, ours.with_threshold(threshold).with_patience(patience).with_queue_seconds(wait)


def choose() -> list[dict[str, float]]:
    """Every candidate with its outcomes, the best first.

    It must answer in time on a ramp, and hold the budget even where nodes are slow to come and the capacity is taken
    for more than it is, and where demand comes back after a lull. Of those that do, the one that pays for the least
    workers on a ramp, a spike and lulls.
    """
    tried = []
    for named, parameters in candidates():
        ramp, spike, dips = (simulate(traffic, parameters, START_SECONDS) for traffic in (RAMP, SPIKE, DIPS))
        worst = simulate(RAMP, parameters, NEW_NODE_SECONDS, capacity_error=CAPACITY_ERROR)
        row = named | {
            "ramp at worst": worst.unanswered,
            "slow": ramp.slow,
            "dips": dips.unanswered,
            "spike": spike.unanswered,
            "worker hours": sum(outcome.worker_hours for outcome in (ramp, spike, dips)),
            "ideal hours": sum(outcome.ideal_hours for outcome in (ramp, spike, dips)),
            "changes": sum(outcome.changes for outcome in (ramp, spike, dips)),
        }
        tried.append(row)
        print("  ".join(f"{name} {value:.4g}" for name, value in row.items()), flush=True)  # noqa: T201 (the report)
    return sorted(tried, key=lambda row: (_misses(row), row["worker hours"]))


def _misses(row: Mapping[str, float]) -> bool:
    return row["slow"] > SLOW_BUDGET or max(row["ramp at worst"], row["dips"]) > BUDGET


def compare(traffics: tuple[Traffic, ...], out: Path) -> list[dict[str, object]]:
    """All strategies under all traffics, with a plot for each traffic."""
    rows: list[dict[str, object]] = []
    for traffic in traffics:
        outcomes: dict[str, Outcome] = {}
        for name, parameters in strategies().items():
            outcomes[name] = outcome = simulate(traffic, parameters, START_SECONDS)
            told = {key: value for key, value in asdict(outcome).items() if key != "timeline"}
            rows.append({"traffic": traffic.name, "strategy": name} | told)
            hours = f"{outcome.worker_hours:6.1f} (ideal {outcome.ideal_hours:.1f})"
            print(  # noqa: T201 (the report)
                f"{traffic.name:10} {name:28} unanswered {outcome.unanswered:7.2%}  slow {outcome.slow:6.1%}  "
                f"worker hours {hours}  changes {outcome.changes}",
                flush=True,
            )
        plot(traffic, outcomes, out / f"{traffic.name}.png")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--choose", action="store_true", help="try all candidates instead of comparing strategies")
    parser.add_argument("--quick", action="store_true", help="a day in two hours instead of a day")
    parser.add_argument("--out", type=Path, default=Path("runs/autoscaling"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.choose:
        CHOSEN.write_text(json.dumps(choose(), indent=1) + "\n")
        return
    rows = compare((SPIKE, RAMP, HASTY_DAY if options.quick else DAY), options.out)
    (options.out / "strategies.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
