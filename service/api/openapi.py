"""The OpenAPI document: every error that an address can answer with, as problem+json."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field

from service.errors import MEDIA_TYPE


class Problem(BaseModel):
    """RFC 9457 problem details. retry_after_ms accompanies a Retry-After header."""

    type: str
    title: str
    status: int
    detail: str = Field(description="What to do.")
    retry_after_ms: int | None = None


REASONS = {
    400: "The body is not an image, or a damaged one.",
    401: "An API key is needed, and there is none.",
    403: "The API key is not valid.",
    404: "There is nothing of that name.",
    405: "The method is not possible here.",
    408: "The body came too slowly.",
    413: "Too many bytes, or too many pixels.",
    415: "An image format that is not allowed.",
    422: "A bad parameter.",
    429: "Refused: over its deadline, the memory or the API key's limit. Try again after Retry-After.",
    500: "An error of the service's own.",
    503: "Not ready: loading or stopping. Try again after Retry-After.",
    504: "The deadline passed.",
}
_RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "Whole seconds."}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI declaration of these error answers."""
    declared: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        schema = {"$ref": "#/components/schemas/Problem"}
        declared[status] = {"description": REASONS[status], "content": {MEDIA_TYPE: {"schema": schema}}}
        if status in (429, 503):
            declared[status]["headers"] = _RETRY_AFTER
    return declared


def query_parameters(model: type[BaseModel]) -> list[dict[str, Any]]:
    """The OpenAPI declaration of a query that has the fields of `model`, none of them required."""
    return [
        {"name": name, "in": "query", "required": False, "description": schema.pop("description"), "schema": schema}
        for name, schema in model.model_json_schema()["properties"].items()
    ]


def install_openapi(app: FastAPI) -> None:
    """Give `app` a document that defines the Problem schema, which FastAPI itself never sees."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
            schema["components"]["schemas"]["Problem"] = Problem.model_json_schema()
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's documented way to extend the document
