"""The gateway, wired: read it top to bottom."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI

from models import labelsets
from service.api import catalog, health, segment
from service.api.cors import allow_origins
from service.api.hardening import Hardening
from service.api.keys import ApiKeys
from service.api.openapi import install_openapi
from service.backends.base import Backend
from service.errors import install_error_handlers
from service.pipeline import Pipeline
from service.settings import Settings
from service.telemetry.metrics import Metrics
from service.telemetry.requests import RequestTelemetry
from service.telemetry.tracing import Tracing

logger = logging.getLogger("segserve")
CONTRACT = "1"
"""The version that /openapi.json tells: of the HTTP contract. Which release serves it is for its operators to know."""


def create_app(
    settings: Settings | None = None,
    backend: Backend | None = None,
    on_failed_start: Callable[[], None] = lambda: None,
) -> FastAPI:
    """The ASGI application. backend: None for what the settings name. on_failed_start: called when a model won't load.

    Raises UnknownModel if the default model is not served, CheckpointError or LabelSetError if one of those is broken,
    OSError and ValueError if the file of API keys is, TracingNotInstalled if traces are wanted without their extra.
    """
    settings = settings or Settings()
    # A mistake in a label set of the user's own is told now, not to whoever asks for labels.
    labelsets.names()
    metrics = Metrics()
    tracing = Tracing(settings.otlp_endpoint) if settings.otlp_endpoint else None
    pipeline = Pipeline(settings, backend or make_backend(settings), metrics)
    metrics.registry.register(pipeline.backend)
    if settings.backend == "local":
        catalog.find_model(settings.model, pipeline.backend.models)  # what workers serve, they will tell

    async def start() -> None:
        try:
            await pipeline.start()
        except Exception:
            logger.critical("the models could not be loaded", exc_info=True)
            on_failed_start()
            return
        for model in pipeline.backend.models:
            logger.info(
                "%s is ready (%s, %s engine). Licence: %s", model.id, model.label_set, model.engine, model.licence
            )
        # What is loaded now stays: to look through it again would stall all requests for 0.1 s, every few thousand.
        gc.collect()
        gc.freeze()
        default = catalog.find_model(settings.model, pipeline.backend.models)
        logger.info("ready: POST a photo to /segment; %s is the default model", default.id)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # Loading goes on while /livez and /readyz already answer.
        starting = asyncio.create_task(start())
        yield
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await pipeline.stop()
        if tracing:
            await asyncio.to_thread(tracing.stop)

    app = FastAPI(
        title="segserve",
        summary="Street photographs to per-pixel labels.",
        version=CONTRACT,
        lifespan=lifespan,
        redirect_slashes=False,
        redoc_url=None,
    )
    app.state.pipeline = pipeline
    app.state.api_keys = (
        ApiKeys(settings.api_key_file, lambda key: metrics.key_limited.labels(key).inc())
        if settings.api_key_file
        else None
    )
    # The last one added is the first that a request meets.
    if settings.cors_origins:
        allow_origins(app, settings.cors_origins.split(","))
    app.add_middleware(RequestTelemetry, metrics=metrics, tracing=tracing, leaving=lambda: pipeline.lifecycle.leaving)
    app.add_middleware(Hardening)
    install_error_handlers(app)
    install_openapi(app)
    for module in (segment, catalog, health):
        app.include_router(module.router)
    return app


def make_backend(settings: Settings) -> Backend:
    """The backend that the settings name. Only the local one imports torch."""
    if settings.backend == "torchserve":
        from service.backends.torchserve.backend import TorchServeBackend

        return TorchServeBackend(settings)
    from service.backends.local import LocalBackend

    return LocalBackend(
        settings.model_dir, preferred=settings.model, cache_dir=settings.cache_dir, wait=settings.engine_wait
    )
