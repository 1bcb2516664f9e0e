import math
from typing import Any

import pytest

from images import ImageError
from service.errors import IMAGE_ERRORS, RETRY_JITTER, ServiceError
from tests import photos
from tests.service.fakes import FakeBackend
from tests.service.gateway import Gateway, gateway
from tests.service.problems import problem_of

PHOTO = photos.png(photos.street(8, 8))


def test_every_cause_has_a_name_of_its_own() -> None:
    causes = [error.cause for error in ServiceError.__subclasses__()] + [cause for _, cause in IMAGE_ERRORS.values()]
    assert len(causes) == len(set(causes))


def test_every_image_error_is_mapped() -> None:
    assert set(IMAGE_ERRORS) == set(ImageError.__subclasses__())


@pytest.mark.parametrize("path", ["/", "/nowhere", "/models/a/b", "/favicon.ico", "/segment/", "/models/"])
async def test_an_address_that_does_not_exist(served: Gateway, path: str) -> None:
    problem = problem_of(await served.client.get(path), 404, None)
    assert path in problem["detail"]
    assert "/docs" in problem["detail"]


@pytest.mark.parametrize(("method", "path"), [("GET", "/segment"), ("PUT", "/segment"), ("DELETE", "/models")])
async def test_a_method_that_is_not_possible(served: Gateway, method: str, path: str) -> None:
    response = await served.client.request(method, path)
    problem = problem_of(response, 405, None)
    assert method in problem["detail"]
    assert response.headers["allow"] == {"/segment": "POST", "/models": "GET"}[path]


async def test_several_bad_parameters_are_named_together(served: Gateway) -> None:
    problem = problem_of(await served.segment(PHOTO, alpha=2, output="svg"), 422, "bad-parameter")
    assert "alpha: " in problem["detail"]
    assert "output: " in problem["detail"]


async def test_retry_after_is_jittered_upwards_from_the_prediction(backend: FakeBackend) -> None:
    backend.loaded.clear()
    async with gateway(backend, ready=False) as served:
        answers = [await served.client.get("/readyz") for _ in range(60)]
    waits = set()
    for answer in answers:
        seconds = problem_of(answer, 503, "not-ready")["retry_after_ms"] / 1000
        wait = int(answer.headers["retry-after"])
        assert math.ceil(seconds) <= wait <= math.ceil(seconds * (1 + RETRY_JITTER))
        waits.add(wait)
    assert len(waits) > 1, "all would come back at the same instant"


async def test_an_error_of_our_own(served: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("a secret of the house")

    monkeypatch.setattr(FakeBackend, "batch_key", broken)
    response = await served.client.post("/segment", content=PHOTO, headers={"X-Request-Id": "abc"})
    problem = problem_of(response, 500, "internal")
    assert "abc" in problem["detail"]
    assert "secret" not in response.text
    assert response.headers["x-request-id"] == "abc"
    assert served.metric("segserve_requests_total", route="/segment", model="fake@2", status=500) == 1
    assert served.metric("segserve_requests_in_flight") == 0
    assert served.metric("segserve_memory_reserved_bytes") == 0
