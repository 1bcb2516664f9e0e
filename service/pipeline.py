"""The way of a photo: probe, admit, decode, queue, infer, encode."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from images import decode, probe
from models.labelsets import load as load_label_set
from service.answers import AnswerFormat, encode_answer
from service.backends.base import Backend, Device, ModelInfo
from service.errors import DeadlineExceeded, InferenceFailed, NotReady, Overloaded
from service.scheduling.admission import Admission, Refused, Ticket
from service.scheduling.cost_model import CostModel
from service.scheduling.memory import MemoryBudget
from service.scheduling.scheduler import BatchFailed, Scheduler
from service.settings import Settings
from service.telemetry.metrics import Metrics

logger = logging.getLogger("segserve")
T = TypeVar("T")

# Seconds a pixel of anything, until something was measured.
_FIRST_GUESS = 3e-8
# Bytes a pixel at the peak: decoded (3, twice for a moment), its labels and confidence (2), a blended overlay (3). What
# codecs need for themselves comes on top, for as many photos as there are codec threads.
_BYTES_PER_PIXEL = 11
# Photos in work give their memory back within about this time.
_MEMORY_RETRY_SECONDS = 1.0
# When the models may be loaded, for a client that came before.
_START_SECONDS = 5.0
NOT_READY = "The models are still loading, or the service is stopping: try again."
NO_MEMORY = "The photos in work take all the memory that the service may use: try again."


@dataclass(frozen=True, slots=True)
class Order:
    """A request for labels. seconds: until its deadline. long_side: None for the model's own."""

    model: ModelInfo
    form: AnswerFormat
    long_side: int | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """body: of form.media_type. timing: seconds by stage (decode, queue, infer, encode)."""

    body: bytes
    timing: dict[str, float]


