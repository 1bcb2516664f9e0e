"""One worker, as its gateway sees it: what it publishes, whether it is in service, and its slots."""

import asyncio
import logging
import time
from collections.abc import Callable, Container, Sequence
from typing import Literal
from urllib.parse import urlsplit

import aiohttp
import numpy as np
from pydantic import ValidationError

from images import encode_grey
from models import labelsets
from models.torchserve.status import ModelStatus, WorkerStatus
from models.torchserve.wire import EncodedPhoto, Request, pack_request
from service.backends.base import BatchKey, DeviceLost, Ran
from service.backends.base import EncodedPhoto as Photo
from service.backends.torchserve.calls import CannotLabel, call, outcomes, pack

logger = logging.getLogger("segserve")

# Between looks at what a worker publishes, and for one look to take.
POLL_SECONDS = 1.0
_LOOK_SECONDS = 2.0
# Between tries of a worker that is out of service: doubled from the first to the last.
_FIRST_BACK_OFF, _LAST_BACK_OFF = 0.1, 4.0
# A call is given up after this many times what it was expected to take, and never sooner than after these seconds.
_PATIENCE = 10.0
_LEAST_PATIENCE = 3.0
# What a call of which nothing is known may take, and a probe.
_FIRST_PATIENCE, _PROBE_PATIENCE = 60.0, 5.0
# What the newest observation counts for in an average of times.
_NEW = 0.2
_PROBE_SIDE = 32


class Worker:
    """In service once it has answered a probe, until a look or a call fails; then again after another probe."""

    def __init__(
        self, address: str, client: aiohttp.ClientSession, max_pixels: int, on_change: Callable[[], None]
    ) -> None:
        """address: http://ADDRESS:PORT of what it publishes."""
        self.address, self.client, self.max_pixels, self._on_change = address, client, max_pixels, on_change
        self.status: WorkerStatus | None = None
        self.published: Sequence[ModelStatus] = ()
        """The models that it has, or had when it was last ready."""
        self.hosted: Container[str] = frozenset()
        """The ids of those that it can run now; one that leaves runs what was accepted for it before."""
        self.metrics = ""
        self.in_service = False
        self.engines: dict[str, Literal["eager", "compiled"]] = {}
        """What its models, by id, were last seen to run in."""
        self._slots: list[Slot] = []
        self._wake = asyncio.Event()
        self._suspect = True
        self._problem = ""
        """That is in the log."""
        self._meaningless: set[str] = set()

    @property
    def slots(self) -> "Sequence[Slot]":
        """Those that take batches now."""
        return self._slots if self.in_service else ()

    @property
    def ready_models(self) -> Sequence[ModelStatus]:
        return [m for m in self.status.models if m.state == "ready" and m.processes] if self.status else ()

    @property
    def wait_seconds(self) -> float:
        """That calls, those of other gateways too, have waited in TorchServe's queue of late."""
        return max((m.wait_ms for m in self.ready_models), default=0.0) / 1000

    def url(self, name: str, version: str) -> str:
        """Of a model in TorchServe's inference API."""
        assert self.status is not None
        address = urlsplit(self.address)
        host = f"[{address.hostname}]" if ":" in (address.hostname or "") else address.hostname
        return f"http://{host}:{self.status.inference_port}/predictions/{name}/{version}"

    def lose(self, reason: str) -> None:
        """Take it out of service until it has answered a probe."""
        self._suspect = True
        if reason != self._problem:
            self._problem = reason
            logger.warning("worker %s is out of service: %s", self.address, reason)
        self._set(in_service=False)
        self._wake.set()

    def ran_in(self, model: str, engine: Literal["eager", "compiled"]) -> None:
        """Note what a model was seen to run in."""
        if self.engines.get(model) != engine:
            self.engines[model] = engine
            self._on_change()

    async def follow(self) -> None:
        """Look at it again and again, until cancelled."""
        back_off = _FIRST_BACK_OFF
        while True:
            problem = await self._look() or (await self._probe() if self._suspect else "")
            if not problem:
                if self._suspect:
                    logger.info("worker %s is in service", self.address)
                self._suspect, self._problem = False, ""
                back_off = _FIRST_BACK_OFF
            else:
                self.lose(problem)
            self._set(in_service=not problem)
            pause = back_off if problem else POLL_SECONDS
            back_off = min(back_off * 2 if problem else back_off, _LAST_BACK_OFF)
            self._wake.clear()
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _look(self) -> str:
        """Why it cannot be used: it does not answer, or does not say that it is ready for some model. Or nothing."""
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                async with self.client.get(f"{self.address}/status") as status:
                    self._take(WorkerStatus.model_validate_json(await status.read()))
                async with self.client.get(f"{self.address}/metrics") as metrics:
                    self.metrics = await metrics.text() if metrics.status == 200 else ""
        except (aiohttp.ClientError, OSError, TimeoutError, ValidationError) as error:
            self.status, self.hosted, self.metrics = None, frozenset(), ""
            return f"it does not answer ({error!r})"
        assert self.status is not None
        if self.status.state != "ready":
            return f"it is {self.status.state}"
        return "" if self.ready_models else "it is ready for no model"

    def _take(self, status: WorkerStatus) -> None:
        status = status.model_copy(update={"models": [m for m in status.models if self._means_something(m)]})
        before, self.status = self.hosted, status
        if status.state == "ready":
            self.published = [m for m in status.models if m.state == "ready"]
        if [slot.kind for slot in self._slots] != [status.kind] * status.slots:
            self._slots = [Slot(self, number, status.kind) for number in range(status.slots)]
        runs = (m for m in status.models if m.state in ("ready", "leaving") and m.processes)
        self.hosted = frozenset(f"{m.name}@{m.version}" for m in runs)
        if before != self.hosted:
            self._on_change()

    def _means_something(self, model: ModelStatus) -> bool:
        """Whether its label set is known here; told once."""
        name = f"{model.name}@{model.version}"
        try:
            labelsets.load(model.label_set)
        except labelsets.UnknownLabelSetError as error:
            if name not in self._meaningless:
                logger.warning("worker %s: %s is left out: %s", self.address, name, error)
            self._meaningless.add(name)
            return False
        return True

    async def _probe(self) -> str:
        """Why it cannot label a small black photo with every model; or nothing."""
        try:
            async with asyncio.timeout(_PROBE_PATIENCE):
                for model in self.ready_models:
                    response = await call(self.client, self.url(model.name, str(model.version)), _probe_body())
                    self.ran_in(f"{model.name}@{model.version}", response.engine)
        except (CannotLabel, DeviceLost) as error:
            return str(error)
        except TimeoutError:
            return f"its TorchServe has not labelled a black photo within {_PROBE_PATIENCE:.0f} s"
        return ""

    def _set(self, *, in_service: bool) -> None:
        if in_service != self.in_service:
            self.in_service = in_service
            self._on_change()


