"""The client of a running service: photos go over HTTP in its lowest class, as many at once as it takes well."""

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

import httpx

from labeling.errors import JobError, PhotoError, RefusedError, TransientError
from labeling.job import Labels
from labeling.labeler import LabelMap
from labeling.retrying import PATIENCE_S, retrying
from models import labelsets

logger = logging.getLogger("segserve")

TIMEOUT_MS = 60_000
"""The deadline that each photo is sent with: batch work can wait."""

_WINDOW = 64
_ABOUT_THE_PHOTO = {400, 413, 415}
_REFUSED = {429, 503}
_PASSING = {408, 500, 502, 504}
_DEFAULT_RETRY_AFTER_S = 1.0


def labels_of(endpoint: str, api_key: str | None, model: str, long_side: int | None) -> Labels:
    """What the service labels with. Waits for one that is not ready, as for a photo's labels; not for coroutines.

    Raises JobError where it has no such model, does not answer, or does not get ready.
    """
    name, _, version = model.partition("@")
    try:
        answer = asyncio.run(_when_ready(_url(endpoint, f"models/{name}"), api_key))
        if not answer.is_success:
            raise JobError(f"{endpoint} has no model '{name}': {_detail(answer)}")
        with _understood(endpoint):
            versions = {found["version"]: found for found in answer.json()["versions"]}
            found = versions.get(version) if version else list(versions.values())[-1]
            if found is None:
                raise JobError(f"{endpoint} has no version {version} of {name}: it has {', '.join(versions)}")
            return Labels(f"{name}@{found['version']}", found["sha256"], found["label_set"], long_side)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise JobError(f"{endpoint} does not answer: {_reason(error)}") from error
    except RefusedError as error:
        raise JobError(f"{endpoint} does not get ready: {error} Run the same command again later") from error
    except TransientError as error:
        raise JobError(f"{error}: is --endpoint the URL of a segserve?") from error


async def _when_ready(url: str, api_key: str | None) -> httpx.Response:
    """The answer to a GET that is not 503 any more. The first 503 is told: somebody may be looking on."""
    told = False

    async def ask() -> httpx.Response:
        nonlocal told
        try:
            answer = await client.get(url)
        except (httpx.NetworkError, httpx.TimeoutException, httpx.RemoteProtocolError) as error:
            raise TransientError("unreachable", f"{url} does not answer: {_reason(error)}") from error
        if answer.status_code in _PASSING:
            raise TransientError(_cause(answer), f"{url}: {_detail(answer)}")
        if answer.status_code in _REFUSED:
            if not told:
                logger.warning("%s: %s Waiting for it, up to %d minutes", url, _detail(answer), PATIENCE_S / 60)
            told = True
            raise RefusedError("overloaded", _detail(answer), _retry_after(answer))
        return answer

    async with httpx.AsyncClient(headers=_headers(api_key), timeout=30) as client:
        answer, _ = await retrying(ask)
    return answer


