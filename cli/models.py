"""segserve models: every architecture and checkpoint, with what it costs to run."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from cli.options import model_dir_option, user_errors
from cli.table import table
from loadtests.street import street
from models.engine.benchmark import taking_turns
from models.engine.loading import Checkpoint, CheckpointError, library, load_engine
from models.zoo.counting import count
from models.zoo.registry import ARCHITECTURES, Architecture, UnknownArchitectureError, architecture

COSTS = ("PARAMS", "PAPER", "ERROR", "MACS", "PAPER", "ERROR", "COUNTED AT")
WEIGHTS = ("WEIGHTS", "LABEL SET", "INPUT", "SPEED HERE", "SCORES", "LICENCE OF THE WEIGHTS")
_ROUNDS = 5

PAGE = """\
# The models

<!-- Written by `segserve models --markdown > docs/models.md`: change cli/models.py, not this file. -->

Every architecture by the name that `--model` takes, its size and its cost beside what its paper prints, and the error
of ours in percent. Multiply-adds are those of one photo of the size in the last column, up to the logits: the
configuration that the paper counts. `segserve models` lists the same with the weights at hand, their scores and their
licence. The weights that ship have their model cards in [models/weights/](../models/weights/);
[training.md](training.md) says how to make others.

{table}

- ESeg is Meng et al. 2022, "Revisiting Multi-Scale Feature Fusion for Semantic Segmentation"; SpineNet-Seg, its mobile
  sizes and the DeepLab baselines are Li et al. 2021, "Dilated SpineNet for Semantic Segmentation".
- `mobile-spinenet-s49` and `mobile-spinenet-s49-minus` have the head that the paper's text describes. Those ending in
  `-wide` have a wider one, which meets the printed parameters; the text does not mention it.
- "-": the paper prints no such figure.
"""


@dataclass(frozen=True, slots=True)
class Model:
    """One name of the list; params and macs are those of the configuration that the paper counts."""

    name: str
    network: Architecture
    params: int
    macs: int
    checkpoint: Checkpoint | None


@click.command("models")
@model_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone on stdout.")
@click.option("--markdown", is_flag=True, help="Print docs/models.md: the architectures, without weights.")
def command(model_dir: Path | None, as_json: bool, markdown: bool) -> None:
    """List the models with their sizes, costs and weights.

    PARAMS and MACS (multiply-adds) are those of the configuration that the model's paper counts, with photos of the
    size COUNTED AT. PAPER is what it prints, ERROR how far ours are from that. The rest describes the weights at hand;
    `segserve train` makes others. SPEED HERE is measured now: milliseconds for one photo of the size INPUT on this
    machine, pixels to labels.
    """
    if as_json and markdown:
        raise click.UsageError("--json and --markdown exclude one another")
    with user_errors(CheckpointError, UnknownArchitectureError):
        checkpoints = [] if markdown else library(model_dir)
        models = find_all(checkpoints)
    if as_json:
        click.echo(json.dumps([describe(model) for model in models], indent=2))
    elif markdown:
        click.echo(page(models), nl=False)
    else:
        click.echo(table(("NAME", *COSTS, *WEIGHTS), [(m.name, *costs(m), *weights(m)) for m in models]))


def find_all(checkpoints: Sequence[Checkpoint]) -> list[Model]:
    """One entry a name: the architectures, then checkpoints with names of their own, each in its newest version."""
    newest = {checkpoint.card.name: checkpoint for checkpoint in checkpoints}
    return [find(name, newest.get(name)) for name in dict.fromkeys([*ARCHITECTURES, *newest])]


def find(name: str, checkpoint: Checkpoint | None) -> Model:
    network = architecture(checkpoint.card.architecture if checkpoint else name)
    return Model(name, network, *count(network.build, network.paper.num_classes, *network.paper.at), checkpoint)


def describe(model: Model) -> dict[str, Any]:
    """What `segserve models --json` prints of one model."""
    paper = model.network.paper
    described: dict[str, Any] = {
        "name": model.name,
        "family": model.network.family,
        "params": model.params,
        "macs": model.macs,
        "input_size": paper.at,
        "num_classes": paper.num_classes,
        "label_set": None,
        "paper": asdict(paper) if paper.params or paper.macs else None,
        "weights": model.checkpoint is not None,
    }
    if model.checkpoint:
        card = model.checkpoint.card
        described |= card.model_dump(include={"input_size", "num_classes", "label_set", "version", "licence", "scores"})
    return described


def costs(model: Model) -> tuple[str, ...]:
    """The cells of COSTS."""
    paper = model.network.paper
    return (
        *_beside(model.params, paper.params, 1e6, "M"),
        *_beside(model.macs, paper.macs, 1e9, "G"),
        _size(paper.at),
    )


def weights(model: Model) -> tuple[str, ...]:
    """The cells of WEIGHTS."""
    if model.checkpoint is None:
        return ("-",) * len(WEIGHTS)
    card = model.checkpoint.card
    scores = ", ".join(f"{name} {score:.3f}" for name, score in card.scores.items()) or "-"
    speed = f"{_milliseconds(model.checkpoint):.0f} ms"
    return f"version {card.version}", card.label_set, _size(card.input_size), speed, scores, card.licence


def _milliseconds(checkpoint: Checkpoint) -> float:
    engine, photo = load_engine(checkpoint), street(*checkpoint.card.input_size, seed=0)
    engine.run([photo])
    [milliseconds] = taking_turns([lambda: engine.run([photo])], _ROUNDS)
    return milliseconds


def page(models: Sequence[Model]) -> str:
    """docs/models.md."""
    header = ("Name", "Parameters", "Paper", "Error", "Multiply-adds", "Paper", "Error", "Counted at")
    rows = [(f"`{model.name}`", *costs(model)) for model in models]
    lines = [header, ("---", *["---:"] * len(COSTS)), *rows]
    return PAGE.format(table="\n".join(f"| {' | '.join(cells)} |" for cells in lines))


def _beside(ours: int, printed: int | None, unit: float, letter: str) -> tuple[str, str, str]:
    found = f"{ours / unit:.2f} {letter}"
    if printed is None:
        return found, "-", "-"
    return found, f"{printed / unit:.2f} {letter}", f"{ours / printed - 1:+z.1%}"


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
