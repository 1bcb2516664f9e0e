"""All workers together, as the gateway's backend."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import aiohttp
from prometheus_client import Metric

from models.engine.geometry import input_size
from models.torchserve.status import ModelStatus
from service.backends.base import BatchKey, ModelInfo
from service.backends.torchserve import metrics
from service.backends.torchserve.discovery import Discovery
from service.backends.torchserve.own_worker import OwnWorker
from service.backends.torchserve.worker import Slot, Worker
from service.settings import Settings

# Between looks for workers that have come or gone.
_DISCOVER_SECONDS = 5.0


class TorchServeBackend:
    """The workers at `settings.workers_at`, or this machine's own. Raises ValueError for what is no URL."""

    takes: Literal["bytes"] = "bytes"
    bytes_per_padded_pixel = 0

    def __init__(self, settings: Settings) -> None:
        self._max_pixels = settings.max_pixels
        self._own = None if settings.workers_at else OwnWorker(settings)
        self._discovery = Discovery(self._own.url if self._own else settings.workers_at)
        self._following: dict[Worker, asyncio.Task[None]] = {}
        self._geometry: dict[str, ModelStatus] = {}
        self._discovering: asyncio.Task[None] | None = None

    @property
    def devices(self) -> Sequence[Slot]:
        return [slot for worker in self._following for slot in worker.slots]

    @property
    def models(self) -> Sequence[ModelInfo]:
        """Of every worker, by name and version; those that are out of service count too, as they will be back."""
        found = {}
        for worker in self._following:
            for model in worker.published:
                info = self._info(model)
                found[model.name, model.version] = info
                self._geometry[info.id] = model
        return [found[key] for key in sorted(found)]

    def batch_key(
        self, model: ModelInfo, height: int, width: int, *, long_side: int | None, confidence: bool
    ) -> BatchKey:
        long_side, own = long_side or model.long_side, self._geometry[model.id]
        size = input_size(height, width, long_side=long_side, grid=own.grid, enlarge=own.enlarge)
        return BatchKey(model.id, size.padded_height, size.padded_width, long_side, confidence)

    async def start(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        # What a call may take is for each caller to say.
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None)
        )
        if self._own:
            await self._own.start()
        self._discovering = asyncio.create_task(self._discover())

    async def stop(self) -> None:
        tasks = [*self._following.values(), *([self._discovering] if self._discovering else ())]
        self._following.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._discovering:
            await self._client.close()
        if self._own:
            await self._own.stop()

    def collect(self) -> Iterable[Metric]:
        return metrics.collect(tuple(self._following))

    async def _discover(self) -> None:
        while True:
            addresses = await self._discovery.addresses()
            for worker in tuple(self._following):
                if worker.address not in addresses:
                    self._following.pop(worker).cancel()
                    self._on_change()
            for address in addresses - {worker.address for worker in self._following}:
                worker = Worker(address, self._client, self._max_pixels, self._on_change)
                self._following[worker] = asyncio.create_task(worker.follow())
            await asyncio.sleep(_DISCOVER_SECONDS)

    def _info(self, model: ModelStatus) -> ModelInfo:
        """Compiled is a model that every worker has compiled: the one that has not is the one to look at."""
        engines = {worker.engines.get(f"{model.name}@{model.version}", "compiled") for worker in self._following}
        return ModelInfo(
            name=model.name,
            version=model.version,
            label_set=model.label_set,
            input_size=model.input_size,
            long_side=model.long_side,
            licence=model.licence,
            data=model.data,
            scores=model.scores,
            sha256=model.sha256,
            engine="eager" if "eager" in engines else "compiled",
        )