class Pipeline:
    """Runs photos through a backend, within the settings' limits."""

    def __init__(self, settings: Settings, backend: Backend, metrics: Metrics) -> None:
        self.settings, self.backend, self.metrics = settings, backend, metrics
        self.memory = MemoryBudget(settings.max_memory_bytes, metrics.memory_bytes.set)
        self._costs = CostModel(_FIRST_GUESS)
        self._scheduler = Scheduler(batch_cost=settings.batch_pixels, costs=self._costs, metrics=metrics)
        self._admission = Admission(self._costs, settings.codec_threads, lambda: self._scheduler.devices)
        self._codecs = ThreadPoolExecutor(settings.codec_threads, thread_name_prefix="codec")
        self.ready = False

    async def start(self) -> None:
        """Load and warm every model; that teaches the cost model, so that the first requests are priced rightly."""
        await self.backend.start()
        for device in self.backend.devices:
            for model in self.backend.models:
                await self._warm_up(device, model)
            self._scheduler.attach(device)
        self.ready = True
        self.metrics.ready.set(1)

    async def _warm_up(self, device: Device, model: ModelInfo) -> None:
        photo = np.zeros((*model.input_size, 3), np.uint8)
        key = self.backend.batch_key(model, *model.input_size, long_side=None, confidence=False)
        # The first run also pays for memory and kernels that the others find ready.
        await device.run(key, [photo])
        started = time.perf_counter()
        await device.run(key, [photo])
        seconds = time.perf_counter() - started
        self._costs.observe((device.kind, model.id), (key.height, key.width), key.cost, seconds)

    async def stop(self) -> None:
        """Finish what runs and free everything."""
        self.ready = False
        self.metrics.ready.set(0)
        await self._scheduler.stop()
        await self.backend.stop()
        await asyncio.to_thread(self._codecs.shutdown)

    def require_ready(self) -> None:
        """Raises NotReady before the models are warm and while stopping."""
        if not self.ready:
            raise NotReady(NOT_READY, retry_after=_START_SECONDS)

    def reserve(self, amount: int, own: int) -> None:
        """Take memory for a request that holds `own` bytes already. Raises Overloaded where there is none left."""
        if not self.memory.reserve(amount, own):
            self.metrics.refused.labels("memory").inc()
            raise Overloaded(NO_MEMORY, retry_after=_MEMORY_RETRY_SECONDS)

    async def segment(self, body: bytes, order: Order) -> Answer:
        """Label the photo in `body`. Raises ServiceError and ImageError; cancel it when the client is gone."""
        self.require_ready()
        info = probe(body, max_pixels=self.settings.max_pixels)
        pixels = info.width * info.height
        try:
            ticket = self._admit(info.height, info.width, order)
        except Refused as refusal:
            self.metrics.refused.labels("deadline").inc()
            raise Overloaded(_advice(refusal, order), retry_after=refusal.retry_after) from None
        with ticket:
            self.reserve(pixels * _BYTES_PER_PIXEL, own=len(body))
            self.metrics.admitted.labels(order.model.id).inc()
            try:
                return await self._segment_in_time(body, order, ticket)
            finally:
                self.memory.release(pixels * _BYTES_PER_PIXEL)

    async def _segment_in_time(self, body: bytes, order: Order, ticket: Ticket) -> Answer:
        try:
            async with asyncio.timeout(order.seconds):
                return await self._label(body, order, ticket)
        except TimeoutError:
            self.metrics.dropped.labels("expired").inc()
            raise DeadlineExceeded(
                f"Not done within {order.seconds * 1000:.0f} ms: try again, or ask for more with timeout_ms."
            ) from None
        except asyncio.CancelledError:
            self.metrics.dropped.labels("cancelled").inc()
            raise
        except BatchFailed as error:
            self.metrics.dropped.labels("failed").inc()
            logger.error("%s on %s", error, order.model.id, exc_info=error.__cause__)
            raise InferenceFailed("The model failed on this photo: the service's log has the cause.") from error

    def _admit(self, height: int, width: int, order: Order) -> Ticket:
        key = self.backend.batch_key(
            order.model, height, width, long_side=order.long_side, confidence=order.form.confidence
        )
        return self._admission.admit(key, height * width, order.form.media_type, order.seconds)

    async def _label(self, body: bytes, order: Order, ticket: Ticket) -> Answer:
        photo, decode_seconds = await self._in_codec_thread(lambda: decode(body, max_pixels=self.settings.max_pixels))
        height, width = photo.shape[:2]
        self._costs.observe("decode", None, height * width, decode_seconds)
        ticket.finish("decode")
        # The probed size is from before the EXIF orientation, which may swap the sides.
        key = self.backend.batch_key(
            order.model, height, width, long_side=order.long_side, confidence=order.form.confidence
        )
        result = await self._scheduler.run(key, photo)
        ticket.finish("device")
        timing = {"decode": decode_seconds, "queue": result.queue_seconds, "infer": result.infer_seconds}
        label_set = load_label_set(order.model.label_set)
        encoded, encode_seconds = await self._in_codec_thread(
            lambda: encode_answer(order.form, order.model, label_set, photo, result.segmentation, timing)
        )
        self._costs.observe("encode", order.form.media_type, height * width, encode_seconds)
        timing["encode"] = encode_seconds
        for stage, seconds in timing.items():
            self.metrics.stage_seconds.labels(stage, order.model.id).observe(seconds)
        return Answer(encoded, timing)

    async def _in_codec_thread(self, work: Callable[[], T]) -> tuple[T, float]:
        """The result of `work`, and the seconds that it ran (not those that it waited for a thread)."""

        def timed() -> tuple[T, float]:
            started = time.perf_counter()
            result = work()
            return result, time.perf_counter() - started

        return await asyncio.get_running_loop().run_in_executor(self._codecs, timed)


def _advice(refusal: Refused, order: Order) -> str:
    if refusal.alone > order.seconds:
        return (
            f"This photo takes about {refusal.alone * 1000:.0f} ms even on an idle service and its deadline is "
            f"{order.seconds * 1000:.0f} ms: ask for more with timeout_ms, or send a smaller photo."
        )
    return (
        f"The service is busy and would miss the deadline by {refusal.retry_after * 1000:.0f} ms: "
        "try again after Retry-After, or ask for more time with timeout_ms."
    )
