"""POST /segment."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from service.answers import AnswerFormat
from service.api.body import received_photo
from service.api.catalog import find_model
from service.api.keys import ApiKeys
from service.api.negotiation import overlay_type, wanted_output
from service.api.openapi import problems, query_parameters
from service.api.schemas import SegmentationAnswer, SegmentQuery
from service.errors import BadParameter
from service.pipeline import Answer, Order, Pipeline
from service.scheduling.priority import Priority
from service.settings import Settings
from service.telemetry.requests import CLIENT_CLOSED_REQUEST
from service.telemetry.tracing import Trace

router = APIRouter()

_PRIORITIES = {priority.name.lower(): priority for priority in Priority}
_PICTURE = {"schema": {"type": "string", "format": "binary"}}
_BODY: dict[str, Any] = {
    "required": True,
    "description": "The photo (JPEG, PNG, WebP, GIF or BMP, under any Content-Type), or a form with the file `image`.",
    "content": {
        "image/*": _PICTURE,
        "application/octet-stream": _PICTURE,
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["image"],
                "properties": {"image": {"type": "string", "format": "binary"}},
            }
        },
    },
}
_PARAMETERS = [
    *query_parameters(SegmentQuery),
    {
        "name": "x-priority",
        "in": "header",
        "required": False,
        "description": "Who goes first when devices are busy.",
        "schema": {"type": "string", "enum": list(_PRIORITIES), "default": "normal"},
    },
]
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "model": SegmentationAnswer,
        "description": "json; or the label map (image/png); or the overlay (image/jpeg, image/webp or image/png).",
        "content": {"image/png": _PICTURE, "image/jpeg": _PICTURE, "image/webp": _PICTURE},
    },
    **problems(400, 401, 403, 404, 405, 408, 413, 415, 422, 429, 500, 503, 504),
}


# The parameters are declared and parsed here: FastAPI's way takes a seventh of the event loop's time for a request.
@router.post(
    "/segment",
    responses=_ANSWERS,
    openapi_extra={"parameters": _PARAMETERS, "requestBody": _BODY},
    response_class=Response,
)
async def segment(request: Request) -> Response:
    """Label every pixel of a street photo."""
    pipeline: Pipeline = request.app.state.pipeline
    keys: ApiKeys | None = request.app.state.api_keys
    if keys is None:
        return await _segment(request, pipeline)
    # Before its limits are asked: the log names whom they refuse.
    key = request.scope["state"]["key"] = keys.identify(request.headers)
    with keys.admitted(key):
        return await _segment(request, pipeline)


async def _segment(request: Request, pipeline: Pipeline) -> Response:
    pipeline.lifecycle.require_service()
    order = _order(request, pipeline)
    pipeline.lifecycle.require_service(order.model.id)
    state = request.scope["state"]
    state["model"] = order.model.id
    state["headers"] |= {"X-Model": order.model.id, "X-Label-Set": order.model.label_set}
    try:
        async with received_photo(request, pipeline) as (photo, held):
            answer = await _while_connected(request.receive, pipeline.segment(photo, order, held))
    except ClientDisconnect:
        # Nobody reads this; its status goes into the log and the metrics.
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    server_timing = ", ".join(f"{stage};dur={seconds * 1000:.2f}" for stage, seconds in answer.timing.items())
    return Response(answer.body, media_type=order.form.media_type, headers={"Server-Timing": server_timing})


def _order(request: Request, pipeline: Pipeline) -> Order:
    settings: Settings = pipeline.settings
    state = request.scope["state"]
    trace: Trace | None = state["trace"]
    try:
        query = SegmentQuery.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise RequestValidationError([fault | {"loc": ("query", *fault["loc"])} for fault in error.errors()]) from error
    priority = _PRIORITIES.get(request.headers.get("x-priority", "normal"))
    if priority is None:
        raise BadParameter("Correct x-priority: it may be 'interactive', 'normal' or 'batch'.")
    accept = ",".join(request.headers.getlist("accept"))
    if query.long_side is not None and query.long_side > settings.max_long_side:
        raise BadParameter(f"long_side may be at most {settings.max_long_side} here.")
    output = query.output or wanted_output(accept)
    form = AnswerFormat(
        output=output,
        overlay_type=overlay_type(accept),
        alpha=query.alpha,
        overlay=query.overlay,
        confidence=query.confidence and output == "json",
    )
    timeout_ms = min(query.timeout_ms or settings.timeout_ms, settings.max_timeout_ms)
    return Order(
        model=find_model(query.model or settings.model, pipeline.backend.models, pipeline.hosts),
        form=form,
        priority=priority,
        long_side=query.long_side,
        seconds=timeout_ms / 1000,
        request_id=state["request_id"],
        traceparent=trace.traceparent if trace else request.headers.get("traceparent", ""),
        tracestate=trace.tracestate if trace else ",".join(request.headers.getlist("tracestate")),
        trace=trace,
    )


async def _while_connected(receive: Receive, work: Coroutine[Any, Any, Answer]) -> Answer:
    """The result of `work`; cancels it and raises ClientDisconnect when the client hangs up first."""
    try:
        async with asyncio.timeout(None) as connected:
            listening = asyncio.create_task(_expire_on_hang_up(connected, receive))
            try:
                return await work
            finally:
                listening.cancel()
    except TimeoutError:
        raise ClientDisconnect from None


async def _expire_on_hang_up(connected: asyncio.Timeout, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    connected.reschedule(0.0)
