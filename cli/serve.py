"""segserve serve: the gateway on a socket. Its flags are the settings, and so are its environment variables."""

import os
import sys
from typing import Any

import click

from cli.options import user_errors
from cli.settings import flags, read
from service.app import create_app
from service.errors import ServiceError
from service.server import Server
from service.settings import Settings
from service.telemetry.logs import configure_logging


def serve(**given: Any) -> None:
    """Serve POST /segment over HTTP.

    Every flag is also an environment variable: SEGSERVE_ and its name, such as SEGSERVE_MAX_PIXELS. Flags go first.
    """
    settings = read(Settings, given)
    configure_logging(settings.log_level)
    if settings.cache_dir:
        # For what reads nothing else: numba, when the engine is imported, and the processes that we start.
        os.environ["SEGSERVE_CACHE_DIR"] = str(settings.cache_dir.absolute())
    failed = False

    def stop() -> None:
        nonlocal failed
        failed = server.should_exit = True

    # A broken checkpoint is a ValueError.
    with user_errors(ServiceError, OSError, ValueError):
        app = create_app(settings, on_failed_start=stop)
    server = Server(app)
    server.run()
    if failed or not server.started:
        sys.exit(1)


command = click.Command("serve", callback=serve, help=serve.__doc__, params=flags(Settings))
