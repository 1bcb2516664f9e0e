"""segserve worker: one TorchServe with the models of a folder, for gateways to send photos to."""

from typing import Any

import click

from cli.options import user_errors
from cli.settings import flags, read
from models.weights.checkpoint import CheckpointError
from service.telemetry.logs import configure_logging
from worker.server import Server
from worker.settings import WorkerSettings


def worker(stop_with_stdin: bool, **given: Any) -> None:
    """Run TorchServe with the models of a folder, for gateways elsewhere (`segserve serve --workers-at`).

    Every flag but the last is also an environment variable: SEGSERVE_WORKER_ and its name, such as
    SEGSERVE_WORKER_MODEL_DIR. Flags go first. Only gateways should reach its two ports: neither asks for a key.
    """
    settings = read(WorkerSettings, given)
    configure_logging(settings.log_level)
    with user_errors(CheckpointError, OSError):
        Server(settings).run_until_stopped(stop_with_stdin=stop_with_stdin)


command = click.Command(
    "worker",
    callback=worker,
    help=worker.__doc__,
    params=[
        *flags(WorkerSettings),
        click.Option(
            ["--stop-with-stdin"],
            is_flag=True,
            help="Stop when standard input ends, as it does with its parent process.",
        ),
    ],
)
