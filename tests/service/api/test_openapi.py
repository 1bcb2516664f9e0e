from typing import Any

import pytest

from service.errors import IMAGE_ERRORS, ServiceError
from tests.service.gateway import Gateway


@pytest.fixture
async def document(served: Gateway) -> dict[str, Any]:
    response = await served.client.get("/openapi.json")
    found: dict[str, Any] = response.json()
    return found


def test_declares_every_address(document: dict[str, Any]) -> None:
    assert {path: set(methods) for path, methods in document["paths"].items()} == {
        "/segment": {"post"},
        "/models": {"get"},
        "/models/{name}": {"get"},
        "/labelsets": {"get"},
        "/labelsets/{name}": {"get"},
        "/livez": {"get"},
        "/readyz": {"get"},
        "/metrics": {"get"},
    }


def test_segment_declares_every_error_as_a_problem(document: dict[str, Any]) -> None:
    responses = document["paths"]["/segment"]["post"]["responses"]
    causes = {error.status for error in ServiceError.__subclasses__()} | {status for status, _ in IMAGE_ERRORS.values()}
    assert {int(status) for status in responses} == {200, 405} | causes
    for status, response in responses.items():
        if status != "200":
            assert response["content"] == {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
            }
        assert ("Retry-After" in response.get("headers", {})) == (status in ("429", "503"))


def test_segment_declares_its_answers_and_bodies(document: dict[str, Any]) -> None:
    operation = document["paths"]["/segment"]["post"]
    answers = operation["responses"]["200"]["content"]
    assert set(answers) == {"application/json", "image/png", "image/jpeg", "image/webp"}
    assert answers["application/json"]["schema"] == {"$ref": "#/components/schemas/SegmentationAnswer"}
    assert operation["requestBody"]["required"]
    assert "multipart/form-data" in operation["requestBody"]["content"]
    assert {parameter["name"] for parameter in operation["parameters"]} == {
        *("model", "output", "alpha", "long_side", "timeout_ms", "overlay", "confidence"),
        "x-priority",
    }


def test_every_parameter_and_address_is_described(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["description"], path
    for parameter in document["paths"]["/segment"]["post"]["parameters"]:
        assert parameter["description"], parameter["name"]


async def test_is_shown_at_docs(served: Gateway) -> None:
    response = await served.client.get("/docs")
    assert response.status_code == 200
    assert "/openapi.json" in response.text
