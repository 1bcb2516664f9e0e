"""segserve quantise: a checkpoint's network in int8, where its labels stay as good."""

from functools import partial
from pathlib import Path

import click
import numpy as np
import torch
from tqdm import tqdm

from cli.options import data_option, layout_option, model_dir_option, model_option, user_errors
from models import labelsets
from models.engine.compilation import CompilationError
from models.engine.loading import CheckpointError, UnknownModelError, find, load_engine
from models.engine.precision import best_dtype, default_device
from models.engine.quantisation import quantise, quantised_engine
from models.training.dataset import DataError, SegmentationFolder
from models.training.evaluation import evaluate
from models.training.layouts import LayoutName
from models.weights.quantised import write_quantised

MOST_LOST = 0.002
"""Mean IoU that bfloat16 or int8 may cost, beside float32."""


@click.command("quantise")
@model_option
@model_dir_option
@data_option
@click.option("--split", default="train", show_default=True, help="The photos to calibrate with: those of training.")
@click.option("--val-split", default="val", show_default=True, help="The photos to compare both formats on.")
@layout_option
@click.option(
    "--photos", type=click.IntRange(min=1), default=100, show_default=True, help="How many to calibrate with."
)
def command(
    model: str,
    model_dir: Path | None,
    data: Path,
    split: str,
    val_split: str,
    layout: LayoutName,
    photos: int,
) -> None:
    """Make a checkpoint's network in int8.

    It is written beside the checkpoint, as NAME@VERSION.int8.zip, and only where the mean IoU falls by at most 0.2
    points from that in float32; so must that in bfloat16, where this machine multiplies it. CPUs that multiply int8
    (VNNI, AMX) run it; GPUs and other CPUs go on as before.
    """
    with user_errors(CheckpointError, CompilationError, DataError, UnknownModelError):
        checkpoint = find(model, model_dir)
        if model_dir and checkpoint.path.parent != model_dir:
            raise click.ClickException(f"{model} is not in {model_dir}: what ships is quantised without --model-dir")
        label_set = labelsets.load(checkpoint.card.label_set)
        calibration = SegmentationFolder(data, split, label_set, layout=layout)
        validation = SegmentationFolder(data, val_split, label_set, layout=layout)
        engines = {
            str(dtype).removeprefix("torch."): load_engine(checkpoint, dtype=dtype)
            for dtype in (torch.float32, best_dtype(default_device()))
        }
        chosen = np.linspace(0, len(calibration) - 1, min(photos, len(calibration))).astype(int)
        graph = quantise(checkpoint, engines["float32"], [calibration[int(index)][0] for index in chosen])
    engines["int8"] = quantised_engine(checkpoint, graph)
    score = partial(evaluate, dataset=validation, progress=partial(tqdm, unit="photo", dynamic_ncols=True))
    scores = {dtype: score(engine).miou for dtype, engine in engines.items()}
    click.echo(f"mean IoU on {val_split}: " + ", ".join(f"{miou:.2%} in {dtype}" for dtype, miou in scores.items()))
    too_coarse = [dtype for dtype, miou in scores.items() if miou < scores["float32"] - MOST_LOST]
    if too_coarse:
        formats = " and ".join(too_coarse)
        raise click.ClickException(f"{formats} costs more than {100 * MOST_LOST:.1f} points: int8 is not written")
    with user_errors(OSError):
        click.echo(click.format_filename(write_quantised(checkpoint, graph)))
