"""segserve models: every architecture and checkpoint, with what it costs to run."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from cli.options import model_dir_option, user_errors
from cli.table import table
from models.engine.loading import Checkpoint, CheckpointError, library
from models.zoo.counting import count
from models.zoo.registry import ARCHITECTURES, UnknownArchitectureError, architecture

HEADER = (
    "NAME",
    "FAMILY",
    "PARAMS",
    "MACS",
    "INPUT",
    "CLASSES",
    "LABEL SET",
    "WEIGHTS",
    "SCORES",
    "LICENCE OF THE WEIGHTS",
)


@click.command("models")
@model_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone on stdout.")
def command(model_dir: Path | None, as_json: bool) -> None:
    """List the models with their sizes, costs and weights.

    PARAMS and MACS (multiply-adds) are those of the configuration that the model's paper counts. INPUT, CLASSES and
    LABEL SET are those of the weights; of a model without weights (`segserve train` makes some) those of the paper.
    """
    with user_errors(CheckpointError, UnknownArchitectureError):
        models = describe_all(model_dir)
    click.echo(json.dumps(models, indent=2) if as_json else table(HEADER, [row(model) for model in models]))


def describe_all(model_dir: Path | None) -> list[dict[str, Any]]:
    """One entry a name: the architectures, then checkpoints with names of their own, each in its newest version."""
    newest = {checkpoint.card.name: checkpoint for checkpoint in library(model_dir)}
    return [describe(name, newest.get(name)) for name in dict.fromkeys([*ARCHITECTURES, *newest])]


def describe(name: str, checkpoint: Checkpoint | None) -> dict[str, Any]:
    """What `segserve models --json` prints of one model."""
    network = architecture(checkpoint.card.architecture if checkpoint else name)
    paper = network.paper
    params, macs = count(network.build, paper.num_classes, *paper.at)
    model: dict[str, Any] = {
        "name": name,
        "family": network.family,
        "params": params,
        "macs": macs,
        "input_size": paper.at,
        "num_classes": paper.num_classes,
        "label_set": None,
        "paper": asdict(paper) if paper.params or paper.macs else None,
        "weights": checkpoint is not None,
    }
    if checkpoint:
        card = checkpoint.card
        model |= card.model_dump(include={"input_size", "num_classes", "label_set", "version", "licence", "scores"})
    return model


def row(model: dict[str, Any]) -> tuple[str, ...]:
    """One model for people, in the columns of HEADER."""
    height, width = model["input_size"]
    return (
        model["name"],
        model["family"],
        f"{model['params'] / 1e6:.2f} M",
        f"{model['macs'] / 1e9:.2f} G",
        f"{height} x {width}",
        str(model["num_classes"]),
        model["label_set"] or "-",
        f"version {model['version']}" if model["weights"] else "-",
        ", ".join(f"{name} {score:.3f}" for name, score in model.get("scores", {}).items()) or "-",
        model.get("licence", "-"),
    )