class Slot:
    """One call at a time, to whichever of the worker's processes is free; and one that arrives when that ends."""

    def __init__(self, worker: Worker, number: int, kind: str) -> None:
        self._worker, self.kind = worker, kind
        self.id = f"{worker.address}/{number}"
        self._calls = 0
        self._way_seconds = 0.0
        self._pixel_seconds: dict[tuple[str, int, int], float] = {}

    @property
    def models(self) -> Container[str]:
        return self._worker.hosted

    @property
    def delay(self) -> float:
        return self._way_seconds + self._worker.wait_seconds

    async def run(self, key: BatchKey, photos: Sequence[Photo]) -> Ran:
        alone = not self._calls
        self._calls += 1
        try:
            return await self._call(key, photos, alone=alone)
        finally:
            self._calls -= 1

    async def _call(self, key: BatchKey, photos: Sequence[Photo], *, alone: bool) -> Ran:
        worker, cost = self._worker, key.cost * len(photos)
        if not worker.ready_models:
            raise DeviceLost(f"{self.id} went out of service")
        url = worker.url(*key.model.split("@"))
        body = pack(key, photos, worker.max_pixels)
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._patience(key, cost)):
                response = await call(worker.client, url, body)
        except TimeoutError:
            loss = DeviceLost(f"{url} has not answered for {time.perf_counter() - started:.1f} s")
            worker.lose(str(loss))
            raise loss from None
        except DeviceLost as loss:
            worker.lose(str(loss))
            raise
        self._learn(key, cost, time.perf_counter() - started, response.run_seconds, alone=alone)
        worker.ran_in(key.model, response.engine)
        return Ran(outcomes(response), response.run_seconds)

    def _patience(self, key: BatchKey, cost: int) -> float:
        known = self._pixel_seconds.get((key.model, key.height, key.width))
        if known is None:
            return _FIRST_PATIENCE
        return min(_FIRST_PATIENCE, max(_LEAST_PATIENCE, _PATIENCE * (self.delay + known * cost)))

    def _learn(self, key: BatchKey, cost: int, seconds: float, run_seconds: float, *, alone: bool) -> None:
        bucket = (key.model, key.height, key.width)
        known = self._pixel_seconds.get(bucket, run_seconds / cost)
        self._pixel_seconds[bucket] = known + _NEW * (run_seconds / cost - known)
        if not alone:
            return  # It may have waited for the call before it.
        # What TorchServe's queue took is published; the way is the rest.
        way = max(0.0, seconds - run_seconds - self._worker.wait_seconds)
        self._way_seconds += (way - self._way_seconds) * (_NEW if self._way_seconds else 1)


def _probe_body() -> bytes:
    photo = EncodedPhoto(encode_grey(np.zeros((_PROBE_SIDE, _PROBE_SIDE), np.uint8)), "probe")
    return pack_request(Request([photo], _PROBE_SIDE, False, _PROBE_SIDE**2))
