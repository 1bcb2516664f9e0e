"""segserve segment: photos to label maps and overlays on this machine."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click

from cli.options import model_dir_option, model_option, user_errors
from images import ImageError, decode, encode_label_map, encode_overlay
from models import labelsets
from models.engine.engine import Segmentation
from models.engine.loading import CheckpointError, UnknownModelError, find, load_engine
from models.labelsets import LabelSet

MAX_PIXELS = 50_000_000


class Job(NamedTuple):
    """One photo and the files made of it."""

    photo: Path
    labels: Path
    overlay: Path


@click.command("segment")
@click.argument("photos", metavar="PHOTO...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    required=True,
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for NAME.png (labels) and NAME.overlay.jpg; made if need be.",
)
@model_option
@model_dir_option
@click.option(
    "--alpha",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Share of the colours in the overlay: 0 is the photo, 1 the colours.",
)
@click.option(
    "--long-side",
    type=click.IntRange(min=1),
    help="Scale photos down to this long side, in pixels, for the network.  [default: the model's own]",
)
def command(
    photos: tuple[Path, ...], out: Path, model: str, model_dir: Path | None, alpha: float, long_side: int | None
) -> None:
    """Label photos on this machine, without a server.

    NAME.png is an indexed PNG of the photo's size whose pixel values are class ids and whose palette is their colours.
    A photo that cannot be labelled is reported on stderr, the rest go on, and the exit status is 1.
    """
    jobs = plan(photos, out)
    with user_errors(CheckpointError, UnknownModelError):
        checkpoint = find(model, model_dir)
        engine = load_engine(checkpoint)
    label_set = labelsets.load(checkpoint.card.label_set)
    failed = False
    for job in jobs:
        try:
            photo = decode(job.photo.read_bytes(), max_pixels=MAX_PIXELS)
            [segmentation] = engine.run([photo], long_side=long_side)
            labels = encode_label_map(segmentation.labels, label_set.palette)
            overlay = encode_overlay(
                photo, segmentation.labels, label_set.palette, alpha=alpha, media_type="image/jpeg"
            )
        except (ImageError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            click.echo(f"{click.format_filename(job.photo)}: {reason}", err=True)
            failed = True
            continue
        with user_errors(OSError):
            out.mkdir(parents=True, exist_ok=True)
            job.labels.write_bytes(labels)
            job.overlay.write_bytes(overlay)
        click.echo(f"{click.format_filename(job.labels)}: {summary(segmentation, label_set)}")
    if failed:
        raise SystemExit(1)


def plan(photos: Sequence[Path], out: Path) -> list[Job]:
    """Where the results go. Refuses what would overwrite another photo's results or a photo itself."""
    jobs: dict[str, Job] = {}
    originals = {photo.resolve() for photo in photos}
    for photo in photos:
        job = Job(photo, out / f"{photo.stem}.png", out / f"{photo.stem}.overlay.jpg")
        other = jobs.setdefault(photo.stem, job)
        if other is not job:
            raise click.UsageError(
                f"{other.photo} and {photo} would both be written to {job.labels}: rename one, or use two folders"
            )
        for result in (job.labels, job.overlay):
            if result.resolve() in originals:
                raise click.UsageError(f"{result} is one of the photos and would be overwritten: use another folder")
    return list(jobs.values())


def summary(segmentation: Segmentation, label_set: LabelSet) -> str:
    """The three largest classes and their shares: "road 41 %, building 22 %, sky 17 %"."""
    largest = segmentation.pixels.argsort()[::-1][:3]
    shares = segmentation.pixels / segmentation.labels.size
    return ", ".join(f"{label_set.classes[i].name} {shares[i]:.0%}" for i in largest if shares[i] > 0)
