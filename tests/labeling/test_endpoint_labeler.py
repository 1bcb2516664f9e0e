"""The client against the real gateway, and against a service that refuses and fails as it is told."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from images import decode, decode_label_map
from labeling import retrying
from labeling.endpoint_labeler import AdaptiveConcurrency, EndpointLabeler, labels_of
from labeling.errors import JobError, PhotoError, RefusedError
from labeling.job import Labels
from labeling.labeler import LabelMap
from tests.labeling.drawings import draw
from tests.labeling.web import web_server
from tests.photos import truncated_jpeg
from tests.service.fakes import FakeBackend, brightness_labels
from tests.service.gateway import on_a_socket


async def labels(url: str, model: str = "fake", long_side: int | None = None) -> Labels:
    return await asyncio.to_thread(labels_of, url, None, model, long_side)


@asynccontextmanager
async def labeling(url: str, wanted: Labels) -> AsyncIterator[EndpointLabeler]:
    labeler = await asyncio.to_thread(EndpointLabeler, wanted, url, None)
    try:
        yield labeler
    finally:
        await labeler.close()


async def test_the_gateway_labels_in_its_lowest_class() -> None:
    async with on_a_socket(FakeBackend()) as served:
        wanted = await labels(str(served.client.base_url))
        assert (wanted.model, wanted.label_set) == ("fake@2", "camvid11")
        async with labeling(str(served.client.base_url), wanted) as labeler:
            good, bad, other = await labeler.label([draw(0), truncated_jpeg(), draw(1)])
        assert isinstance(good, LabelMap)
        assert isinstance(other, LabelMap)
        photo = decode(draw(0), max_pixels=10**6)
        assert (decode_label_map(good.png) == brightness_labels(photo)).all()
        assert (good.width, good.height, good.attempts) == (128, 96, 1)
        assert sum(good.pixels) == 128 * 96
        assert good.confidence == pytest.approx(photo[..., 0].mean() / 255, abs=1e-3)
        assert isinstance(bad, PhotoError)
        assert bad.code == "damaged-image"
        assert served.metric("segserve_requests_total", status=200, priority="batch") >= 0


async def test_a_version_can_be_named() -> None:
    async with on_a_socket(FakeBackend()) as served:
        url = str(served.client.base_url)
        assert (await labels(url, "fake@1", 320)).model == "fake@1"
        with pytest.raises(JobError, match="no version 7 of fake: it has 1, 2"):
            await labels(url, "fake@7")
        with pytest.raises(JobError, match="has no model 'lane'"):
            await labels(url, "lane")


async def test_other_weights_under_the_same_name_are_refused() -> None:
    async with on_a_socket(FakeBackend()) as served:
        url = str(served.client.base_url)
        wanted = replace(await labels(url), sha256="f" * 64)
        with pytest.raises(JobError, match="serves other weights as fake@2"):
            async with labeling(url, wanted):
                pass


async def test_a_service_that_starts_again_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "FIRST_DELAY_S", 0.01)
    page = "<h1>Zurück in Kürze</h1>".encode("latin-1")  # By a proxy, which may say it as it likes.
    answers = iter([Response(page, 502), Response(page, 504), JSONResponse(SERVED)])
    async with web_server(lambda _: next(answers)) as url:
        assert await labels(url) == WANTED


def test_a_service_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "FIRST_DELAY_S", 0.01)
    with pytest.raises(JobError, match="does not answer"):
        labels_of("http://127.0.0.1:1", None, "fake", None)


async def test_a_service_without_a_worker_is_waited_for() -> None:
    """As one that scales to zero: its 503 is what wakes the first worker."""
    times: list[float] = []

    def answer(_: Request) -> Response:
        times.append(time.monotonic())
        if len(times) < 3:
            return problem(503, "not-ready", retry_after_ms=200)
        return JSONResponse(SERVED)

    async with web_server(answer) as url:
        assert await labels(url) == WANTED
    assert all(later - earlier >= 0.2 for earlier, later in itertools.pairwise(times))
    assert len(times) == 3


async def test_a_service_that_does_not_get_ready_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "PATIENCE_S", 0.3)
    async with web_server(lambda _: problem(503, "not-ready", retry_after_ms=100)) as url:
        with pytest.raises(JobError, match=r"does not get ready: because of not-ready.*again later"):
            await labels(url)


async def test_a_page_in_the_place_of_the_service_is_told() -> None:
    async with web_server(lambda _: HTMLResponse("<h1>Sign in</h1>")) as url:
        with pytest.raises(JobError, match=r"not segserve's.*is --endpoint the URL of a segserve"):
            await labels(url)


ANSWER = {
    "model": "fake",
    "model_version": "2",
    "width": 2,
    "height": 1,
    "classes": [{"id": 3, "pixels": 2, "confidence": 0.5}],
    "label_map": {"media_type": "image/png", "data": "AAAA"},
}
SERVED = {"versions": [{"version": "2", "sha256": "0", "label_set": "camvid11"}]}
WANTED = Labels("fake@2", "0", "camvid11", None)
Script = Callable[[int, Request], Response]


@asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[tuple[str, list[float]]]:
    """A service whose n-th answer (from 0) is `script(n, request)`; and when the requests came."""
    times: list[float] = []

    def answer(request: Request) -> Response:
        if request.url.path == "/models/fake":
            return JSONResponse(SERVED)
        times.append(time.monotonic())
        return script(len(times) - 1, request)

    async with web_server(answer) as url:
        yield url, times


async def ask(script: Script) -> tuple[LabelMap | PhotoError, list[float]]:
    async with scripted(script) as (url, times), labeling(url, WANTED) as labeler:
        [outcome] = await labeler.label([b"photo"])
        return outcome, times


def problem(status: int, cause: str, **members: object) -> Response:
    content = {"type": f"urn:segserve:problem:{cause}", "detail": f"because of {cause}", **members}
    return JSONResponse(content, status, media_type="application/problem+json")


async def test_a_refusal_is_waited_out_and_is_no_attempt() -> None:
    def script(number: int, request: Request) -> Response:
        assert request.headers["x-priority"] == "batch"
        return problem(429, "overloaded", retry_after_ms=150) if number < 7 else JSONResponse(ANSWER)

    outcome, times = await ask(script)
    assert isinstance(outcome, LabelMap)
    assert (outcome.attempts, outcome.pixels[3], outcome.confidence) == (1, 2, 0.5)
    assert all(later - earlier >= 0.15 for earlier, later in itertools.pairwise(times))


async def test_without_a_prediction_the_header_counts() -> None:
    def script(number: int, _: Request) -> Response:
        return Response(status_code=503, headers={"Retry-After": "1"}) if number == 0 else JSONResponse(ANSWER)

    outcome, times = await ask(script)
    assert isinstance(outcome, LabelMap)
    assert times[1] - times[0] >= 1


async def test_patience_with_refusals_has_an_end() -> None:
    longer_ms = 1000 * retrying.PATIENCE_S + 1
    outcome, times = await ask(lambda n, _: problem(429, "overloaded", retry_after_ms=10 if n < 3 else longer_ms))
    assert isinstance(outcome, PhotoError)
    assert outcome.code == "overloaded"
    assert len(times) == 4


async def test_what_may_pass_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "FIRST_DELAY_S", 0.001)
    outcome, _ = await ask(lambda n, _: problem(504, "deadline-exceeded") if n < 3 else JSONResponse(ANSWER))
    assert isinstance(outcome, LabelMap)
    assert outcome.attempts == 4
    outcome, times = await ask(lambda *_: problem(500, "inference-failed"))
    assert isinstance(outcome, PhotoError)
    assert (outcome.code, str(outcome), outcome.attempts) == (
        "inference-failed",
        "because of inference-failed",
        retrying.ATTEMPTS,
    )
    assert len(times) == retrying.ATTEMPTS


@pytest.mark.parametrize("page", [HTMLResponse("<h1>Sign in</h1>"), JSONResponse({}), JSONResponse([])])
async def test_a_proxys_page_in_the_place_of_labels_may_pass(page: Response, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "FIRST_DELAY_S", 0.001)
    outcome, _ = await ask(lambda n, _: page if n < 3 else JSONResponse(ANSWER))
    assert isinstance(outcome, LabelMap)
    assert outcome.attempts == 4
    outcome, _ = await ask(lambda *_: page)
    assert isinstance(outcome, PhotoError)
    assert (outcome.code, outcome.attempts) == ("unreachable", retrying.ATTEMPTS)


async def test_what_is_wrong_with_the_photo_is_not_tried_again() -> None:
    outcome, times = await ask(lambda *_: problem(413, "too-many-pixels"))
    assert isinstance(outcome, PhotoError)
    assert outcome.code == "too-many-pixels"
    assert len(times) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 422])
async def test_what_no_photo_will_pass_stops_the_job(status: int) -> None:
    with pytest.raises(JobError, match=f"answered {status}: because of it"):
        await ask(lambda *_: problem(status, "it"))


async def test_a_model_that_changes_under_way_stops_the_job() -> None:
    with pytest.raises(JobError, match="labels with fake@3 now; the job began with fake@2"):
        await ask(lambda *_: JSONResponse(ANSWER | {"model_version": "3"}))


async def test_a_service_that_hangs_up_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "FIRST_DELAY_S", 0.001)
    async with scripted(lambda *_: JSONResponse(ANSWER)) as (url, _):
        labeler = await asyncio.to_thread(EndpointLabeler, WANTED, url, None)
    [outcome] = await labeler.label([b"photo"])
    await labeler.close()
    assert isinstance(outcome, PhotoError)
    assert (outcome.code, outcome.attempts) == ("unreachable", retrying.ATTEMPTS)


async def test_concurrency_grows_by_one_a_round_and_halves_once_a_refusal() -> None:
    concurrency = AdaptiveConcurrency(64, first=4)
    for _ in range(4):
        async with concurrency.slot():
            pass
    assert 4.8 < concurrency.limit <= 5

    async def refused() -> None:
        async with concurrency.slot():
            await asyncio.sleep(0.01)
            raise RefusedError("overloaded", "", 1)

    before = concurrency.limit
    await asyncio.gather(*(refused() for _ in range(4)), return_exceptions=True)
    # All four were out together: they are one piece of news.
    assert concurrency.limit == before / 2
    for _ in range(9):
        with pytest.raises(RefusedError):
            await refused()
    assert concurrency.limit == 1


async def test_no_more_are_out_than_the_limit_and_never_more_than_the_largest() -> None:
    concurrency = AdaptiveConcurrency(6, first=2)
    out = most = 0

    async def one() -> None:
        nonlocal out, most
        async with concurrency.slot():
            out += 1
            most = max(most, out)
            await asyncio.sleep(0.001)
            out -= 1

    await asyncio.gather(*(one() for _ in range(200)))
    assert most == concurrency.limit == 6
