"""docker/compose.yaml by the Compose specification's own schema (Apache-2.0), a copy of which is in schemas/."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.docker.test_compose import COMPOSE

SCHEMA = json.loads(Path(__file__).with_name("schemas").joinpath("compose-spec.json").read_text(encoding="utf-8"))


def mistakes(compose: dict[str, Any]) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(compose)]


def test_compose_takes_it() -> None:
    assert mistakes(COMPOSE) == []


@pytest.mark.parametrize(
    "changed", [{"helthcheck": {}}, {"ports": 8000}, {"healthcheck": {"test": "true", "every": "10s"}}]
)
def test_a_mistake_is_found(changed: dict[str, Any]) -> None:
    services = COMPOSE["services"] | {"segserve": COMPOSE["services"]["segserve"] | changed}
    assert mistakes(COMPOSE | {"services": services})
