"""Whether a request can be answered in time, decided before its photo is decoded."""

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence

from service.backends.base import BatchKey, Device
from service.scheduling.job import Ticket
from service.scheduling.latency import LatencyModel
from service.scheduling.priority import BATCH_SHARE, Priority
from service.scheduling.sojourn import SojournGuard

# What a prediction may be off by before a promise is broken: a share of it, and a constant for what is not modelled.
MARGIN_SHARE = 0.05
MARGIN_SECONDS = 0.02
# An idle service whose estimates say that it can serve nobody tries again after this long: they may be out of date.
PROBE_SECONDS = 10.0
# Half-life of what is remembered of a class's load.
_LOAD_SECONDS = 1.0


class Refused(Exception):
    """The request would miss its deadline. retry_after: seconds until it is predicted to be admitted.

    alone: seconds that it would take on an idle service; where those exceed its deadline, waiting cannot help.
    """

    def __init__(self, retry_after: float, alone: float) -> None:
        super().__init__(f"would finish {retry_after:.3f} s after its deadline")
        self.retry_after, self.alone = retry_after, alone


class Admission:
    """Predicts when a request would be done, from what was promised before it and what the devices do now."""

    def __init__(
        self,
        latencies: LatencyModel,
        *,
        batch_cost: int,
        codec_threads: int,
        devices: Callable[[], Sequence[Device]],
        busy_until: Callable[[str], float],
        guard: SojournGuard,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """latencies: of "decode" and of "encode" by an answer's parts a pixel, of (device kind, model) a padded pixel.

        busy_until: when the first device that hosts a model is predicted to be free.
        """
        self._latencies, self._batch_cost, self._codec_threads = latencies, batch_cost, codec_threads
        self._devices, self._busy_until, self._guard, self._clock = devices, busy_until, guard, clock
        self._tickets: dict[Ticket, None] = {}
        self._load = {priority: _Load() for priority in Priority}

    @property
    def promised(self) -> int:
        """Requests that were admitted and are not answered."""
        return len(self._tickets)

    def admit(self, key: BatchKey, pixels: int, parts: str, priority: Priority, within: float) -> Ticket:
        """A ticket to hold until the answer is made, `within` seconds from now. Raises Refused.

        pixels: of the photo. parts: what the answer is made of.
        """
        now = self._clock()
        deadline = now + within
        waiting = [t for t in self._tickets if t.dispatched is None]
        decode = self._latencies.predict("decode", None, pixels)
        decoded = now + decode + sum(t.decode_seconds for t in waiting) / self._codec_threads
        free = max(now, self._busy_until(key.model)) + self._work_ahead(key, priority, deadline, waiting, now)
        start = max(decoded, free)
        device = self._device_seconds(key, 1 if start == decoded else self._batch_size(key))
        encode = self._latencies.predict("encode", parts, pixels)
        seconds = start - now + self._guard.excess(now) + device + encode
        finish = now + seconds * (1 + MARGIN_SHARE) + MARGIN_SECONDS
        in_time = finish <= deadline
        if not in_time and not self._should_probe(key):
            alone = (decode + self._device_seconds(key, 1) + encode) * (1 + MARGIN_SHARE) + MARGIN_SECONDS
            raise Refused(finish - deadline, alone)
        # The estimates that a probe is to put right must not stop it.
        latest = deadline - device - encode if in_time else deadline
        ticket = Ticket(key, priority, now, deadline, decode, start, finish, latest, self._release)
        self._tickets[ticket] = None
        self._load[priority].add(now, self._share(key))
        return ticket

    def _work_ahead(
        self, key: BatchKey, priority: Priority, deadline: float, waiting: Sequence[Ticket], now: float
    ) -> float:
        """Seconds that the devices need for whoever goes first: the more urgent, those to come included."""
        hosts = [device for device in self._devices() if key.model in device.models]
        devices = max(1, len(hosts))
        # What these devices do not host does not stand in this photo's way.
        models = {t.key.model for t in waiting}
        hosted = {model for model in models if any(model in device.models for device in hosts)}
        waiting = [t for t in waiting if t.key.model in hosted]
        ahead = Counter(t.key for t in waiting if (t.priority, t.deadline) <= (priority, deadline))
        # A batch that this photo would share starts with it, not before it.
        ahead[key] -= ahead[key] % self._batch_size(key)
        work = sum(self._work(k, photos) for k, photos in ahead.items()) / devices
        urgent = sum(self._load[p].a_second(now) for p in Priority if p < priority) / devices
        if priority < Priority.BATCH and any(t.priority == Priority.BATCH for t in waiting):
            urgent += BATCH_SHARE
        seconds = work / (1 - min(urgent, 1 - BATCH_SHARE))
        if priority == Priority.BATCH:
            # Whatever the others have: those of its own class, and the turn after the one that it may just have missed.
            own = Counter(t.key for t in waiting if t.priority == priority and t.deadline <= deadline)
            own[key] += self._batch_size(key) - own[key] % self._batch_size(key)
            turns = sum(self._work(k, photos) for k, photos in own.items()) / devices
            seconds = min(seconds, turns / BATCH_SHARE)
        return seconds

    def _work(self, key: BatchKey, photos: int) -> float:
        full, rest = divmod(photos, self._batch_size(key))
        seconds = full * self._occupied_seconds(key, self._batch_size(key)) if full else 0.0
        return seconds + (self._occupied_seconds(key, rest) if rest else 0.0)

    def _share(self, key: BatchKey) -> float:
        """Device seconds of one photo in a full batch."""
        return self._occupied_seconds(key, self._batch_size(key)) / self._batch_size(key)

    def _batch_size(self, key: BatchKey) -> int:
        return max(1, self._batch_cost // key.cost)

    def _device_seconds(self, key: BatchKey, photos: int) -> float:
        """From a batch's start to its answer; mean over the devices."""
        return self._mean_seconds(key, photos, lambda device: device.delay)

    def _occupied_seconds(self, key: BatchKey, photos: int) -> float:
        """From a batch's start to that of the next; mean over the devices."""
        return self._mean_seconds(key, photos, lambda _: 0.0)

    def _mean_seconds(self, key: BatchKey, photos: int, besides: Callable[[Device], float]) -> float:
        bucket = (key.height, key.width)
        times = [
            besides(d) + self._latencies.predict((d.kind, key.model), bucket, key.cost * photos)
            for d in self._devices()
            if key.model in d.models
        ]
        # Of photos that wait for a model that has just gone, nothing can be said.
        return sum(times) / len(times) if times else 0.0

    def _should_probe(self, key: BatchKey) -> bool:
        silence = min((self._latencies.silence((d.kind, key.model)) for d in self._devices()), default=0.0)
        return not self._tickets and silence > PROBE_SECONDS

    def _release(self, ticket: Ticket) -> None:
        del self._tickets[ticket]


class _Load:
    """Admitted device seconds a second, over a past that fades."""

    def __init__(self) -> None:
        self._sum, self._at = 0.0, 0.0

    def add(self, now: float, seconds: float) -> None:
        self._sum, self._at = self._left(now) + seconds, now

    def a_second(self, now: float) -> float:
        return self._left(now) * math.log(2) / _LOAD_SECONDS

    def _left(self, now: float) -> float:
        left: float = self._sum * 0.5 ** ((now - self._at) / _LOAD_SECONDS)
        return left
