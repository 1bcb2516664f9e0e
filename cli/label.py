"""segserve label: batch jobs, from a manifest to label maps, status tables and exports."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from cli.options import model_dir_option, model_option, user_errors
from labeling.counts import by_cause
from labeling.errors import FailureRateExceeded, JobError
from labeling.exports import FORMATS
from labeling.exports.cityscapes import check_label_set
from labeling.job import Job, Labels, load_job
from labeling.metrics import JobMetrics, served
from labeling.plan import plan
from labeling.run import export, finish, label, retry_failed
from labeling.runners.base import Runner
from labeling.store import Store, open_store
from labeling.summary import describe, summarise
from labeling.worker import WorkerSettings
from models import labelsets
from models.labelsets import LabelSetError, UnknownLabelSetError

STOPPED_BY_FAILURES = 3
"""Exit status of a job that --max-failure-rate stops."""
INTERRUPTED = 130
"""And of one that Ctrl-C or SIGTERM stops."""


@click.command("label")
@click.argument("manifest", required=False)
@click.option("--out", required=True, metavar="URI", help="Folder, or s3://, gs:// or az:// prefix, for results.")
@model_option
@model_dir_option
@click.option("--long-side", type=click.IntRange(min=1), help="Scale photos down to this long side for the network.")
@click.option("--engine", type=click.Choice(["local"]), default="local", help="Where networks run: in the workers.")
@click.option("--endpoint", metavar="URL", help="Let a running service label instead, after all its other work.")
@click.option("--api-key", envvar="SEGSERVE_API_KEY", show_envvar=True, help="For --endpoint.")
@click.option(
    "--runner",
    type=click.Choice(["embedded", "ray"]),
    default="embedded",
    show_default=True,
    help="Where workers run: on this machine, or in a Ray cluster.",
)
@click.option("--ray-address", envvar="RAY_ADDRESS", show_envvar=True, help="Without it a local cluster starts.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Side by side.  [default: one a GPU, or else one a core (OMP_NUM_THREADS, if set)]",
)
@click.option("--index", type=click.IntRange(min=0), help="Label one part: $JOB_COMPLETION_INDEX.")
@click.option("--index-count", type=click.IntRange(min=1), help="How many parts there are.  [default: one a shard]")
@click.option("--shard-rows", type=click.IntRange(min=1), default=1000, show_default=True, help="Photos a shard.")
@click.option(
    "--max-failure-rate",
    type=click.FloatRange(0, 1),
    default=0.05,
    show_default=True,
    help="Stop when more of the photos than this fail, judged after 100.",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Serve metrics for Prometheus at this port, to every interface, while it runs.",
)
@click.option("--export", "formats", multiple=True, type=click.Choice(list(FORMATS)), help="Also write this format.")
@click.option("--plan", "plan_only", is_flag=True, help="Lay out the shards, say how many there are, and stop.")
@click.option("--resume", is_flag=True, help="Go on with the job in --out, without its manifest.")
@click.option("--retry-failed", "retry", is_flag=True, help="Try the photos in error of the job in --out once more.")
@click.option("--status", "status_only", is_flag=True, help="Say how far the job in --out is.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone on stdout.")
@click.pass_context
def command(
    ctx: click.Context,
    manifest: str | None,
    out: str,
    model: str,
    model_dir: Path | None,
    long_side: int | None,
    engine: str,  # noqa: ARG001 (the only one there is)
    endpoint: str | None,
    api_key: str | None,
    runner: str,
    ray_address: str | None,
    workers: int | None,
    index: int | None,
    index_count: int | None,
    shard_rows: int,
    max_failure_rate: float,
    metrics_port: int,
    formats: tuple[str, ...],
    plan_only: bool,
    resume: bool,
    retry: bool,
    status_only: bool,
    as_json: bool,
) -> None:
    """Label the photos of a manifest: any number, and none is lost.

    MANIFEST is a Parquet, CSV or JSONL file with the columns image_id and uri, a folder, or a bucket prefix. A photo
    that cannot be labelled becomes a row with its error, and the rest go on. A job that was stopped or killed goes on
    where it was when the same command runs again.

    \b
    Exit status: 0 the job is complete, rows in error included; 1 it cannot go on, the message says why;
    3 too many photos fail (--max-failure-rate); 130 interrupted (Ctrl-C, SIGTERM).
    """
    if index is not None and index_count is not None and index >= index_count:
        raise click.UsageError(f"--index {index}: the parts of --index-count {index_count} begin with 0")
    if resume or retry or status_only:
        _refuse_what_a_plan_decides(ctx, "--resume" if resume else "--retry-failed" if retry else "--status")
    with user_errors(JobError, OSError, UnknownLabelSetError, LabelSetError), _interruptible():
        store = open_store(out)
        if status_only:
            job = _existing(store)
            _show(describe(job, summarise(job, store)), store, as_json)
            return
        if resume or retry:
            job = _existing(store)
            given = ctx.get_parameter_source("model") == ParameterSource.COMMANDLINE
            if given and model not in (job.labels.model, job.labels.model.partition("@")[0]):
                raise JobError(f"the job in {out} labels with {job.labels.model}: choose another --out for {model}")
        elif manifest is None:
            raise click.UsageError("name a MANIFEST, or --resume, --retry-failed or --status")
        else:
            labels = _labels(model, model_dir, long_side, endpoint, api_key)
            if "cityscapes" in formats:
                check_label_set(labels.label_set)
            job = plan(store, manifest, labels, shard_rows)
        # Known here, or nothing of the job could be read.
        labelsets.load(job.labels.label_set)
        if "cityscapes" in formats:
            check_label_set(job.labels.label_set)
        click.echo(f"{job.rows:,} photos in {len(job.shards):,} shards, model {job.labels.model}", err=True)
        if plan_only:
            return
        count = index_count or len(job.shards)
        shards = job.shards if index is None else job.shards[index::count]
        placed, settings = _runner(runner, ray_address, workers, endpoint, api_key, model_dir)
        metrics = JobMetrics(job, "endpoint" if endpoint else "local")
        serving = served(metrics, metrics_port) if metrics_port else nullcontext()
        try:
            with serving:
                if retry:
                    retry_failed(job, store, placed, settings, shards=shards, metrics=metrics)
                else:
                    rate = max_failure_rate
                    label(job, store, placed, settings, shards=shards, max_failure_rate=rate, metrics=metrics)
                export(job, store, placed, settings, shards=shards, formats=formats)
        except FailureRateExceeded as error:
            click.echo(f"Error: {error}", err=True)
            raise SystemExit(STOPPED_BY_FAILURES) from error
        summary = finish(job, store, formats)
        if isinstance(summary, str):
            click.echo(f"done with this part, but {summary}; the index that ends last finishes the job", err=True)
            return
        _show(describe(job, summary), store, as_json)


def _refuse_what_a_plan_decides(ctx: click.Context, way: str) -> None:
    """way: the option by which the job in --out is meant, as it was planned."""
    if ctx.params["manifest"] is not None:
        raise click.UsageError(f"{way} is about the job in --out: leave out MANIFEST, or leave out {way} to label it")
    for name, option in {"long_side": "--long-side", "shard_rows": "--shard-rows"}.items():
        if ctx.get_parameter_source(name) != ParameterSource.DEFAULT:
            raise click.UsageError(
                f"the job's {option} is what it was planned with: leave it out, or label a MANIFEST to another --out"
            )


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C, and SIGTERM likewise, end the job in an orderly way: no photo is to blame for that."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        click.echo("stopped: the same command goes on from here", err=True)
        raise SystemExit(INTERRUPTED) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _existing(store: Store) -> Job:
    job = load_job(store)
    if job is None:
        raise JobError(f"{store.uri} holds no job: start one with `segserve label MANIFEST --out {store.uri}`")
    return job


def _labels(
    model: str, model_dir: Path | None, long_side: int | None, endpoint: str | None, api_key: str | None
) -> Labels:
    # Imported where they are needed: a client of a service needs no torch.
    if endpoint:
        from labeling import endpoint_labeler

        return endpoint_labeler.labels_of(endpoint, api_key, model, long_side)
    from labeling import local_labeler

    return local_labeler.labels_of(model, model_dir, long_side)


def _runner(
    name: str,
    ray_address: str | None,
    workers: int | None,
    endpoint: str | None,
    api_key: str | None,
    model_dir: Path | None,
) -> tuple[Runner, WorkerSettings]:
    settings = WorkerSettings(model_dir, endpoint, api_key)
    if name == "ray":
        try:
            from labeling.runners.ray import RayRunner
        except ModuleNotFoundError as error:
            raise JobError(f"--runner ray needs the package '{error.name}': pip install 'segserve[ray]'") from error
        return RayRunner(ray_address, workers), settings
    from labeling.runners.embedded import EmbeddedRunner, cores

    if endpoint:
        return EmbeddedRunner(workers or 1), settings
    from labeling.local_labeler import gpus

    count = workers or gpus() or cores()
    return EmbeddedRunner(count, gpus()), replace(settings, threads=max(1, cores() // count))


def _show(facts: dict[str, Any], store: Store, as_json: bool) -> None:
    if len(facts["engines"]) > 1:
        click.echo(
            f"warning: more than one engine labelled these photos ({by_cause(facts['engines'])}), and their labels "
            "differ at the borders of things. The status tables say which photo had which; workers have the same "
            "engine on machines of one kind, where the network compiles on all of them",
            err=True,
        )
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    errors = f", {by_cause(facts['errors'])}" if facts["errors"] else ""
    state = "complete" if facts["complete"] else f"{facts['shards_done']:,} of {facts['shards']:,} shards done"
    click.echo(f"{store.uri}: {state}; {facts['ok']:,} of {facts['photos']:,} photos labelled{errors}")
