"""Workers, goodput and cost over time, one column a strategy."""

from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path

import matplotlib

from loadtests.autoscaling.simulation import STEP_SECONDS, Outcome
from loadtests.autoscaling.traffic import Traffic

matplotlib.use("Agg")

from matplotlib import pyplot as plt


def plot(traffic: Traffic, outcomes: Mapping[str, Outcome], path: Path) -> None:
    """Write a PNG."""
    figure, axes = plt.subplots(
        3, len(outcomes), figsize=(4.5 * len(outcomes), 8), sharex=True, sharey="row", squeeze=False
    )
    for (workers, goodput, cost), (name, outcome) in zip(axes.T, outcomes.items(), strict=True):
        hours = [point.at / 3600 for point in outcome.timeline]
        asked = [point.asked for point in outcome.timeline]
        workers.set_title(
            f"{name}\n{outcome.unanswered:.2%} unanswered, {outcome.worker_hours:.0f} worker hours", fontsize=9
        )
        workers.plot(hours, [p.replicas for p in outcome.timeline], drawstyle="steps-post", label="pods")
        workers.plot(hours, [p.ready for p in outcome.timeline], drawstyle="steps-post", label="ready")
        workers.plot(hours, asked, "k--", linewidth=0.8, label="demand, in workers")
        goodput.plot(hours, [p.answered for p in outcome.timeline], linewidth=0.6, label="answered")
        goodput.plot(hours, asked, "k--", linewidth=0.8, label="asked")
        paid = accumulate(point.replicas * STEP_SECONDS / 3600 for point in outcome.timeline)
        cost.plot(hours, list(paid), label="paid for")
        cost.plot(
            hours, list(accumulate(level * STEP_SECONDS / 3600 for level in asked)), "k--", linewidth=0.8, label="ideal"
        )
        cost.set_xlabel("hours")
    for axis, label in zip(axes[:, 0], ("workers", "photos, in workers' worth", "GPU hours"), strict=True):
        axis.set_ylabel(label)
        axis.legend(fontsize=8)
    figure.suptitle(traffic.name)
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    plt.close(figure)
