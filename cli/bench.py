"""segserve bench: speed as ratios, measured side by side in one run."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from cli.options import model_dir_option, model_option, user_errors
from loadtests.street import street
from models.engine.benchmark import PlainPyTorch, compare
from models.engine.loading import CheckpointError, UnknownModelError, find, load_engine, load_network


@click.group("bench")
def command() -> None:
    """Measure speed, each figure beside what it is compared with."""


@command.command("engine")
@model_option
@model_dir_option
@click.option("--size", default="1024x2048", show_default=True, metavar="HxW", help="Size of the drawn photos.")
@click.option("--batch", default=1, show_default=True, help="Photos a batch.")
@click.option("--rounds", default=7, show_default=True, help="Runs of each; the median counts.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone on stdout.")
def engine(model: str, model_dir: Path | None, size: str, batch: int, rounds: int, as_json: bool) -> None:
    """The engine against plain PyTorch (float32, NCHW, interpolate, argmax), on the CPU."""
    try:
        height, width = (int(side) for side in size.split("x"))
    except ValueError:
        raise click.BadParameter(f"'{size}' is not HxW, such as 1024x2048", param_hint="--size") from None
    with user_errors(UnknownModelError, CheckpointError):
        checkpoint = find(model, model_dir)
        plain = PlainPyTorch(load_network(checkpoint), checkpoint.card.preprocessing, max(height, width))
        ours = load_engine(checkpoint)
    result = compare(ours, plain, [street(height, width, seed) for seed in range(batch)], rounds)
    if as_json:
        click.echo(
            json.dumps({"model": checkpoint.card.name, "size": [height, width], "batch": batch} | asdict(result))
        )
        return
    click.echo(
        f"{checkpoint.card.name}, {batch} x {size}, medians of {rounds}: plain PyTorch {result.eager_ms:.0f} ms, "
        f"engine {result.engine_ms:.0f} ms, {result.speedup:.1f} x; {result.label_agreement:.2%} of labels agree"
    )
