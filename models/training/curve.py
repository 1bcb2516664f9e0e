"""The picture of a run: loss and validation mIoU over the epochs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def plot_curve(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw the rows of a log as a PNG at `path`."""
    epochs = [row["epoch"] for row in rows]
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    loss = figure.add_subplot()
    loss.plot(epochs, [row["loss"] for row in rows], color="tab:red", label="training loss")
    loss.set(xlabel="epoch", ylabel="training loss")
    miou = loss.twinx()
    miou.plot(epochs, [row["miou"] for row in rows], color="tab:blue", label="validation mIoU")
    miou.set(ylabel="validation mIoU")
    figure.legend(loc="outside upper center", ncols=2)
    figure.savefig(path, format="png", dpi=120)
