"""segserve compile: what the first start on a machine would do, done before it."""

import os
import time
from pathlib import Path

import click

from cli.options import model_dir_option, model_option, user_errors
from models.engine.compilation import CompilationError
from models.weights.checkpoint import CheckpointError
from models.weights.library import UnknownModelError, find


@click.command("compile")
@model_option
@model_dir_option
@click.option(
    "--cache-dir",
    envvar="SEGSERVE_CACHE_DIR",
    show_envvar=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of compiled networks.  [default: segserve's in the user's cache folder]",
)
def command(model: str, model_dir: Path | None, cache_dir: Path | None) -> None:
    """Compile a model ahead of time, so that the first start is as fast as later ones.

    The result takes photos and batches of any size and runs on any CPU. It is made anew only where it is damaged, and
    for other weights or another version of segserve, PyTorch or OpenVINO. Label upsampling, which is the same for all
    models, is compiled with the first of them.
    """
    started = time.perf_counter()
    if cache_dir:
        os.environ["SEGSERVE_CACHE_DIR"] = str(cache_dir.absolute())
    # Only now: numba learns of its cache when the engine is imported.
    from models.engine.loading import compile_checkpoint

    with user_errors(CheckpointError, CompilationError, OSError, UnknownModelError):
        path = compile_checkpoint(find(model, model_dir), cache_dir)
    click.echo(f"{click.format_filename(path)} ({time.perf_counter() - started:.1f} s)")
