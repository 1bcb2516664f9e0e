"""What commands share: the options that choose a model or a dataset, and mistakes told in a sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from models.training.layouts import LAYOUTS

model_option = click.option(
    "--model",
    envvar="SEGSERVE_MODEL",
    show_envvar=True,
    default="eseg-lite-s",
    show_default=True,
    help="NAME (its newest version) or NAME@VERSION; `segserve models` lists them.",
)

model_dir_option = click.option(
    "--model-dir",
    envvar="SEGSERVE_MODEL_DIR",
    show_envvar=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with checkpoints of your own (NAME@VERSION.safetensors), beside those that ship.",
)

data_option = click.option(
    "--data",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The dataset's folder; plain ones hold SPLIT/images/NAME.jpg|png and SPLIT/labels/NAME.png.",
)

layout_option = click.option(
    "--layout",
    type=click.Choice(list(LAYOUTS)),
    default="plain",
    show_default=True,
    help="How the folders of --data lie.",
)


@contextmanager
def user_errors(*causes: type[Exception]) -> Iterator[None]:
    """Let the user see the message of these exceptions, without a traceback."""
    try:
        yield
    except causes as error:
        raise click.ClickException(str(error)) from error
