"""Settings classes as commands: every field a flag, a mistake told in a sentence."""

from collections.abc import Mapping
from typing import Any, TypeVar, get_args, get_origin

import click
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from models.validation import explain

S = TypeVar("S", bound=BaseSettings)


def flags(settings: type[BaseSettings]) -> list[click.Parameter]:
    """One a field, whose docstring is its help."""
    return [_flag(name, field) for name, field in settings.model_fields.items()]


def read(settings: type[S], given: Mapping[str, Any]) -> S:
    """From the flags that were given, and the environment. Raises ClickException."""
    try:
        return settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise click.ClickException(f"correct these settings: {explain(error)}") from error


def _flag(name: str, field: FieldInfo) -> click.Option:
    flag = f"--{name.replace('_', '-')}"
    if field.annotation is bool:
        return click.Option([f"{flag}/--no-{flag[2:]}"], default=None, help=field.description)
    kind: Any = click.Choice(get_args(field.annotation)) if _is_choice(field) else _plain(field)
    default = "" if field.default_factory or field.default is None else f"  [default: {field.default}]"
    return click.Option([flag], type=kind, help=f"{field.description}{default}")


def _is_choice(field: FieldInfo) -> bool:
    return str(get_origin(field.annotation)) == "typing.Literal"


def _plain(field: FieldInfo) -> Any:
    # Paths and the like are parsed by the settings themselves.
    return field.annotation if field.annotation in (int, float, bool) else str
