"""segserve bench: speed as ratios, measured side by side in one run."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from cli.options import model_dir_option, model_option, user_errors
from cli.segment import MAX_PIXELS
from images import ImageError, decode
from loadtests.street import street
from models.engine.alternatives import compare_alternatives, missing
from models.engine.benchmark import PlainPyTorch, compare
from models.engine.engine import Photo
from models.engine.loading import Checkpoint, CheckpointError, UnknownModelError, find, load_engine, load_network
from models.engine.network_benchmark import measure_network
from models.engine.untrained import untrained
from models.engine.upsampling_benchmark import compare_upsampling
from models.zoo.registry import ARCHITECTURES


@click.group("bench")
def command() -> None:
    """Measure speed, each figure beside what it is compared with."""


@command.command("engine")
@model_option
@model_dir_option
@click.option("--size", default="1024x2048", show_default=True, metavar="HxW", help="Size of the drawn photos.")
@click.option(
    "--photo",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A photo of your own, at its own size, in place of the drawn ones.",
)
@click.option("--batch", default=1, show_default=True, help="Photos a batch.")
@click.option("--rounds", default=7, show_default=True, help="Runs of each; the median counts.")
@click.option("--alone", is_flag=True, help="Leave out OpenVINO, ONNX Runtime and torch.compile, which take a minute.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone on stdout.")
def engine(
    model: str,
    model_dir: Path | None,
    size: str,
    photo: Path | None,
    batch: int,
    rounds: int,
    alone: bool,
    as_json: bool,
) -> None:
    """The engine against plain PyTorch (float32, NCHW, interpolate, argmax), on a GPU if there is one.

    Photos to label maps; then the network alone, against the fastest convolution of this machine, and label upsampling
    alone, on the photos' logits and on random ones, its worst case. Then, on a CPU, OpenVINO, ONNX Runtime and
    torch.compile (bfloat16), each with upsampling and argmax in its graph; null for what is not installed, and a line
    on stderr. A network of `segserve models` that has no weights runs with random ones, whose logits are the worst case
    of upsampling.
    """
    photos = [_read(photo)] * batch if photo else _drawn(size, batch)
    height, width = photos[0].shape[:2]
    with user_errors(UnknownModelError, CheckpointError):
        checkpoint, cache_dir = _weights(model, model_dir)
        ours = load_engine(checkpoint, cache_dir=cache_dir)
        device = ours.network.device
        plain = PlainPyTorch(load_network(checkpoint), checkpoint.card.preprocessing, max(height, width), device)
    whole = compare(ours, plain, photos, rounds)
    card = checkpoint.card
    network = measure_network(ours, card.architecture, card.num_classes, photos, plain.long_side, rounds)
    upsampling = compare_upsampling(plain, photos, rounds)
    alone = alone or device.type != "cpu"
    others = {} if alone else compare_alternatives(ours, plain, photos, rounds)
    left_out = {} if alone else missing()
    for name, needs in left_out.items():
        click.echo(f"{name} is left out, as it is not installed: {needs}", err=True)
    if as_json:
        nulls = {f"{name}_{figure}": None for name in left_out for figure in ("ms", "agreement")}
        what = {"model": card.name, "size": [height, width], "batch": batch}
        click.echo(json.dumps(what | asdict(whole) | asdict(network) | asdict(upsampling) | others | nulls))
        return
    click.echo(
        f"{card.name}, {batch} x {height}x{width}, medians of {rounds}: plain PyTorch {whole.eager_ms:.0f} "
        f"ms, engine {whole.engine_ms:.0f} ms, {whole.speedup:.1f} x; {whole.label_agreement:.2%} of labels agree"
    )
    click.echo(
        f"network, {network.engine}, {network.dtype}: {network.network_ms:.1f} ms, {network.network_tflops:.2f} "
        f"TFLOP/s, {network.network_share:.0%} of this machine's {network.conv_peak_tflops:.2f}"
    )
    click.echo(
        f"upsampling, {upsampling.classes} classes: interpolate and argmax {upsampling.eager_upsample_ms:.0f} ms, "
        f"engine {upsampling.upsample_ms:.1f} ms, {upsampling.upsample_speedup:.0f} x "
        f"({upsampling.boundary_cells:.0%} of cells on a boundary); "
        f"random logits {upsampling.random_eager_upsample_ms:.0f} ms, {upsampling.random_upsample_ms:.1f} ms, "
        f"{upsampling.random_upsample_speedup:.0f} x"
    )
    for name in [key.removesuffix("_agreement") for key in others if key.endswith("_agreement")]:
        click.echo(
            f"{name}: {others[f'{name}_ms']:.0f} ms, engine {others['engine_beside_ms']:.0f} ms beside it, "
            f"{others[f'{name}_ms'] / others['engine_beside_ms']:.1f} x; "
            f"{others[f'{name}_agreement']:.2%} of its labels agree with plain PyTorch's"
        )


def _weights(model: str, model_dir: Path | None) -> tuple[Checkpoint, Path | None]:
    """Those of `model`, or random ones until the command ends; and where to keep what is compiled of them."""
    try:
        return find(model, model_dir), None
    except UnknownModelError:
        if model not in ARCHITECTURES:
            raise
    click.echo(f"There are no weights for {model}: it runs with random ones.", err=True)
    checkpoint = click.get_current_context().with_resource(untrained(model))
    return checkpoint, checkpoint.path.parent


def _drawn(size: str, batch: int) -> list[Photo]:
    try:
        height, width = (int(side) for side in size.split("x"))
    except ValueError:
        raise click.BadParameter(f"'{size}' is not HxW, such as 1024x2048", param_hint="--size") from None
    return [street(height, width, seed) for seed in range(batch)]


def _read(path: Path) -> Photo:
    with user_errors(ImageError):
        return decode(path.read_bytes(), max_pixels=MAX_PIXELS)
