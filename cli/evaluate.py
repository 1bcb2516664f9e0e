"""segserve evaluate: how well a model labels a dataset, seen as the service sees it."""

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path

import click
import torch
from tqdm import tqdm

from cli.options import data_option, layout_option, model_dir_option, model_option, user_errors
from cli.table import table
from models import labelsets
from models.engine.loading import CheckpointError, UnknownModelError, find, load_engine
from models.training.dataset import DataError, SegmentationFolder
from models.training.evaluation import Scores, evaluate
from models.training.layouts import LayoutName

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.int8}


@click.command("evaluate")
@model_option
@model_dir_option
@data_option
@click.option("--split", required=True, help="The part to score, such as val.")
@layout_option
@click.option("--dtype", type=click.Choice(list(DTYPES)), help="Compute in this.  [default: as when it is served here]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone on stdout.")
def command(
    model: str, model_dir: Path | None, data: Path, split: str, layout: LayoutName, dtype: str | None, as_json: bool
) -> None:
    """Score a model on a labelled dataset.

    Every photo is labelled as when it is served, and compared at its own size. The score is the mean over the classes
    that occur of intersection over union. The calibration error (ECE, 15 bins) is how far the confidence map is from
    the share of pixels that are labelled rightly.
    """
    with user_errors(CheckpointError, DataError, UnknownModelError):
        checkpoint = find(model, model_dir)
        label_set = labelsets.load(checkpoint.card.label_set)
        dataset = SegmentationFolder(data, split, label_set, layout=layout)
        engine = load_engine(checkpoint, dtype=DTYPES[dtype] if dtype else None)
        if dtype and engine.network.dtype is not DTYPES[dtype]:
            raise click.ClickException(
                f"{model} does not run in {dtype} here: int8 is for CPUs, and for models that `segserve quantise` made"
            )
        scores = evaluate(engine, dataset, partial(tqdm, unit="photo", dynamic_ncols=True))
    click.echo(json.dumps(asdict(scores), indent=2) if as_json else report(scores))


def report(scores: Scores) -> str:
    """The scores for people, in percent."""
    rows = [(name, f"{iou:.1%}") for name, iou in scores.per_class.items()]
    totals = [
        ("mean IoU", f"{scores.miou:.1%}"),
        ("pixel accuracy", f"{scores.pixel_accuracy:.1%}"),
        ("calibration error", f"{scores.ece:.1%}"),
    ]
    return f"{table(('CLASS', 'IOU'), rows)}\n\n{table(('SCORE', f'OF {scores.images} PHOTOS'), totals)}"
