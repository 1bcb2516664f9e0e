"""POST /segment."""

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from service.answers import AnswerFormat
from service.api.body import received_photo
from service.api.catalog import find_model
from service.api.negotiation import overlay_type, wanted_output
from service.api.openapi import problems
from service.api.schemas import SegmentationAnswer, SegmentQuery
from service.errors import BadParameter
from service.pipeline import Answer, Order, Pipeline
from service.scheduling.priority import Priority
from service.settings import Settings
from service.telemetry.requests import CLIENT_CLOSED_REQUEST

router = APIRouter()

PriorityName = Literal["interactive", "normal", "batch"]

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
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "model": SegmentationAnswer,
        "description": "json; or the label map (image/png); or the overlay (image/jpeg, image/webp or image/png).",
        "content": {"image/png": _PICTURE, "image/jpeg": _PICTURE, "image/webp": _PICTURE},
    },
    **problems(400, 401, 403, 404, 405, 408, 413, 415, 422, 429, 500, 503, 504),
}


@router.post("/segment", responses=_ANSWERS, openapi_extra={"requestBody": _BODY}, response_class=Response)
async def segment(
    request: Request,
    query: Annotated[SegmentQuery, Query()],
    x_priority: Annotated[PriorityName, Header(description="Who goes first when devices are busy.")] = "normal",
) -> Response:
    """Label every pixel of a street photo."""
    pipeline: Pipeline = request.app.state.pipeline
    if (keys := request.app.state.api_keys) is not None:
        keys.check(request.headers)
    pipeline.require_ready()
    order = _order(query, ",".join(request.headers.getlist("accept")), Priority[x_priority.upper()], pipeline)
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


def _order(query: SegmentQuery, accept: str, priority: Priority, pipeline: Pipeline) -> Order:
    settings: Settings = pipeline.settings
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
        model=find_model(query.model or settings.model, pipeline.backend.models),
        form=form,
        priority=priority,
        long_side=query.long_side,
        seconds=timeout_ms / 1000,
    )


async def _while_connected(receive: Receive, work: Coroutine[Any, Any, Answer]) -> Answer:
    """The result of `work`; cancels it and raises ClientDisconnect when the client hangs up first."""
    working = asyncio.create_task(work)
    listening = asyncio.create_task(_hung_up(receive))
    try:
        await asyncio.wait({working, listening}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        for task in (working, listening):
            task.cancel()
        await asyncio.gather(working, listening, return_exceptions=True)


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
