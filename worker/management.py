"""TorchServe's management, inference and metrics APIs, as far as a supervisor needs them."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
import numpy as np
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from models.torchserve.wire import EncodedPhoto, Labelled, Request, pack_request, unpack_response
from worker.configuration import Ports

LOAD_SECONDS = 300
_SECONDS = 10
BATCHING = {"batch_size": 1, "max_batch_delay": 1}
"""Gateways form the batches, and TorchServe passes them on as they come: docs/torchserve.md."""
# After this many seconds of failing to start a process TorchServe would give it up for good.
_RETRY_SECONDS = 86_400


NoAnswer = (aiohttp.ClientError, OSError, TimeoutError)
"""What is raised when TorchServe is not there, or does not speak."""


class ModelRejected(Exception):
    """TorchServe could not load a model; the message is its own."""


@dataclass(frozen=True, slots=True)
class Load:
    """Of one model: processes that are ready for it, and calls that wait for one."""

    processes: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Totals:
    """Of one model since TorchServe started: calls that came; seconds in its queue, and in all, of those answered."""

    calls: float = 0.0
    waited: float = 0.0
    took: float = 0.0


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes


class Management:
    """A client on loopback. Its methods raise NoAnswer where TorchServe gives none."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session:
            await self._session.close()

    async def alive(self) -> bool:
        """Whether it answers at all."""
        try:
            return (await self._ask("GET", self._inference("/ping"))).status == 200
        except NoAnswer:
            return False

    async def register(self, archive: str, name: str, slots: int, stall_s: int) -> None:
        """Load an archive of the model store and wait until its processes are ready. Raises ModelRejected."""
        query: dict[str, str | int] = {
            "url": archive,
            "model_name": name,
            "initial_workers": slots,
            "synchronous": "true",
            **BATCHING,
            "response_timeout": stall_s,
            "startup_timeout": LOAD_SECONDS,
            "max_retry_timeout_in_sec": _RETRY_SECONDS,
        }
        answer = await self._ask("POST", self._management("/models"), params=query, seconds=LOAD_SECONDS + 10)
        if answer.status != 200:
            raise ModelRejected(_message(answer))

    async def unregister(self, name: str, version: int, other: int | None) -> None:
        """Unload a version. other: one that stays, for TorchServe never lets the default of several go."""
        if other is not None:
            await self._ask("PUT", self._management(f"/models/{name}/{other}/set-default"))
        await self._ask("DELETE", self._management(f"/models/{name}/{version}"), seconds=60)

    async def load(self, name: str, version: int) -> Load:
        """Raises ModelRejected where there is no such model."""
        answer = await self._ask("GET", self._management(f"/models/{name}/{version}"))
        if answer.status != 200:
            raise ModelRejected(_message(answer))
        [model] = json.loads(answer.body)
        ready = sum(worker["status"] == "READY" for worker in model["workers"])
        return Load(ready, model["jobQueueStatus"]["pendingRequests"])

    async def try_out(self, name: str, version: int, size: tuple[int, int]) -> None:
        """Have a black photo of height x width pixels labelled. Raises ModelRejected."""
        file = io.BytesIO()
        Image.fromarray(np.zeros((*size, 3), np.uint8)).save(file, "PNG")
        request = Request([EncodedPhoto(file.getvalue(), "try-out")], max(size), False, size[0] * size[1])
        url = self._inference(f"/predictions/{name}/{version}")
        answer = await self._ask("POST", url, body=pack_request(request), seconds=LOAD_SECONDS)
        if answer.status != 200:
            raise ModelRejected(_message(answer))
        [result] = unpack_response(answer.body).results
        if not isinstance(result, Labelled):
            raise ModelRejected(result.detail)

    async def metrics(self) -> str:
        """In Prometheus' text format."""
        return (await self._ask("GET", f"http://127.0.0.1:{self._ports.metrics}/metrics")).body.decode()

    async def _ask(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str | int] | None = None,
        body: bytes | None = None,
        seconds: float = _SECONDS,
    ) -> "_Answer":
        if self._session is None:
            self._session = aiohttp.ClientSession(headers={"Content-Type": "application/octet-stream"})
        timeout = aiohttp.ClientTimeout(total=seconds)
        async with self._session.request(method, url, params=params, data=body, timeout=timeout) as answer:
            return _Answer(answer.status, await answer.read())

    def _inference(self, path: str) -> str:
        return f"http://127.0.0.1:{self._ports.inference}{path}"

    def _management(self, path: str) -> str:
        return f"http://127.0.0.1:{self._ports.management}{path}"


def totals(metrics: str) -> Mapping[tuple[str, str], Totals]:
    """By name and version, from TorchServe's own metrics."""
    found: dict[str, dict[tuple[str, str], float]] = {}
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            if "model_version" in sample.labels:
                key = (sample.labels["model_name"], sample.labels["model_version"])
                found.setdefault(sample.name, {})[key] = sample.value
    calls = found.get("ts_inference_requests_total", {})
    # As the parser names the samples of any counter; TorchServe itself leaves _total away.
    waited = found.get("ts_queue_latency_microseconds_total", {})
    took = found.get("ts_inference_latency_microseconds_total", {})
    return {key: Totals(calls[key], waited.get(key, 0.0) / 1e6, took.get(key, 0.0) / 1e6) for key in calls}


def _message(answer: _Answer) -> str:
    try:
        return str(json.loads(answer.body)["message"])
    except (ValueError, KeyError, TypeError):
        return f"TorchServe answers with {answer.status}: {answer.body[:200]!r}"
