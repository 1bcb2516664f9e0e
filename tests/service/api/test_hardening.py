from collections.abc import Iterator, Mapping

import httpx
import pytest

from tests import photos
from tests.service.connection import connection
from tests.service.fakes import FakeBackend
from tests.service.gateway import PATIENCE, Gateway, gateway
from tests.service.server_process import ServerProcess, server_process

PHOTO = photos.png(photos.street(8, 8))
NOTHING = "default-src 'none'; frame-ancestors 'none'"
ADDRESSES = ["/segment", "/models", "/labelsets", "/livez", "/readyz", "/metrics", "/openapi.json", "/nowhere"]


@pytest.mark.parametrize("path", ADDRESSES)
async def test_browsers_are_told_to_do_nothing_with_an_answer(served: Gateway, path: str) -> None:
    response = await served.client.get(path)
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["cross-origin-resource-policy"] == "same-origin"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["content-security-policy"] == NOTHING


async def test_with_labels_and_with_an_unexpected_error_too(served: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    answered = await served.segment(PHOTO)
    monkeypatch.setattr(served.pipeline, "segment", None)
    failed = await served.segment(PHOTO)
    assert (answered.status_code, failed.status_code) == (200, 500)
    for response in (answered, failed):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["content-security-policy"] == NOTHING


async def test_the_documentation_may_load_its_page_and_nothing_else(served: Gateway) -> None:
    response = await served.client.get("/docs")
    policy = response.headers["content-security-policy"]
    assert policy.startswith(NOTHING)
    assert "https://cdn.jsdelivr.net/npm/swagger-ui" in response.text
    assert "script-src 'unsafe-inline' https://cdn.jsdelivr.net;" in policy
    assert (await served.client.get("/redoc")).status_code == 404


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A process, for what comes in front of the application answers too."""
    arguments = ["-m", "tests.service.slow_server", "--seconds", 0, "--drain-s", 1]
    with server_process(arguments, tmp_path_factory.mktemp("server") / "log") as running:
        yield running


def expect_nothing_told(headers: Mapping[str, str], body: str) -> None:
    assert not {"server", "x-powered-by", "via"} & headers.keys()
    told = (body + str(headers)).lower()
    for name in ("python/", "uvicorn", "starlette", "fastapi/", "cpython", "traceback", "site-packages", "python_info"):
        assert name not in told


@pytest.mark.parametrize("path", [*ADDRESSES, "/docs"])
def test_no_answer_tells_what_it_runs_on(server: ServerProcess, path: str) -> None:
    response = httpx.get(server.url.join(path), timeout=PATIENCE)
    expect_nothing_told(response.headers, response.text)


async def test_what_is_no_http_is_told_nothing_either(server: ServerProcess) -> None:
    async with connection(server.url) as opened:
        await opened.send(b"EHLO segserve\r\n\r\n")
        reply = await opened.reply()
    assert reply.status == 400
    expect_nothing_told(reply.headers, reply.body.decode())


async def test_the_contract_has_a_version_and_the_release_is_not_told(served: Gateway) -> None:
    assert (await served.client.get("/openapi.json")).json()["info"]["version"] == "1"


async def test_other_origins_are_told_nothing(served: Gateway) -> None:
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    preflight = await served.client.options("/segment", headers=asked)
    assert preflight.status_code == 405
    posted = await served.client.post("/segment", content=PHOTO, headers={"Origin": "https://evil.example"})
    for response in (preflight, posted):
        assert not [name for name in response.headers if name.startswith("access-control")]


async def test_origins_that_the_settings_name_may_ask(backend: FakeBackend) -> None:
    async with gateway(backend, cors_origins="https://label.example, https://map.example") as served:
        for origin, allowed in (("https://map.example", "https://map.example"), ("https://evil.example", None)):
            asked = {
                "Origin": origin,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "X-API-Key",
            }
            preflight = await served.client.options("/segment", headers=asked)
            assert preflight.headers.get("access-control-allow-origin") == allowed
            assert preflight.status_code == (200 if allowed else 400)
            assert "x-request-id" in preflight.headers
            posted = await served.client.post("/segment", content=PHOTO, headers={"Origin": origin})
            assert posted.headers.get("access-control-allow-origin") == allowed
            assert "access-control-allow-credentials" not in posted.headers
