"""The picture of a run: loss and validation mIoU over the epochs."""

import json
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def plot_curve(run: Path) -> Path:
    """Draw run/log.jsonl as run/curve.png and return its path."""
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
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
    path = run / "curve.png"
    figure.savefig(path, dpi=120)
    return path
