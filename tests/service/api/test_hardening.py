import pytest

from tests import photos
from tests.service.fakes import FakeBackend
from tests.service.gateway import Gateway, gateway

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


@pytest.mark.parametrize("path", [*ADDRESSES, "/docs"])
async def test_no_answer_tells_what_it_runs_on(served: Gateway, path: str) -> None:
    response = await served.client.get(path)
    assert not {"server", "x-powered-by", "via"} & response.headers.keys()
    told = (response.text + str(response.headers)).lower()
    for name in ("python/", "uvicorn", "starlette", "fastapi/", "cpython", "traceback", "site-packages"):
        assert name not in told
    assert "python_info" not in told


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
