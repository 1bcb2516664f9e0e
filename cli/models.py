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
from models.engine.loading import Checkpoint, CheckpointError, library, load_engine, load_network
from models.zoo.counting import count
from models.zoo.registry import ARCHITECTURES, Architecture, UnknownArchitectureError, architecture

COSTS = ("PARAMS", "PAPER", "ERROR", "MACS", "PAPER", "ERROR", "COUNTED AT")
READY = ("READY TO USE", "PARAMS", "SPEED HERE", "MEAN IOU", "LABEL SET", "LICENCE OF THE WEIGHTS")
_ROUNDS = 5

PAGE = """\
# The models

<!-- Written by `segserve models --markdown > docs/models.md`: change cli/models.py, not this file. -->

Every architecture by the name that `--model` takes, its size and its cost beside what its paper prints, and the error
of ours in percent. Multiply-adds are those of one photo of the size in the last column, up to the logits: the
configuration that the paper counts. `segserve models` lists the same after the models that have weights, which it gives
with their size, their speed on your machine, their score and their licence. The weights that ship have their model
cards in [models/weights/](../models/weights/); [training.md](training.md) says how to make others.

{table}

- ESeg is Meng et al. 2022, "Revisiting Multi-Scale Feature Fusion for Semantic Segmentation"; SpineNet-Seg, its mobile
  sizes and the DeepLab baselines are Rashwan et al. 2021, "Dilated SpineNet for Semantic Segmentation".
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
    """List the models: first those with weights, which can be used at once, then all that can be trained.

    SPEED HERE is measured now: milliseconds for one photo on this machine, pixels to labels. MEAN IOU is what the
    model's card states; `segserve evaluate` measures it.

    Below, PARAMS and MACS (multiply-adds) are those of the configuration that the model's paper counts, with photos of
    the size COUNTED AT. PAPER is what it prints, ERROR how far ours are from that.
    """
    if as_json and markdown:
        raise click.UsageError("--json and --markdown exclude one another")
    with user_errors(CheckpointError):
        checkpoints = [] if markdown else library(model_dir)
        if as_json:
            click.echo(json.dumps([describe(model) for model in find_all(checkpoints)], indent=2))
        elif markdown:
            click.echo(page(find_all([])), nl=False)
        else:
            rows = [ready(checkpoint) for checkpoint in newest(checkpoints)]
            click.echo(table(READY, rows) if rows else "no weights at hand: `segserve train` makes them")
            click.echo()
            click.echo(table(("TO TRAIN", *COSTS), [(model.name, *costs(model)) for model in find_all([])]))


def find_all(checkpoints: Sequence[Checkpoint]) -> list[Model]:
    """One entry a name: the architectures, then checkpoints with names of their own, each in its newest version."""
    named = {checkpoint.card.name: checkpoint for checkpoint in newest(checkpoints)}
    return [find(name, named.get(name)) for name in dict.fromkeys([*ARCHITECTURES, *named])]


def newest(checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
    """Of every name the last version."""
    return list({checkpoint.card.name: checkpoint for checkpoint in checkpoints}.values())


def find(name: str, checkpoint: Checkpoint | None) -> Model:
    """Raises CheckpointError for a checkpoint of an unknown architecture."""
    try:
        network = architecture(checkpoint.card.architecture if checkpoint else name)
    except UnknownArchitectureError as error:
        raise CheckpointError(f"{checkpoint.path if checkpoint else name}: {error}") from error
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


def ready(checkpoint: Checkpoint) -> tuple[str, ...]:
    """The cells of READY."""
    card = checkpoint.card
    engine, photo = load_engine(checkpoint), street(*card.input_size, seed=0)
    engine.run([photo])
    [milliseconds] = taking_turns([lambda: engine.run([photo])], _ROUNDS)
    params = sum(parameter.numel() for parameter in load_network(checkpoint).parameters())
    mious = (f"{score:.1%} on {name[: -len('_miou')]}" for name, score in card.scores.items() if name.endswith("_miou"))
    return (
        f"{card.name}@{card.version}",
        f"{params / 1e6:.2f} M",
        f"{milliseconds:.0f} ms at {_size(card.input_size)}",
        ", ".join(mious) or "-",
        card.label_set,
        card.licence,
    )


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
