"""segserve archive: a model as TorchServe takes it."""

from pathlib import Path

import click

from cli.options import model_dir_option, model_option, user_errors
from models.torchserve.archive import archive_name, write_archive
from models.weights.checkpoint import CheckpointError
from models.weights.library import UnknownModelError, find


@click.command("archive")
@model_option
@model_dir_option
@click.option(
    "-o",
    "--out",
    default=".",
    show_default=True,
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for NAME@VERSION.mar; made if need be.",
)
def command(model: str, model_dir: Path | None, out: Path) -> None:
    """Write a model archive (.mar) that any TorchServe with segserve beside it can serve.

    The same checkpoint gives the same bytes. `segserve worker` needs none: it makes its own.
    """
    with user_errors(CheckpointError, UnknownModelError, OSError):
        checkpoint = find(model, model_dir)
        out.mkdir(parents=True, exist_ok=True)
        path = out / archive_name(checkpoint)
        write_archive(checkpoint, path)
    click.echo(path)
