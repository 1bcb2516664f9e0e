"""segserve serve: the gateway on a socket. Its flags are the settings, and so are its environment variables."""

import sys
from typing import Any, get_args, get_origin

import click
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from cli.options import user_errors
from models.validation import explain
from models.weights.checkpoint import CheckpointError
from service.app import create_app
from service.errors import ServiceError
from service.server import Server
from service.settings import Settings
from service.telemetry.logs import configure_logging


def serve(**given: Any) -> None:
    """Serve POST /segment over HTTP.

    Every flag is also an environment variable: SEGSERVE_ and its name, such as SEGSERVE_MAX_PIXELS. Flags go first.
    """
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise click.ClickException(f"correct these settings: {explain(error)}") from error
    configure_logging(settings.log_level)
    failed = False

    def stop() -> None:
        nonlocal failed
        failed = server.should_exit = True

    with user_errors(ServiceError, CheckpointError, OSError, ValueError):
        app = create_app(settings, on_failed_start=stop)
    server = Server(app)
    server.run()
    if failed or not server.started:
        sys.exit(1)


def _flag(name: str, field: FieldInfo) -> click.Option:
    kind: Any = click.Choice(get_args(field.annotation)) if _is_choice(field) else _plain(field)
    default = "" if field.default_factory or field.default is None else f"  [default: {field.default}]"
    return click.Option([f"--{name.replace('_', '-')}"], type=kind, help=f"{field.description}{default}")


def _is_choice(field: FieldInfo) -> bool:
    return str(get_origin(field.annotation)) == "typing.Literal"


def _plain(field: FieldInfo) -> Any:
    # Paths and the like are parsed by the settings themselves.
    return field.annotation if field.annotation in (int, float, bool) else str


command = click.Command(
    "serve",
    callback=serve,
    help=serve.__doc__,
    params=[_flag(name, field) for name, field in Settings.model_fields.items()],
)