class EndpointLabeler:
    """Belongs to one event loop."""

    batch = 1
    window = _WINDOW
    engine: str | None = None

    def __init__(self, labels: Labels, endpoint: str, api_key: str | None) -> None:
        """Raises JobError where the service does not have the job's weights."""
        if labels_of(endpoint, api_key, labels.model, labels.long_side) != labels:
            raise JobError(f"{endpoint} serves other weights as {labels.model} than the job began with")
        self._classes = len(labelsets.load(labels.label_set).classes)
        self._model = labels.model
        self._url = _url(endpoint, "segment")
        self._query: dict[str, Any] = {
            "model": labels.model,
            "output": "json",
            "confidence": "true",
            "timeout_ms": TIMEOUT_MS,
        }
        if labels.long_side is not None:
            self._query["long_side"] = labels.long_side
        # The answer may take as long as the deadline, which runs from the last byte of the photo.
        timeout = httpx.Timeout(30, read=TIMEOUT_MS / 1000 + 30)
        limits = httpx.Limits(max_connections=_WINDOW, max_keepalive_connections=_WINDOW)
        headers = _headers(api_key) | {"X-Priority": "batch"}
        self._client = httpx.AsyncClient(headers=headers, timeout=timeout, limits=limits)
        self.concurrency = AdaptiveConcurrency(_WINDOW)

    async def label(self, photos: Sequence[bytes]) -> list[LabelMap | PhotoError]:
        return list(await asyncio.gather(*(self._label(photo) for photo in photos)))

    async def close(self) -> None:
        await self._client.aclose()

    async def _label(self, photo: bytes) -> LabelMap | PhotoError:
        try:
            label_map, attempts = await retrying(lambda: self._ask(photo))
        except PhotoError as error:
            return error
        return replace(label_map, attempts=attempts)

    async def _ask(self, photo: bytes) -> LabelMap:
        async with self.concurrency.slot():
            try:
                answer = await self._client.post(self._url, params=self._query, content=photo)
            except httpx.HTTPError as error:
                raise TransientError("unreachable", f"the service does not answer: {_reason(error)}") from error
            if answer.status_code in _REFUSED:
                raise RefusedError("overloaded", _detail(answer), _retry_after(answer))
        if answer.is_success:
            with _understood(self._url):
                return self._label_map(answer.json())
        detail = _detail(answer)
        if answer.status_code in _ABOUT_THE_PHOTO:
            raise PhotoError(_cause(answer), detail)
        if answer.status_code in _PASSING:
            raise TransientError(_cause(answer), detail)
        # A key that is not taken, a model that is gone: no photo will fare better.
        raise JobError(f"{self._url} answered {answer.status_code}: {detail}")

    def _label_map(self, answer: dict[str, Any]) -> LabelMap:
        version = f"{answer['model']}@{answer['model_version']}"
        if version != self._model:
            raise JobError(f"{self._url} labels with {version} now; the job began with {self._model}")
        pixels = [0] * self._classes
        for found in answer["classes"]:
            pixels[found["id"]] = found["pixels"]
        certain = sum(found["confidence"] * found["pixels"] for found in answer["classes"])
        return LabelMap(
            png=base64.b64decode(answer["label_map"]["data"]),
            width=answer["width"],
            height=answer["height"],
            pixels=pixels,
            confidence=certain / (answer["width"] * answer["height"]),
        )


class AdaptiveConcurrency:
    """How many requests may be out: one more for each round that goes well, half as many after a refusal (AIMD)."""

    def __init__(self, largest: int, first: int = 4) -> None:
        self.limit = float(min(first, largest))
        self._largest = largest
        self._out = 0
        self._changed = asyncio.Condition()
        self._halved_at = 0
        self._begun = 0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Room for one request. A RefusedError or TransientError that leaves the block makes room scarcer."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._out < int(self.limit))
            self._out += 1
            self._begun += 1
            number = self._begun
        try:
            yield
        except TransientError:
            # Requests that were out already when the limit was halved say nothing about the new one.
            if number > self._halved_at:
                self.limit = max(1.0, self.limit / 2)
                self._halved_at = self._begun
            raise
        else:
            self.limit = min(float(self._largest), self.limit + 1 / self.limit)
        finally:
            self._out -= 1
            async with self._changed:
                self._changed.notify_all()


@contextmanager
def _understood(url: str) -> Iterator[None]:
    """A proxy may answer in the service's place, with a page of its own, and the next answer be the service's again."""
    try:
        yield
    except (ValueError, LookupError, TypeError) as error:
        message = f"{url} answers with something that is not segserve's ({type(error).__name__}: {error})"
        raise TransientError("unreachable", message) from error


def _url(endpoint: str, path: str) -> str:
    return f"{endpoint.rstrip('/')}/{path}"


def _headers(api_key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}


def _problem(answer: httpx.Response) -> dict[str, Any]:
    try:
        problem = answer.json()
    except ValueError:  # Not JSON, or not even text.
        return {}
    return problem if isinstance(problem, dict) else {}


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _detail(answer: httpx.Response) -> str:
    return str(_problem(answer).get("detail") or f"status {answer.status_code}")


def _cause(answer: httpx.Response) -> str:
    """The last part of urn:segserve:problem:CAUSE."""
    kind = str(_problem(answer).get("type", ""))
    return kind.rpartition(":")[2] if kind.startswith("urn:segserve:problem:") else f"status-{answer.status_code}"


def _retry_after(answer: httpx.Response) -> float:
    """Seconds: of the body's prediction, which is exact, or of the header, which is whole and jittered."""
    prediction = _problem(answer).get("retry_after_ms")
    if isinstance(prediction, int | float):
        return max(0.0, prediction / 1000)
    try:
        return max(0.0, float(answer.headers["Retry-After"]))
    except (KeyError, ValueError):
        return _DEFAULT_RETRY_AFTER_S
