"""The engine in this process: decoding and encoding in threads beside it."""

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import torch

from images import ImageError, decode, encode_label_map
from labeling.errors import JobError, PhotoError, photo_error
from labeling.job import Labels
from labeling.labeler import MAX_PIXELS, LabelMap
from models import labelsets
from models.engine.engine import Photo, Segmentation
from models.engine.loading import CheckpointError, UnknownModelError, find, load_engine

logger = logging.getLogger("segserve")

GPU_BATCH = 8
"""Photos a GPU labels at once. On a CPU it is one: more gains nothing, and labels stay those of a photo alone."""


def labels_of(model: str, model_dir: Path | None, long_side: int | None) -> Labels:
    """Raises JobError for a model that is not there."""
    try:
        checkpoint = find(model, model_dir)
    except (UnknownModelError, CheckpointError) as error:
        raise JobError(str(error)) from error
    card = checkpoint.card
    return Labels(f"{card.name}@{card.version}", checkpoint.sha256, card.label_set, long_side)


In = TypeVar("In")
Out = TypeVar("Out")


class LocalLabeler:
    """An engine and its codecs."""

    def __init__(self, labels: Labels, model_dir: Path | None, threads: int) -> None:
        """Loads the engine. threads: of its own and of the codecs. Raises JobError where it is not the job's model."""
        if labels_of(labels.model, model_dir, labels.long_side) != labels:
            raise JobError(f"the weights of {labels.model} on this machine are not those that the job began with")
        torch.set_num_threads(threads)
        self._engine = load_engine(find(labels.model, model_dir))
        network = self._engine.network
        self.engine: str | None = f"{network.kind} {network.dtype}".replace("torch.", "")
        on_gpu = network.device.type != "cpu"
        self.batch = GPU_BATCH if on_gpu else 1
        self.window = 32 * self.batch if on_gpu else 32
        self._long_side = labels.long_side
        self._palette = labelsets.load(labels.label_set).palette
        self._codecs = ThreadPoolExecutor(threads, "codec")
        self._device = ThreadPoolExecutor(1, "engine")
        # Photos are large once decoded: no more of them than keep the engine busy.
        self._decoded = asyncio.Semaphore(3 if on_gpu else threads + 1)

    async def label(self, photos: Sequence[bytes]) -> list[LabelMap | PhotoError]:
        async with self._decoded:
            decoded = await asyncio.gather(*(self._in(self._codecs, _decode, photo) for photo in photos))
            good = [photo for photo in decoded if not isinstance(photo, PhotoError)]
            labelled = iter(await self._in(self._device, self._run, good)) if good else iter(())
            outcomes = [photo if isinstance(photo, PhotoError) else next(labelled) for photo in decoded]
            return await asyncio.gather(*(self._in(self._codecs, self._encode, outcome) for outcome in outcomes))

    async def close(self) -> None:
        self._codecs.shutdown()
        self._device.shutdown()

    @staticmethod
    async def _in(executor: ThreadPoolExecutor, function: Callable[[In], Out], argument: In) -> Out:
        return await asyncio.get_running_loop().run_in_executor(executor, function, argument)

    def _run(self, photos: Sequence[Photo]) -> Sequence[Segmentation | PhotoError]:
        try:
            return self._engine.run(photos, confidence=True, long_side=self._long_side)
        except torch.AcceleratorError as error:
            # Nothing runs on that device in this process any more. What was in flight stays written down, and the next
            # process finds out whether a photo did it.
            logger.critical("the GPU is lost, and this worker ends: %r", error)
            os._exit(1)
        except (MemoryError, RuntimeError) as error:
            # Out of memory, mostly, and then one photo at a time may still fit.
            if len(photos) > 1:
                return [outcome for photo in photos for outcome in self._run([photo])]
            return [PhotoError("inference-failed", f"{type(error).__name__}: {error}")]

    def _encode(self, outcome: Segmentation | PhotoError) -> LabelMap | PhotoError:
        if isinstance(outcome, PhotoError):
            return outcome
        assert outcome.confidence is not None
        height, width = outcome.labels.shape
        confidence = float(outcome.confidence.mean(dtype=float)) / 255
        png = encode_label_map(outcome.labels, self._palette)
        return LabelMap(png, width, height, outcome.pixels.tolist(), confidence)


def _decode(data: bytes) -> Photo | PhotoError:
    try:
        return decode(data, max_pixels=MAX_PIXELS)
    except ImageError as error:
        return photo_error(error)
    except MemoryError:
        return PhotoError("out-of-memory", "There is not enough memory to decode the photo.")


def gpus() -> int:
    """How many this machine has."""
    return torch.cuda.device_count()
