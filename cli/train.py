"""segserve train: weights from a labelled dataset, by a recipe."""

from pathlib import Path

import click

from cli.options import user_errors
from models.labelsets import LabelSetError, UnknownLabelSetError
from models.training.dataset import DataError
from models.training.loop import Run
from models.training.recipe import RecipeError, load_recipe
from models.training.run_folder import RunError
from models.weights.checkpoint import CheckpointError
from models.zoo.registry import UnknownArchitectureError


@click.command("train")
@click.option("--recipe", required=True, help="A shipped recipe's name, or the path of a .toml file.")
@click.option("--model", help="The architecture, of those that the recipe is for.  [default: the recipe's own]")
@click.option(
    "--data",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The dataset's folder; plain ones hold train/ and val/, each with images/NAME.jpg|png and labels/NAME.png.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The run's folder: state.pt, best.safetensors, last.safetensors, log.jsonl, curve.png.",
)
@click.option("--resume", is_flag=True, help="Continue the run in --out exactly where it stopped.")
@click.option(
    "--init",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Start from this .safetensors: an encoder, also a public one, or another dataset's model. What fits is taken.",
)
@click.option(
    "--accumulate",
    type=click.IntRange(min=1),
    metavar="PARTS",
    help="Put a batch through in this many parts, to save memory.  [default: the recipe's, usually 1]",
)
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Leave out training photos, such as '0001TP_*'.")
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    default=2,
    show_default=True,
    help="Processes that load and augment photos.",
)
@click.option(
    "--validate-every",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Epochs between validations and checkpoints.",
)
def command(
    recipe: str,
    model: str | None,
    data: Path,
    out: Path,
    resume: bool,
    init: Path | None,
    accumulate: int | None,
    exclude: tuple[str, ...],
    workers: int,
    validate_every: int,
) -> None:
    """Train a model by a recipe.

    Ctrl-C and SIGTERM save the state first; --resume goes on from there. To serve the result, copy best.safetensors to
    NAME@VERSION.safetensors in a folder and name that in SEGSERVE_MODEL_DIR.
    """
    mistakes = CheckpointError, DataError, LabelSetError, RecipeError, RunError
    with user_errors(*mistakes, UnknownArchitectureError, UnknownLabelSetError):
        changes = {"model": model, "accumulate": accumulate}
        run = Run(
            load_recipe(recipe).model_copy(update={name: change for name, change in changes.items() if change}),
            data,
            out,
            resume=resume,
            init=init,
            exclude=exclude,
            workers=workers,
            validate_every=validate_every,
        )
        try:
            best = run.train()
        except KeyboardInterrupt:
            raise click.ClickException(f"stopped; continue with --resume and --out {out}") from None
    click.echo(f"best validation mIoU {best:.4f}: {out / 'best.safetensors'}", err=True)
