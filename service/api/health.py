"""GET /livez, /readyz and /metrics: for whoever runs the service."""

from fastapi import APIRouter, Request, Response

from service.api.openapi import problems
from service.api.schemas import Status
from service.pipeline import Pipeline

router = APIRouter()


@router.get("/livez")
async def live() -> Status:
    """200 as long as the process answers."""
    return Status(status="alive")


@router.get("/readyz", responses=problems(503))
async def ready(request: Request) -> Status:
    """200 once every model is loaded and warm, 503 before and while stopping."""
    pipeline: Pipeline = request.app.state.pipeline
    pipeline.lifecycle.require_ready()
    return Status(status="ready")


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}, "application/openmetrics-text": {}}}},
)
async def metrics(request: Request) -> Response:
    """Prometheus' text format, or OpenMetrics where Accept names it."""
    pipeline: Pipeline = request.app.state.pipeline
    content, media_type = pipeline.metrics.render(pipeline.backend.models, request.headers.get("accept", ""))
    return Response(content, media_type=media_type)
