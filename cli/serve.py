"""segserve serve: the gateway on a socket. Its flags are the settings, and so are its environment variables."""

import logging
import os
import sys
from collections.abc import Iterator
from typing import Any

import click

from cli.options import user_errors
from cli.settings import flags, read
from service.app import create_app
from service.errors import ServiceError
from service.server import Server
from service.settings import Settings
from service.telemetry.logs import configure_logging

logger = logging.getLogger("segserve")
# Variables of other commands: workers', and the key that `segserve label --endpoint` shows.
_OTHERS = ("SEGSERVE_WORKER_", "SEGSERVE_API_KEY")


def serve(**given: Any) -> None:
    """Serve POST /segment over HTTP.

    Every flag is also an environment variable: SEGSERVE_ and its name, such as SEGSERVE_MAX_PIXELS. Flags go first.
    """
    settings = read(Settings, given)
    configure_logging(settings.log_level)
    # For what reads nothing else: numba, when the engine is imported, label sets, and the processes that we start.
    for name in ("cache_dir", "label_set_dir"):
        if folder := getattr(settings, name):
            os.environ[f"SEGSERVE_{name.upper()}"] = str(folder.absolute())
    for name in _misspelt():
        logger.warning("%s is no setting and changes nothing: `segserve serve --help` has them all", name)
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


def _misspelt() -> Iterator[str]:
    """Variables of the environment that look like a setting: a limit or a file of keys may be meant."""
    prefix = Settings.model_config["env_prefix"]
    known = {f"{prefix}{name}".upper() for name in Settings.model_fields}
    for name in sorted(os.environ):
        other = name.startswith(_OTHERS[0]) or name == _OTHERS[1]
        if name.startswith(prefix) and name.upper() not in known and not other:
            yield name


command = click.Command("serve", callback=serve, help=serve.__doc__, params=flags(Settings))
