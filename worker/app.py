"""What a worker publishes, read-only: GET /status for gateways, /livez, /readyz and /metrics for whoever runs it."""

import asyncio

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from worker.gpu_metrics import GpuMetrics
from worker.management import NoAnswer
from worker.supervisor import Supervisor


def create_app(supervisor: Supervisor) -> Starlette:
    """The ASGI application. It reads what the supervisor knows, and changes nothing."""
    gpus = CollectorRegistry()
    gpus.register(GpuMetrics())

    async def status(_: Request) -> Response:
        return Response(supervisor.status.model_dump_json(), media_type="application/json")

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def ready(_: Request) -> Response:
        return JSONResponse({"status": supervisor.status.state}, 200 if supervisor.ready else 503)

    async def metrics(_: Request) -> Response:
        """TorchServe's own, and the GPUs'."""
        try:
            torchserves = await supervisor.management.metrics()
        except NoAnswer:
            return PlainTextResponse("TorchServe does not answer: it is being started.", 503)
        # A driver may take its time.
        shown = torchserves.encode() + await asyncio.to_thread(generate_latest, gpus)
        return Response(shown, media_type=CONTENT_TYPE_PLAIN_0_0_4)

    handlers = {"/status": status, "/livez": live, "/readyz": ready, "/metrics": metrics}
    return Starlette(routes=[Route(path, handler) for path, handler in handlers.items()])
