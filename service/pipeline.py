"""The way of a photo: probe, admit, decode, queue, infer, encode."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from images import check_overlay_size, decode, probe
from models.labelsets import load as load_label_set
from service.answers import AnswerFormat, encode_answer
from service.backends.base import Backend, BatchKey, EncodedPhoto, ModelInfo, Photo
from service.errors import DeadlineExceeded, InferenceFailed, Overloaded
from service.lifecycle import Lifecycle
from service.roster import Roster
from service.scheduling.admission import Admission, Refused
from service.scheduling.job import Ticket
from service.scheduling.latency import LatencyModel
from service.scheduling.memory import MemoryBudget
from service.scheduling.priority import Priority
from service.scheduling.scheduler import BatchFailed, Scheduler
from service.settings import Settings
from service.stages import Stages
from service.telemetry.metrics import Metrics
from service.telemetry.tracing import Trace

logger = logging.getLogger("segserve")
T = TypeVar("T")

# Seconds a pixel of anything, until something was measured.
_FIRST_GUESS = 3e-8
# Bytes a pixel at the peak: decoded (3, twice for a moment), its labels and confidence (2), a blended overlay (3). What
# codecs need for themselves comes on top, for as many photos as there are codec threads.
_BYTES_PER_PIXEL = 11
# On top, where a json answer carries an overlay: a PNG of a noisy photo, and its base64.
_BYTES_PER_PIXEL_OF_OVERLAYS = 7
# Photos in work give their memory back within about this time.
_MEMORY_RETRY_SECONDS = 1.0
# Between looks for a device, at start.
_LOOK_SECONDS = 0.05
NO_MEMORY = "The photos in work take all the memory that the service may use: try again."


@dataclass(frozen=True, slots=True)
class Order:
    """A request for labels. seconds: until its deadline. long_side: None for the model's own.

    request_id, traceparent and tracestate: for whoever works on it elsewhere. trace: its own, where traces are kept.
    """

    model: ModelInfo
    form: AnswerFormat
    priority: Priority
    long_side: int | None
    seconds: float
    request_id: str = ""
    traceparent: str = ""
    tracestate: str = ""
    trace: Trace | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """body: of form.media_type. timing: seconds by stage (decode, queue, infer, encode)."""

    body: bytes
    timing: Mapping[str, float]


class Pipeline:
    """Runs photos through a backend, within the settings' limits."""

    def __init__(self, settings: Settings, backend: Backend, metrics: Metrics) -> None:
        self.settings, self.backend, self.metrics = settings, backend, metrics
        self.memory = MemoryBudget(settings.max_memory_bytes, metrics.memory_bytes.set)
        self._latencies = LatencyModel(_FIRST_GUESS)
        self._scheduler = scheduler = Scheduler(
            batch_cost=settings.batch_pixels, latencies=self._latencies, metrics=metrics
        )
        self._admission = Admission(
            self._latencies,
            batch_cost=settings.batch_pixels,
            codec_threads=settings.codec_threads,
            devices=lambda: scheduler.devices,
            busy_until=scheduler.busy_until,
            guard=scheduler.guard,
        )
        self._codecs = ThreadPoolExecutor(settings.codec_threads, thread_name_prefix="codec")
        self.lifecycle = Lifecycle(settings.model, self.hosts, metrics.ready.set)
        self._roster = Roster(
            backend, scheduler, self._latencies, batch_cost=settings.batch_pixels, on_change=self.lifecycle.update
        )

    @property
    def promised(self) -> int:
        """Photos that were admitted and are not answered."""
        return self._admission.promised

    def hosts(self, model: str) -> bool:
        """Whether a device in service hosts NAME or NAME@VERSION."""
        return self._roster.hosts(model)

    async def start(self) -> None:
        """Until a device is warm that serves the default model; then follow those that come and go."""
        await self._roster.start()
        while not self._roster.hosts(self.settings.model):  # noqa: ASYNC110 (a worker may take minutes)
            await asyncio.sleep(_LOOK_SECONDS)
        self.lifecycle.loaded()

    async def stop(self) -> None:
        """Finish what runs and free everything."""
        self.lifecycle.drain()
        self._roster.stop()
        await self._scheduler.stop()
        await self.backend.stop()
        await asyncio.to_thread(self._codecs.shutdown)

    def reserve(self, amount: int, own: int) -> None:
        """Take memory for a request that holds `own` bytes already. Raises Overloaded where there is none left."""
        if not self.memory.reserve(amount, own):
            self.metrics.refused.labels("memory").inc()
            raise Overloaded(NO_MEMORY, retry_after=_MEMORY_RETRY_SECONDS)

    async def segment(self, body: bytes, order: Order, held: int) -> Answer:
        """Label the photo in `body`, for a request that holds `held` bytes of memory already.

        Raises ServiceError and ImageError; cancel it when the client is gone.
        """
        self.lifecycle.require_service(order.model.id)
        info = probe(body, max_pixels=self.settings.max_pixels)
        if order.form.shows_photo:
            check_overlay_size(info.height, info.width, order.form.overlay_type)
        pixels = info.width * info.height
        with self._admit(info.height, info.width, order) as ticket:
            needed = self._bytes(pixels, ticket.key.cost, order.form)
            self.reserve(needed, own=held)
            self.metrics.demand.labels(order.model.id, "admitted").inc(ticket.key.cost)
            self.metrics.admitted.labels(order.model.id, order.priority.name.lower()).inc()
            try:
                answer = await self._segment_in_time(body, order, ticket)
            finally:
                self.memory.release(needed)
            took = time.perf_counter() - ticket.admitted
            exemplar = order.trace.exemplar if order.trace else None
            self.metrics.answer_seconds.labels(order.model.id, order.priority.name.lower()).observe(took, exemplar)
            self.metrics.prediction_ratio.labels(order.model.id).observe(took / (ticket.finish - ticket.admitted))
            return answer

    def _bytes(self, pixels: int, padded_pixels: int, form: AnswerFormat) -> int:
        """Memory for a photo. Networks are counted where they need more than for the batches that always go."""
        codecs = pixels * (_BYTES_PER_PIXEL + (_BYTES_PER_PIXEL_OF_OVERLAYS if form.overlay else 0))
        return codecs + max(0, padded_pixels - self.settings.batch_pixels) * self.backend.bytes_per_padded_pixel

    async def _segment_in_time(self, body: bytes, order: Order, ticket: Ticket) -> Answer:
        stages = Stages()
        try:
            async with asyncio.timeout(order.seconds):
                return await self._label(body, order, ticket, stages)
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
        finally:
            if order.trace:
                order.trace.add_stages(stages.so_far(ticket.dispatched))

    def _admit(self, height: int, width: int, order: Order) -> Ticket:
        key = self._batch_key(height, width, order)
        try:
            ticket = self._admission.admit(key, height * width, order.form.parts, order.priority, order.seconds)
        except Refused as refusal:
            self.metrics.refused.labels("deadline").inc()
            self.metrics.demand.labels(order.model.id, "refused").inc(key.cost)
            raise Overloaded(_advice(refusal, order), retry_after=refusal.retry_after) from None
        return ticket

    def _batch_key(self, height: int, width: int, order: Order) -> BatchKey:
        return self.backend.batch_key(
            order.model, height, width, long_side=order.long_side, confidence=order.form.confidence
        )

    async def _label(self, body: bytes, order: Order, ticket: Ticket, stages: Stages) -> Answer:
        photo, decode_seconds = None, 0.0
        if self.backend.takes == "pixels":
            photo, decode_seconds = await self._decode(body)
            height, width = photo.shape[:2]
            self._latencies.observe("decode", None, height * width, decode_seconds)
            # The probed size is from before the EXIF orientation, which may swap the sides.
            ticket.key = self._batch_key(height, width, order)
        ticket.decode_seconds = 0.0
        stages.end(decode=decode_seconds)
        result = await self._scheduler.run(
            ticket,
            EncodedPhoto(body, order.request_id, order.traceparent, order.tracestate) if photo is None else photo,
        )
        stages.end(queue=result.queue_seconds, infer=result.infer_seconds)
        height, width = result.segmentation.labels.shape
        late_decode_seconds = 0.0
        if photo is None and order.form.shows_photo:
            photo, decode_seconds = await self._decode(body)
            late_decode_seconds = decode_seconds
            stages.end(decode=decode_seconds)
        label_set = load_label_set(order.model.label_set)
        encoded, encode_seconds = await self._in_codec_thread(
            lambda: encode_answer(order.form, order.model, label_set, photo, result.segmentation, stages.ended)
        )
        after_labels = late_decode_seconds + encode_seconds
        self._latencies.observe("encode", order.form.parts, height * width, after_labels)
        stages.end(encode=encode_seconds)
        for stage, seconds in stages.ended.items():
            self.metrics.stage_seconds.labels(stage, order.model.id).observe(
                seconds, order.trace.exemplar if order.trace else None
            )
        return Answer(encoded, stages.ended)

    async def _decode(self, body: bytes) -> tuple[Photo, float]:
        return await self._in_codec_thread(lambda: decode(body, max_pixels=self.settings.max_pixels))

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
