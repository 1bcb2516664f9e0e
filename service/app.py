"""The gateway, wired: read it top to bottom."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from service.api import catalog, health, segment
from service.api.keys import ApiKeys
from service.api.openapi import install_openapi
from service.backends.base import Backend
from service.errors import install_error_handlers
from service.pipeline import Pipeline
from service.settings import Settings
from service.telemetry.metrics import Metrics
from service.telemetry.requests import RequestTelemetry

logger = logging.getLogger("segserve")


def create_app(
    settings: Settings | None = None,
    backend: Backend | None = None,
    on_failed_start: Callable[[], None] = lambda: None,
) -> FastAPI:
    """The ASGI application. backend: None for what the settings name. on_failed_start: called when a model won't load.

    Raises UnknownModel if the default model is not served, CheckpointError if a checkpoint is broken,
    OSError and ValueError if the file of API keys is.
    """
    settings = settings or Settings()
    metrics = Metrics()
    pipeline = Pipeline(settings, backend or make_backend(settings), metrics)
    default = catalog.find_model(settings.model, pipeline.backend.models)

    async def start() -> None:
        try:
            await pipeline.start()
        except Exception:
            logger.critical("the models could not be loaded", exc_info=True)
            on_failed_start()
            return
        for model in pipeline.backend.models:
            metrics.model_info.labels(model.id, model.label_set, model.engine, model.sha256, model.licence).set(1)
            logger.info(
                "%s is ready (%s, %s engine). Licence: %s", model.id, model.label_set, model.engine, model.licence
            )
        logger.info("ready: POST a photo to /segment; %s is the default model", default.id)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # Loading goes on while /livez and /readyz already answer.
        starting = asyncio.create_task(start())
        yield
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await pipeline.stop()

    app = FastAPI(
        title="segserve",
        summary="Street photographs to per-pixel labels.",
        version=version("segserve"),
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.pipeline = pipeline
    app.state.api_keys = ApiKeys(settings.api_key_file) if settings.api_key_file else None
    app.add_middleware(RequestTelemetry, metrics=metrics)
    install_error_handlers(app)
    install_openapi(app)
    for module in (segment, catalog, health):
        app.include_router(module.router)
    return app


def make_backend(settings: Settings) -> Backend:
    """The backend that the settings name. Only the local one imports torch."""
    from service.backends.local import LocalBackend

    return LocalBackend(settings.model_dir)
