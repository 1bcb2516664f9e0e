"""The embedded default: engines in the gateway's own process, on its GPU or else on its CPU."""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Container, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from prometheus_client import Metric

from models.engine.background import BackgroundError, compile_in_background
from models.engine.engine import Engine
from models.engine.loading import (
    Checkpoint,
    CheckpointError,
    compilable,
    compiled,
    library,
    load_engine,
    process_threads,
)
from models.engine.network import Network
from models.engine.sharing import engine_threads, enter
from service.backends.base import BatchKey, ModelInfo, Photo, Ran, Segmentation

logger = logging.getLogger("segserve")
T = TypeVar("T")


class LocalBackend:
    """All checkpoints, shipped and in `model_dir`. Raises CheckpointError for a broken one.

    A GPU is one device, a CPU several (see models/engine/sharing.py). A network that was never compiled on this machine
    answers from the eager engine while it is being compiled in the background (see models/engine/background.py); with
    wait=True `start` waits for it. preferred: NAME or NAME@VERSION that is compiled first. cache_dir: see
    `load_engine`.
    """

    takes: Literal["pixels"] = "pixels"
    bytes_per_padded_pixel = 72

    def __init__(
        self, model_dir: Path | None, *, preferred: str = "", cache_dir: Path | None = None, wait: bool = False
    ) -> None:
        self._checkpoints = {_id(checkpoint): checkpoint for checkpoint in library(model_dir)}
        self.models = [_info(checkpoint) for checkpoint in self._checkpoints.values()]
        self.devices: list[LocalDevice] = []
        self._engines: dict[str, Engine] = {}
        """Of the first device: what they have in common."""
        self._preferred, self._cache_dir, self._wait = preferred, cache_dir, wait
        self._compiling: asyncio.Task[None] | None = None
        self._threads: int | None = None
        """Of a compiled network that takes an eager one's place."""

    def batch_key(
        self, model: ModelInfo, height: int, width: int, *, long_side: int | None, confidence: bool
    ) -> BatchKey:
        engine = self._engines[model.id]
        padded_height, padded_width = engine.input_size(height, width, long_side).bucket
        return BatchKey(model.id, padded_height, padded_width, long_side or model.long_side, confidence)

    async def start(self, on_change: Callable[[], None]) -> None:
        self._threads = process_threads()
        for number, threads in enumerate(engine_threads()):
            # Not in the device's thread: a compiled network may use more cores than that.
            engines = {id: await asyncio.to_thread(self._load, each) for id, each in self._checkpoints.items()}
            self.devices.append(LocalDevice(number, engines, threads))
        self._engines = self.devices[0].engines
        self._show_kinds()
        on_change()
        if not self._wait:
            self._compiling = asyncio.create_task(self._compile())

    async def stop(self) -> None:
        devices, self.devices = self.devices, []
        if self._compiling:
            self._compiling.cancel()
            await asyncio.gather(self._compiling, return_exceptions=True)
        for device in devices:
            await asyncio.to_thread(device.thread.shutdown)

    def _load(self, checkpoint: Checkpoint) -> Engine:
        return load_engine(checkpoint, cache_dir=self._cache_dir, wait=self._wait)

    async def _compile(self) -> None:
        """Put a compiled network in the place of each eager one, the preferred model's first."""
        waiting = [id for id, engine in self._engines.items() if compilable(engine)]
        waiting.sort(key=lambda id: self._preferred not in (id, self._checkpoints[id].card.name))
        for id in waiting:
            logger.info("%s runs on the eager engine until it is compiled, once on this machine", id)
            started, checkpoint = time.monotonic(), self._checkpoints[id]
            try:
                await compile_in_background(checkpoint, self._cache_dir)
                load = partial(compiled, checkpoint, cache_dir=self._cache_dir, make=False, threads=self._threads)
                networks = [network for _ in self.devices if (network := await asyncio.to_thread(load))]
                if len(networks) < len(self.devices):
                    continue  # `compiled` has said why.
                for device, network in zip(self.devices, networks, strict=True):
                    await device.replace(id, network, checkpoint.card.input_size)
            except (BackgroundError, CheckpointError, OSError, RuntimeError) as error:
                logger.warning("%s stays on the eager engine, as it cannot be compiled: %s", id, error)
                continue
            self._show_kinds()
            logger.info("%s runs on the compiled engine after %.1f s", id, time.monotonic() - started)

    def _show_kinds(self) -> None:
        self.models = [replace(model, engine=self._engines[model.id].network.kind) for model in self.models]

    def collect(self) -> Iterable[Metric]:
        return ()


class LocalDevice:
    """A thread of this process with an engine for each model. threads: its share of the cores."""

    delay = 0.0

    def __init__(self, number: int, engines: dict[str, Engine], threads: int) -> None:
        self.engines = engines
        self.kind = next(iter(engines.values())).network.device.type
        self.id = f"local-{self.kind}-{number}"
        self.thread = ThreadPoolExecutor(1, f"engine-{number}", enter, (threads,))

    @property
    def models(self) -> Container[str]:
        return self.engines.keys()

    async def run(self, key: BatchKey, photos: Sequence[Photo]) -> Ran:
        engine, started = self.engines[key.model], time.perf_counter()

        def run() -> Sequence[Segmentation]:
            try:
                return engine.run(photos, confidence=key.confidence, long_side=key.long_side)
            except torch.AcceleratorError as error:
                # Nothing runs on that device in this process any more; whoever started it starts another.
                logger.critical("the GPU is lost, and the service ends: %r", error)
                os._exit(1)

        results = await self._in_thread(run)
        return Ran(results, time.perf_counter() - started)

    async def replace(self, model: str, network: Network, size: tuple[int, int]) -> None:
        """Let the model's engine run `network` from the next batch on."""

        def swap() -> None:
            engine = self.engines[model]
            # The first run of a size makes its kernels.
            Engine(network, engine.preprocessing).run([np.zeros((*size, 3), np.uint8)])
            engine.network = network

        # In the engine's own thread no batch runs while it is replaced.
        await self._in_thread(swap)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.thread, work)


def _id(checkpoint: Checkpoint) -> str:
    return f"{checkpoint.card.name}@{checkpoint.card.version}"


def _info(checkpoint: Checkpoint) -> ModelInfo:
    card = checkpoint.card
    return ModelInfo(
        name=card.name,
        version=card.version,
        label_set=card.label_set,
        input_size=card.input_size,
        long_side=card.preprocessing.long_side,
        licence=card.licence,
        data=card.data,
        scores=card.scores,
        sha256=checkpoint.sha256,
        engine="eager",
    )
