"""The embedded default: the engine in the gateway's own process, on its GPU or else on its CPU."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from models.engine.engine import Engine, Segmentation
from models.engine.loading import Checkpoint, library, load_engine
from service.backends.base import BatchKey, ModelInfo, Photo


class LocalBackend:
    """All checkpoints, shipped and in `model_dir`, on one device. Raises CheckpointError for a broken one."""

    def __init__(self, model_dir: Path | None) -> None:
        self._checkpoints = library(model_dir)
        self.models = [_info(checkpoint) for checkpoint in self._checkpoints]
        self.devices: list[LocalDevice] = []
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._engines: dict[str, Engine] = {}

    def batch_key(
        self, model: ModelInfo, height: int, width: int, *, long_side: int | None, confidence: bool
    ) -> BatchKey:
        engine = self._engines[model.id]
        padded_height, padded_width = engine.input_size(height, width, long_side).bucket
        return BatchKey(model.id, padded_height, padded_width, long_side or model.long_side, confidence)

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        for model, checkpoint in zip(self.models, self._checkpoints, strict=True):
            self._engines[model.id] = await loop.run_in_executor(self._executor, load_engine, checkpoint)
        self.devices.append(LocalDevice(self._engines, self._executor))

    async def stop(self) -> None:
        self.devices.clear()
        await asyncio.to_thread(self._executor.shutdown)


class LocalDevice:
    """The one device of this process; batches run in a thread of their own."""

    def __init__(self, engines: dict[str, Engine], executor: ThreadPoolExecutor) -> None:
        self._engines, self._executor = engines, executor
        self.kind = next(iter(engines.values())).device.type
        self.id = f"local-{self.kind}"

    async def run(self, key: BatchKey, photos: Sequence[Photo]) -> Sequence[Segmentation]:
        engine = self._engines[key.model]
        return await asyncio.get_running_loop().run_in_executor(
            self._executor, lambda: engine.run(photos, confidence=key.confidence, long_side=key.long_side)
        )


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
